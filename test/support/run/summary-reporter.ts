import type { Reporter, TestModule } from 'vitest/node'

/** Print the totals in the last line; where nothing may be skipped (CI), a skipped test is a failure. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    const skipped: string[] = []
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        counts[state]++
        if (state === 'skipped') skipped.push(`${module.relativeModuleId}: ${test.fullName}`)
      }
    }
    if (process.env['PGTS_TEST_REQUIRE_ALL'] !== undefined && skipped.length > 0) {
      process.exitCode = 1
      console.log(`${skipped.length} tests were skipped, but nothing may be left out here:\n${skipped.join('\n')}`)
    }
    console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  }
}
