import { expect, test } from 'vitest'
import { expectedDuration } from '../../../../src/core/restore/expected-duration.ts'
import type { DrillRecord } from '../../../../src/core/drill/record.ts'
import type { BackupEntry } from '../../../../src/format/backup-info.ts'

const MB = 1_000_000
/** 400 MB in 100 s. */
const backup = { label: 'B', sizeDeltaBytes: 400 * MB, timestampStart: 1000, timestampStop: 1100 } as BackupEntry
const drill = (startedMs: number, restoreMs: number | undefined, restoredBytes: number | undefined) =>
  ({ label: 'D', startedMs, restoredBytes, durations: { restoreMs, totalMs: 99_000 } }) as DrillRecord

test('a restore takes as long as the last drill that measured one, per byte', () => {
  const drills = [drill(3, undefined, undefined), drill(2, 20_000, 200 * MB), drill(1, 1_000_000, 200 * MB)]
  expect(expectedDuration([backup], drills, 500 * MB)).toEqual({ label: 'D', drillMs: 2, seconds: 50 })
})

test('a drill of less than a second says nothing about the rate, so that of the backup is used', () => {
  expect(expectedDuration([backup], [drill(1, 900, 20 * MB)], 800 * MB)).toEqual({ label: 'B', seconds: 200 })
})

test('nothing is expected without a drill and a backup of ten seconds', () => {
  expect(expectedDuration([{ ...backup, timestampStop: 1005 }], [], MB)).toBeUndefined()
})
