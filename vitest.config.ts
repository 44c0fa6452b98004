import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/run/global-setup.ts'],
    reporters: ['default', './test/support/run/summary-reporter.ts'],
    // More than `until` waits, whose error says for what.
    testTimeout: 120_000,
    hookTimeout: 240_000,
    pool: 'forks',
    maxWorkers: 2,
  },
})
