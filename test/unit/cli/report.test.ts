import { expect, test } from 'vitest'
import { renderReport } from '../../../src/cli/render/report.ts'
import { reportTable } from '../../../src/cli/render/report-table.ts'
import { isOptionName, rowFor } from '../../../src/config/option-table.ts'
import type { CommandName } from '../../../src/config/command-table.ts'

const backup = {
  label: '20261122-062513F',
  type: 'full',
  repoKey: 1,
  fileCount: 970,
  sizeBytes: 34_600_000,
  repoSizeBytes: 4_200_000,
  pageErrorFiles: ['pg_data/base/5/16384', 'pg_data/base/5/16385'],
  durationMs: 65_000,
} as const
const check = {
  stanza: 'main',
  clusters: [{ pgKey: 1, role: 'primary' }],
  repositories: [
    {
      repoKey: 1,
      archiveId: '15-1',
      archived: { segment: '0'.repeat(24), repoName: `archive/main/15-1/${'0'.repeat(60)}` },
    },
    { repoKey: 2, archiveId: '15-1' },
  ],
} as const

test('prints nothing without --output', () => {
  expect(renderReport('backup', backup, 'none')).toBeUndefined()
})

test('prints JSON in one line, with the members of the table in its order', () => {
  const text = renderReport('backup', backup, 'json')!
  expect(text).toMatch(/^\{.*\}\n$/)
  expect(JSON.parse(text)).toEqual(backup)
  const skipped = { skipped: 'the server of pg1 is the primary' }
  expect(JSON.parse(renderReport('backup', skipped, 'json')!)).toEqual(skipped)
  const members = [...Object.keys(JSON.parse(text) as object), ...Object.keys(skipped)]
  expect(members).toEqual(Object.keys(reportTable.backup))
  const none = { stanza: 'main', pgPath: '/pg', changed: false }
  expect(JSON.parse(renderReport('archive-allow', none, 'json')!)).toEqual(none)
})

test('prints text of at most 80 columns, a line for each member and for each item of a list', () => {
  expect(renderReport('backup', backup, 'text')).toBe(
    'label: 20261122-062513F\ntype: full\nrepo key: 1\nfile count: 970\nsize bytes: 34600000\nrepo size bytes: 4200000\n' +
      'page error files: pg_data/base/5/16384\npage error files: pg_data/base/5/16385\nduration ms: 65000\n',
  )
  const text = renderReport('check', check, 'text')!
  expect(text).toContain('clusters: pg key 1, role primary\n')
  expect(text).toContain('repositories: repo key 2, archive id 15-1\n')
  // A path is not broken.
  for (const line of text.split('\n')) if (!line.includes('archive/main')) expect(line.length).toBeLessThanOrEqual(80)
  expect(renderReport('stop', { stopFile: '/l/main.stop', already: false, signalled: [] }, 'text')).toBe(
    'stop file: /l/main.stop\nalready: no\nsignalled: none\n',
  )
})

test('every command with a report takes --output, which prints nothing by default except for the plan of restore and findings of doctor', () => {
  const others: Partial<Record<CommandName, string[]>> = {
    restore: ['text', 'json'],
    doctor: ['text', 'json', 'nagios'],
  }
  for (const command of Object.keys(reportTable) as CommandName[]) {
    const row = isOptionName('output') ? rowFor('output', command) : undefined
    expect(row?.choices, command).toEqual(others[command] ?? ['none', 'text', 'json'])
  }
})
