import { describe, expect, test } from 'vitest'
import { planArchive, isWalFileUnneeded, type ArchiveRequest } from '../../../src/core/expire/archive-retention.ts'
import { HistoryRetention } from '../../../src/core/expire/history-retention.ts'
import { planBackups, type ExpireChoice, type RetentionPolicy } from '../../../src/core/expire/retention.ts'
import { labelTime } from '../../../src/format/backup-label.ts'
import {
  archiveInfoOf,
  backupInfoOf,
  entriesOf,
  segment,
  type TestBackup,
  type TestCluster,
} from '../../support/builders/repository.ts'

const F1 = '20260101-000000F'
const D1 = `${F1}_20260102-000000D`
const I1 = `${F1}_20260103-000000I`
const F2 = '20260201-000000F'
const I2 = `${F2}_20260202-000000I`
const D2 = `${F2}_20260203-000000D`
const D3 = `${F2}_20260204-000000D`
const I3 = `${F2}_20260205-000000I`
const F3 = '20260301-000000F'
const all = [F1, D1, I1, F2, I2, D2, D3, I3, F3].map((label) => ({ label }))

const policy = (more: Partial<RetentionPolicy>): RetentionPolicy => ({
  fullType: 'count',
  archiveType: 'full',
  ...more,
})
const plan = (
  more: Partial<RetentionPolicy>,
  choice: ExpireChoice = {},
  backups: readonly TestBackup[] = all,
  now = 0,
) => planBackups(entriesOf(backups), policy(more), choice, now)
const kept = (result: ReturnType<typeof plan>) => result.kept.map(({ label }) => label)

describe('backups by count', () => {
  test('without a policy no backup and no WAL expires', () => {
    expect(plan({})).toMatchObject({ groups: [], archive: undefined, archiveSkipped: 'not-set' })
  })

  test('the newest fulls are kept; older ones expire with their dependents, newest first', () => {
    const result = plan({ full: 2 })
    expect(result.groups).toEqual([{ reason: 'full', label: F1, labels: [I1, D1, F1] }])
    expect(kept(result)).toEqual([F2, I2, D2, D3, I3, F3])
    expect(result.archive).toEqual({ type: 'full', count: 2 })
  })

  test('several sets expire one after the other, oldest first', () => {
    expect(plan({ full: 1 }).groups.map(({ label }) => label)).toEqual([F1, F2])
  })

  test('a limit above the number of fulls expires nothing', () => {
    expect(plan({ full: 9_999_999 }).groups).toEqual([])
  })
})

describe('backups by time', () => {
  const days = (count: number) => count * 86_400
  const aged = [
    { label: F1, stop: days(10) },
    { label: D1, stop: days(11) },
    { label: F2, stop: days(20) },
    { label: F3, stop: days(30) },
  ]

  test('one full older than the limit is kept, so that every moment since the limit can be restored', () => {
    const result = plan({ fullType: 'time', full: 5 }, {}, aged, days(28))
    expect(kept(result)).toEqual([F2, F3])
    expect(result.groups).toEqual([{ reason: 'time', label: F1, labels: [D1, F1] }])
    expect(result.archive).toEqual({ type: 'full', count: 2 })
  })

  test('a full that is exactly as old as the limit is not older than the limit', () => {
    expect(plan({ fullType: 'time', full: 5 }, {}, aged, days(25)).groups).toEqual([])
  })

  test('while no full is old enough, no WAL expires', () => {
    expect(plan({ fullType: 'time', full: 100 }, {}, aged, days(40))).toMatchObject({
      groups: [],
      archive: undefined,
      archiveSkipped: 'time-not-met',
    })
  })

  test('an explicit WAL retention applies although no full is old enough', () => {
    expect(plan({ fullType: 'time', full: 100, archive: 1 }, {}, aged, days(40)).archive).toEqual({
      type: 'full',
      count: 1,
    })
  })
})

describe('diffs', () => {
  test('retention-diff counts fulls too, but expires only diffs with their incrs', () => {
    const result = plan({ diff: 2 })
    expect(result.groups.map(({ labels }) => labels)).toEqual([[I1, D1], [D2]])
    expect(kept(result)).toEqual([F1, F2, I2, D3, I3, F3])
  })

  test('diffs already expired with their full are not expired again', () => {
    const result = plan({ full: 1, diff: 1 })
    expect(result.groups.map(({ reason, label }) => `${reason} ${label}`)).toEqual([`full ${F1}`, `full ${F2}`])
  })

  test('retention-diff is the number for WAL when WAL is counted by diffs', () => {
    expect(plan({ diff: 2, archiveType: 'diff' }).archive).toEqual({ type: 'diff', count: 2 })
    expect(plan({ full: 2, archiveType: 'diff' }).archive).toBeUndefined()
    expect(plan({ full: 2, archiveType: 'incr' }).archive).toBeUndefined()
    expect(plan({ full: 2, archiveType: 'incr', archive: 3 }).archive).toEqual({ type: 'incr', count: 3 })
  })
})

describe('--set', () => {
  test('expires a backup with its dependents and applies no retention', () => {
    const result = plan({ full: 1 }, { set: D1 })
    expect(result.groups).toEqual([{ reason: 'set', label: D1, labels: [I1, D1] }])
    expect(result.newestRemoved).toBeUndefined()
  })

  test('expires the newest full while an older one of the same cluster exists', () => {
    const result = plan({}, { set: F3 })
    expect(kept(result).at(-1)).toBe(I3)
    expect(result.newestRemoved).toBe(F3)
  })

  test('never expires the only full', () => {
    expect(() => plan({}, { set: F1 }, [{ label: F1 }])).toThrow(
      expect.objectContaining({ code: 'backup-set-invalid', hints: ['take another full backup first'] }),
    )
  })

  test('never expires the only full of the current cluster', () => {
    const backups = [{ label: F1 }, { label: F2, id: 2 }]
    expect(() => planBackups(entriesOf(backups, [{}, { systemId: 2n }]), policy({}), { set: F2 }, 0)).toThrow(F2)
    expect(kept(plan({}, { set: F1 }, backups))).toEqual([F2])
  })

  test('with an unknown label expires nothing', () => {
    expect(plan({ full: 1 }, { set: '20250101-000000F' })).toMatchObject({ groups: [], setMissing: true })
  })
})

describe('--oldest', () => {
  test('expires the oldest set and its WAL, whatever the policy', () => {
    const result = plan({ fullType: 'time', full: 999, archiveType: 'incr', archive: 99 }, { oldest: true })
    expect(result.groups).toEqual([{ reason: 'oldest', label: F1, labels: [I1, D1, F1] }])
    expect(result.archive).toEqual({ type: 'full', count: 2 })
  })

  test('does not expire the only full', () => {
    expect(plan({}, { oldest: true }, [{ label: F1 }, { label: D1 }])).toMatchObject({
      groups: [],
      oldestMissing: true,
    })
  })
})

describe('WAL retention', () => {
  const rules = (
    backups: readonly TestBackup[],
    retention: ArchiveRequest['retention'],
    more: { clusters?: readonly TestCluster[]; expireBefore?: string } = {},
  ) => {
    const entries = entriesOf(backups, more.clusters)
    return planArchive({
      archive: archiveInfoOf(more.clusters),
      backup: backupInfoOf(entries, more.clusters),
      kept: entries,
      retention,
      expireBefore: more.expireBefore,
    })
  }
  const fulls: TestBackup[] = [
    { label: F1, wal: [segment(2), segment(3)] },
    { label: F2, wal: [segment(12), segment(13)] },
    { label: F3, wal: [segment(22), segment(23)] },
  ]

  test('keeps all WAL since the oldest of the newest N backups, and what older backups need', () => {
    expect(rules(fulls, { type: 'full', count: 2 })).toEqual([
      {
        archiveId: '15-1',
        action: 'ranges',
        keep: [
          { start: segment(2), stop: segment(3), label: F1 },
          { start: segment(12), label: F2 },
          { start: segment(22), label: F3 },
        ],
        label: F2,
        lastDirectory: '0000000100000000',
        firstTimeline: '00000001',
      },
    ])
  })

  test('expires nothing while there are fewer backups than the limit', () => {
    expect(rules(fulls, { type: 'full', count: 4 })).toBeUndefined()
    expect(rules([], { type: 'full', count: 1 })).toBeUndefined()
  })

  test('counts diffs and incrs only for the type diff or incr', () => {
    const backups = [...fulls, { label: `${F3}_20260302-000000I`, wal: [segment(32), segment(33)] as const }]
    const from = (type: 'full' | 'incr') => (rules(backups, { type, count: 1 })?.[0] as { label: string }).label
    expect(from('full')).toBe(F3)
    expect(from('incr')).toBe(`${F3}_20260302-000000I`)
  })

  test('keeps all WAL when the deciding backup was made offline', () => {
    const backups = [fulls[0]!, { label: F2, wal: null }]
    expect(rules(backups, { type: 'full', count: 1 })).toEqual([
      { archiveId: '15-1', action: 'keep-all', reason: 'offline-backup' },
    ])
  })

  const clusters = [{ version: '14' }, { version: '15' }]

  test('expires all WAL of a cluster before an upgrade when none of its backups is left', () => {
    const backups = [{ ...fulls[1]!, id: 2 }]
    expect(rules(backups, { type: 'full', count: 1 }, { clusters })?.[0]).toEqual({
      archiveId: '14-1',
      action: 'remove-all',
    })
  })

  test('keeps WAL of a cluster before an upgrade since its newest backup while that exists', () => {
    const backups = [fulls[0]!, { ...fulls[1]!, id: 2 }]
    expect(rules(backups, { type: 'full', count: 1 }, { clusters })?.[0]).toMatchObject({ label: F1 })
  })

  test('keeps WAL of the current cluster while it has no backup', () => {
    expect(rules([fulls[0]!], { type: 'full', count: 1 }, { clusters })?.[1]).toEqual({
      archiveId: '15-2',
      action: 'keep-all',
      reason: 'current-without-backup',
    })
  })

  test('with archive-expire-before keeps WAL between that segment and the deciding backup', () => {
    const [rule] = rules(fulls, { type: 'full', count: 1 }, { expireBefore: segment(7) })!
    const goes = (number: number) => isWalFileUnneeded(segment(number), rule?.action === 'ranges' ? rule.keep : [])
    expect([1, 2, 3, 4, 6].map(goes)).toEqual([true, false, false, true, true])
    expect([7, 11, 21, 22, 99].map(goes)).toEqual([false, false, false, false, false])
  })

  test('with archive-expire-before never expires WAL that a newer backup needs', () => {
    const [rule] = rules(fulls, { type: 'full', count: 3 }, { expireBefore: segment(50) })!
    const goes = (number: number) => isWalFileUnneeded(segment(number), rule?.action === 'ranges' ? rule.keep : [])
    expect([1, 2, 30].map(goes)).toEqual([true, false, false])
  })

  test('keeps WAL and timeline history of a backup that was made after a recovery to an older timeline', () => {
    const backups: TestBackup[] = [
      { label: F1, wal: [segment(20, 3), segment(21, 3)] },
      { label: F2, wal: [segment(30, 2), segment(31, 2)] },
    ]
    const [rule] = rules(backups, { type: 'full', count: 2 })!
    expect(rule).toMatchObject({ firstTimeline: '00000002' })
    expect(isWalFileUnneeded(segment(30, 2), rule?.action === 'ranges' ? rule.keep : [])).toBe(false)
  })

  test('is refused when archive.info and backup.info have different histories', () => {
    const entries = entriesOf(fulls)
    const request = {
      archive: archiveInfoOf([{ systemId: 1n }]),
      backup: backupInfoOf(entries),
      kept: entries,
      retention: { type: 'full', count: 1 } as const,
    }
    expect(() => planArchive(request)).toThrow(expect.objectContaining({ code: 'format' }))
  })
})

describe('retention of the manifest history', () => {
  const now = Date.UTC(2026, 5, 15, 12) / 1000

  test('expires whole years, and in the year of the limit what is older and not current', () => {
    const history = new HistoryRetention(30, now)
    expect(history.limit).toBe(`${labelTime(now - 30 * 86_400)}F`)
    expect(['2024', '2025', '2026'].map((year) => history.isYearExpired(year))).toEqual([true, true, false])
    expect(history.yearContainsLimit('2026')).toBe(true)
    const current = new Set([F1])
    expect(history.isManifestExpired(F1, current)).toBe(false)
    expect(history.isManifestExpired(D1, current)).toBe(true)
    expect(history.isManifestExpired('20260601-000000F', current)).toBe(false)
  })

  test('of 0 days keeps only manifests of existing backups', () => {
    const history = new HistoryRetention(0, now)
    expect(history.isManifestExpired('20260615-000000F', new Set())).toBe(true)
    expect(history.isManifestExpired('20260615-000000F', new Set(['20260615-000000F']))).toBe(false)
  })
})
