import { describe, expect, test } from 'vitest'
import { commandRows } from '../../../src/cli/command-rows.ts'
import { commandNames } from '../../../src/config/command-table.ts'
import { formerNames } from '../../../src/config/option-name.ts'
import { groupOf, isOptionName, optionNames, optionRow, rowFor } from '../../../src/config/option-table.ts'
import { PROGRAM, type OptionRow } from '../../../src/config/option-row.ts'
import { parseValue } from '../../../src/config/value.ts'
import { FORMER_NAMES, PGBACKREST_OPTIONS } from './pgbackrest-names.ts'

describe('the option table', () => {
  test('has the 202 options of pgBackRest, and the listed options of pgts', () => {
    expect(PGBACKREST_OPTIONS).toHaveLength(202)
    const own = [
      'apply-restart',
      'apply-settings',
      'binaries',
      'break',
      'databases',
      'doctor-backup-age',
      'doctor-drill-age',
      'doctor-verify-age',
      'doctor-window',
      'drill-path',
      'file',
      'find-target',
      'findings',
      'interval',
      'keep',
      'listen',
      'log-format',
      'wal-labels',
      'max-time',
      'explain',
      'hook-archive-failure',
      'hook-backup-after',
      'hook-backup-before',
      'hook-backup-required',
      'hook-doctor',
      'hook-drill-after',
      'hook-timeout',
      'init-secrets',
      'random',
      'page-error-exit',
      'reason',
      'replace-archive-command',
      'repo-retention-daily',
      'repo-retention-monthly',
      'repo-retention-time-zone',
      'repo-retention-weekly',
      'repo-retention-yearly',
      'archive-resident',
      'repo-s3-storage-class',
      'restart-cmd',
      'restore-check',
      'take-backup',
      'until',
      'since',
      'sql',
      'write-config',
      'yes',
    ]
    expect(optionNames).toEqual([...PGBACKREST_OPTIONS, ...own].sort())
  })

  test('knows every name of an earlier release', () => {
    expect([...formerNames()].sort()).toEqual([...FORMER_NAMES].sort())
  })

  test.each(optionNames)('has a consistent row for %s', (name) => {
    for (const command of [...optionRow(name).commands]) {
      const row = rowFor(name, command)
      if (row === undefined) throw new Error('not valid for its own command')
      if (row.type === 'enum') expect(row.choices?.length).toBeGreaterThan(1)
      if (row.type === 'bool' && row.required !== true && name !== 'checksum-page') expect(row.default).toBeDefined()
      if (row.depend !== undefined) {
        expect(isOptionName(row.depend.option)).toBe(true)
        if (isOptionName(row.depend.option)) {
          expect(rowFor(row.depend.option, command), `${row.depend.option} for ${command}`).toBeDefined()
          const [own, other] = [groupOf(name), groupOf(row.depend.option)]
          expect(other === undefined || other === own).toBe(true)
        }
      }
      for (const typed of defaultsOf(row)) {
        if (typed === PROGRAM || typed === 'auto') continue
        const range = row.range === undefined || 'by' in row.range ? undefined : row.range
        expect(() => parseValue([String(typed)], { type: row.type, choices: row.choices, range })).not.toThrow()
      }
    }
    expect(optionRow(name).summary).toMatch(/^[A-Z].*\.$/)
  })

  test('marks passwords and keys as secret, so that the command line refuses them', () => {
    const secrets = optionNames.filter((name) => optionRow(name).secret === true)
    expect(secrets).toEqual([
      'cipher-pass',
      'repo-azure-account',
      'repo-azure-endpoint',
      'repo-azure-key',
      'repo-cipher-pass',
      'repo-gcs-key',
      'repo-s3-key',
      'repo-s3-key-secret',
      'repo-s3-sse-customer-key',
      'repo-s3-token',
      'repo-sftp-private-key-passphrase',
    ])
  })
})

test('the command table has the commands of pgBackRest', () => {
  const theirs =
    'annotate archive-get archive-push backup check expire help info manifest repo-get repo-ls repo-put repo-rm ' +
    'restore server server-ping stanza-create stanza-delete stanza-upgrade start stop verify version'
  expect(commandNames).toEqual(expect.arrayContaining(theirs.split(' ')))
})

test('the commands of the table are those with a row in the terminal layer', () => {
  expect(commandNames).toEqual([...Object.keys(commandRows), 'completion', 'help', 'version'].sort())
})

// docs of pgBackRest 2.59, options that belong to one command beside the sets that all share.
test.each([
  [
    'archive-get',
    'archive-async archive-get-queue-max archive-missing-retry archive-resident archive-timeout cmd process-max spool-path',
  ],
  [
    'archive-push',
    'archive-check archive-header-check archive-mode-check archive-push-batch-size archive-push-queue-max compress-level compress-type',
  ],
  [
    'backup',
    'annotation archive-copy checksum-page exclude expire-auto online page-header-check resume start-fast type',
  ],
  ['expire', 'archive-expire-before dry-run explain oldest output set'],
  ['restore', 'archive-mode db-include delta force link-all link-map recovery-option set tablespace-map target type'],
  ['info', 'detail-level output set type'],
  ['version', 'output'],
] as const)('%s takes its options', (command, options) => {
  for (const option of options.split(' ')) {
    expect(isOptionName(option) && rowFor(option, command) !== undefined, option).toBe(true)
  }
})

test('--repo is refused by the commands that act on all repositories', () => {
  for (const command of ['archive-push', 'check', 'stanza-create', 'stanza-upgrade'] as const) {
    expect(rowFor('repo', command)).toBeUndefined()
  }
})

function defaultsOf(row: Pick<OptionRow, 'default'>): (string | number)[] {
  if (row.default === undefined) return []
  if (typeof row.default !== 'object') return [row.default]
  return 'by' in row.default ? Object.values(row.default.by) : [row.default.yaml, row.default.ini]
}
