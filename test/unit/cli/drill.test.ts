import { expect, test } from 'vitest'
import { renderDrill } from '../../../src/cli/render/drill.ts'
import { drillResult } from '../../../src/cli/render/result.ts'
import type { DrillReport } from '../../../src/commands/drill.ts'

const passed: DrillReport = {
  stanza: 'main',
  repoKey: 2,
  startedMs: Date.UTC(2026, 10, 30, 19, 8, 41),
  host: 'standby2',
  pgts: '0.1.0',
  postgres: '15.20',
  label: '20261122-062513F',
  type: 'immediate',
  result: 'passed',
  durations: { restoreMs: 65_000, recoveryMs: 4_200, checksMs: 9_000, totalMs: 78_200 },
  restoredBytes: 36_291_789,
  restoredFiles: 970,
  replayLsn: '0/5000100',
  checks: [
    { name: 'databases', result: 'passed', durationMs: 80 },
    { name: 'amcheck', result: 'skipped', detail: 'no database has the extension amcheck', durationMs: 90 },
    { name: 'pages', result: 'passed', detail: '812 files', durationMs: 300 },
  ],
}

test('the text of a drill has a line for each step and each check', () => {
  expect(renderDrill(passed, 'text')).toBe(
    [
      'drill of 20261122-062513F (repo2): passed',
      '    target     the end of the backup',
      '    restore    1m05s   970 files, 34.6MB',
      '    recovery   4.2s    to 0/5000100',
      '    total      1m18s',
      '    databases  passed',
      '    amcheck    skipped no database has the extension amcheck',
      '    pages      passed  812 files',
      '    host       standby2, PostgreSQL 15.20',
      '',
    ].join('\n'),
  )
})

test('the text of a drill that failed fits into 80 columns and begins with the problem', () => {
  const message = `the restored server ended during recovery\nFATAL: ${'could not find WAL '.repeat(9)}`
  const text = renderDrill(
    { ...passed, result: 'failed', problem: { code: 81, message }, checks: [], kept: '/var/tmp/d/main/data' },
    'text',
  )!
  const lines = text.split('\n')
  expect(lines[0]).toBe('drill of 20261122-062513F (repo2): failed')
  expect(lines[1]).toMatch(/^ {4}problem {4}the restored server ended during recovery FATAL:/)
  expect(text).toContain('    kept       /var/tmp/d/main/data\n')
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(80)
})

test('the JSON of a drill has every member, in one line', () => {
  const json = renderDrill(passed, 'json')!
  expect(JSON.parse(json)).toEqual(passed)
  expect(json.indexOf('\n')).toBe(json.length - 1)
})

test('the result line of a drill counts the checks that ran', () => {
  expect(drillResult(passed)).toBe('drill of 20261122-062513F: passed, restore 1m05s, recovery 4.2s, 2 checks')
})
