import { describe, expect, test } from 'vitest'
import { backupResult, restoreResult, verifyResult } from '../../../src/cli/render/result.ts'
import type { BackupReport } from '../../../src/commands/backup.ts'
import type { RestoreReport } from '../../../src/commands/restore.ts'
import { countsOf, type BackupResult, type VerifyReport } from '../../../src/core/verify/report.ts'

const INCR = '20261122-062513F_20261123-062513I'
const HUGE = 9_999_900 * 1024 ** 2

describe('the result line of backup', () => {
  const report = (change: Partial<BackupReport> = {}): BackupReport => ({
    ...{ label: '20261122-062513F', type: 'full', repoKey: 1, fileCount: 970 },
    ...{ sizeBytes: 36_291_789, repoSizeBytes: 4_404_019, pageErrorFiles: [], durationMs: 65_000 },
    ...change,
  })

  test('has label, type, sizes and duration', () => {
    expect(backupResult(report())).toBe('full backup 20261122-062513F: 34.6MB, 4.2MB stored, 1m05s, repo1, 970 files')
  })

  test.each([
    [report({ label: INCR, type: 'incr' }), `incr backup ${INCR}: 34.6MB, 4.2MB stored, 1m05s`],
    [report({ label: INCR, sizeBytes: HUGE, repoSizeBytes: HUGE, durationMs: 86_340_000 }), ', 9765.5GB stored'],
  ])('omits parts that do not fit into 80 columns (%#)', (long, text) => {
    expect(backupResult(long)).toContain(text)
    expect(backupResult(long).length).toBeLessThanOrEqual(80)
  })

  test.each([
    [0, '0.0s'],
    [1_340, '1.3s'],
    [9_960, '10s'],
    [59_400, '59s'],
    [59_600, '1m00s'],
    [3_599_000, '59m59s'],
    [3_660_000, '1h01m'],
    [86_399_000, '23h59m'],
    [100_800_000, '1d04h'],
  ])('shows %d ms as %s', (durationMs, text) => {
    expect(backupResult(report({ durationMs }))).toContain(` stored, ${text}, repo1`)
  })
})

describe('the result line of restore', () => {
  const report = (change: Partial<RestoreReport> = {}): RestoreReport => ({
    ...{ label: INCR, repoKey: 1, type: 'default', pgPath: '/var/lib/postgresql/16/main', durationMs: 1 },
    ...{ files: 970, restored: 900, unchanged: 0, zeroed: 0, removed: 0, sizeBytes: 36e6, restoredBytes: 36_291_789 },
    ...change,
  })

  test('has files, bytes, target and the next step', () => {
    expect(restoreResult(report())).toBe('restored 970 files, 34.6MB to /var/lib/postgresql/16/main; start PostgreSQL')
  })

  test('has the number of files that a delta restore wrote', () => {
    expect(restoreResult(report({ restored: 1, unchanged: 969, restoredBytes: 8192 }))).toBe(
      'restored 1 of 970 files, 8KB to /var/lib/postgresql/16/main; start PostgreSQL',
    )
  })

  test('shortens a long path at its start to 80 columns', () => {
    const line = restoreResult(report({ pgPath: `/${'directory/'.repeat(20)}main` }))
    expect(line).toMatch(/^restored 970 files, 34\.6MB to \.\.\.[a-z/]*directory\/main; start PostgreSQL$/)
    expect(line).toHaveLength(80)
  })
})

const backup = (change: Partial<BackupResult> = {}): BackupResult => ({
  ...{ label: '20261122-062513F', status: 'valid', checked: 970, valid: 970 },
  ...{ faulty: [], reasons: [], orphans: [], unproven: 0 },
  ...change,
})
const verified = (change: Partial<VerifyReport> = {}): VerifyReport => ({
  ...{ stanza: 'main', repoKey: 1, ok: true, problems: [], readBytes: 36_291_789, skipped: { recent: 0, late: 0 } },
  archives: [{ archiveId: '16-1', checked: 12, valid: 12, faulty: [], ranges: [], gaps: [] }],
  backups: [backup(), backup({ checked: 30 }), backup({ status: 'in-progress', checked: 0 })],
  ...change,
})
const faulty = [{ name: 'pg_data/PG_VERSION', repoName: 'x', fault: 'missing', reason: 'is missing' }] as const

describe('the result line of verify', () => {
  test('has the sums over every repository', () => {
    expect(verifyResult([verified()], 65_000)).toBe(
      'verify: no errors, 1000 files, 12 WAL segments, 34.6MB read, 2 backups, 1m05s',
    )
    expect(verifyResult([verified(), verified({ repoKey: 2, backups: [] })], 1000)).toBe(
      'verify: no errors, 1000 files, 24 WAL segments, 69.2MB read, 2 backups, 1.0s',
    )
  })

  test.each([
    ['a problem of the repository', { problems: [{ level: 'error', message: 'x' }] as const }, 1],
    ['a note (no error)', { problems: [{ level: 'note', message: 'x' }] as const }, 0],
    ['a faulty file of a backup', { backups: [backup({ status: 'invalid', faulty })] }, 1],
    ['a backup that is invalid without a faulty file', { backups: [backup({ status: 'invalid' })] }, 1],
    [
      'a faulty segment and the backup that needs it',
      {
        archives: [{ archiveId: '16-1', checked: 1, valid: 0, faulty, ranges: [], gaps: [] }],
        backups: [backup({ status: 'invalid' })],
      },
      2,
    ],
  ] as const)('has the right number of errors for %s', (_, change, errors) => {
    expect(countsOf(verified(change)).errors).toBe(errors)
  })
})
