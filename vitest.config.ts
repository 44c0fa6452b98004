import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/run/global-setup.ts'],
    reporters: ['default', './test/support/run/summary-reporter.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // For two processors: files that start servers wait for a fifth to a third of their time.
    maxWorkers: 3,
  },
})
