import { describe, expect, test } from 'vitest'
import { planArchive, isWalFileUnneeded } from '../../src/core/expire/archive-retention.ts'
import type { Pin } from '../../src/core/expire/pins.ts'
import { planBackups, type BackupPlan, type RetentionPolicy } from '../../src/core/expire/retention.ts'
import type { BackupEntry } from '../../src/format/backup-info.ts'
import { archiveInfoOf, backupInfoOf, entriesOf, segment, type TestBackup } from '../support/builders/repository.ts'

/**
 * A year of one site: a full on Sundays, a diff on Wednesdays, else an incr, every night at 01:30 in Berlin (which does not
 * exist, or twice, when clocks change), four segments of WAL a day, and expire after every backup.
 */
const HOUR = 3600
const DAY = 24 * HOUR
const DAYS = 365
const START = Date.UTC(2026, 0, 1) / 1000

interface Site {
  backups: BackupEntry[]
  /** Numbers of the segments in the archive. */
  wal: Set<number>
  /** Every backup that was ever made. */
  made: BackupEntry[]
}

function nightOf(day: number): number {
  const noon = START + day * DAY + 12 * HOUR
  const offset = Number(
    new Intl.DateTimeFormat('en-US', { timeZone: 'Europe/Berlin', hour: 'numeric', hourCycle: 'h23' }).format(
      noon * 1000,
    ),
  )
  return START + day * DAY + 1.5 * HOUR - (offset - 12) * HOUR
}

const segmentAt = (seconds: number) => Math.floor((seconds - START) / (6 * HOUR)) + 10

/** All backups of the year, oldest first. */
function year(): BackupEntry[] {
  const backups: TestBackup[] = []
  for (let day = 0; day < DAYS; day++) {
    const at = nightOf(day)
    const time = new Date(at * 1000)
      .toISOString()
      .replaceAll(/[-:]|\..*/g, '')
      .replace('T', '-')
    const weekday = new Date((START + day * DAY) * 1000).getUTCDay()
    const full = backups.findLast(({ label }) => label.endsWith('F'))?.label
    const type = full === undefined || weekday === 0 ? 'F' : weekday === 3 ? 'D' : 'I'
    backups.push({
      label: type === 'F' ? `${time}F` : `${full!}_${time}${type}`,
      prior: type === 'I' ? backups.at(-1)!.label : undefined,
      stop: at + HOUR,
      wal: [segment(segmentAt(at)), segment(segmentAt(at + HOUR))],
    })
  }
  return entriesOf(backups)
}

function run(policy: RetentionPolicy, each: (site: Site, nowSeconds: number) => void, pins: readonly Pin[] = []): Site {
  const site: Site = { backups: [], wal: new Set(), made: [] }
  let next = 10
  for (const backup of year()) {
    const now = backup.timestampStop + 60
    while (next <= segmentAt(now)) site.wal.add(next++)
    site.made.push(backup)
    site.backups.push(backup)
    const plan = planBackups(site.backups, policy, {}, now, pins)
    explains(site.backups, plan)
    site.backups = [...plan.kept]
    const rules =
      plan.archive === undefined
        ? undefined
        : planArchive({
            archive: archiveInfoOf(),
            backup: backupInfoOf(plan.kept),
            kept: plan.kept,
            retention: plan.archive,
          })
    const rule = rules?.[0]
    if (rule?.action === 'ranges') {
      for (const number of site.wal) if (isWalFileUnneeded(segment(number), rule.keep)) site.wal.delete(number)
    }
    each(site, now)
  }
  return site
}

const numberOf = (name: string) => parseInt(name.slice(8, 16), 16) * 256 + parseInt(name.slice(16), 16)

/** The explanation agrees with the decision for every backup, and every decision has a reason. */
function explains(before: readonly BackupEntry[], plan: BackupPlan): void {
  const labels = (of: readonly { readonly label: string }[]) => of.map(({ label }) => label)
  const stays = plan.verdicts.filter(({ keep }) => keep)
  if (stays.length !== plan.kept.length || plan.verdicts.length !== before.length)
    expect(labels(stays)).toEqual(labels(plan.kept))
  for (const [index, verdict] of plan.verdicts.entries()) {
    if (verdict.label !== before[index]!.label || (verdict.keep && verdict.reasons.length === 0))
      expect.fail(`${verdict.label} is not explained`)
  }
}

/** Invariants after every expire, whatever the policy. */
function holds({ backups, wal, made }: Site): void {
  const labels = new Set(backups.map(({ label }) => label))
  expect(labels).toContain(made.at(-1)!.label)
  for (const { prior, references, archiveStart, archiveStop } of backups) {
    for (const needed of [prior, ...(references ?? [])])
      if (needed !== undefined && !labels.has(needed)) expect(labels).toContain(needed)
    for (let number = numberOf(archiveStart!); number <= numberOf(archiveStop!); number++) {
      if (!wal.has(number)) expect(wal).toContain(number)
    }
  }
}

/** The first segment since which none is missing. */
function recoverableSince({ wal }: Site): number {
  let first = Math.max(...wal)
  while (wal.has(first - 1)) first--
  return first
}

const dayIn = (timeZone: string) => {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' })
  return (seconds: number) => format.format(seconds * 1000)
}
const base = { fullType: 'count', archiveType: 'full' } as const

describe('a year of backups', () => {
  const fulls = [
    { fullType: 'count', full: 4 },
    { fullType: 'time', full: 30 },
  ] as const
  const archives = [
    {},
    { archiveType: 'full', archive: 2 },
    { archiveType: 'diff', archive: 3 },
    { archiveType: 'incr', archive: 5 },
  ] as const
  const policies = fulls.flatMap((full) =>
    archives.flatMap((archive) =>
      [undefined, 2].map((diff): RetentionPolicy => ({ ...base, ...full, ...archive, diff })),
    ),
  )

  test.each(policies)(
    'the repository stays consistent and bounded with $full fulls by $fullType, $diff diffs, WAL of $archive $archiveType',
    (policy) => {
      // One backup of the second month is pinned until autumn.
      const pinned = year()[40]!
      const until = START + 250 * DAY
      const pin: Pin = { label: pinned.label, since: pinned.timestampStop, until }
      run(
        policy,
        (site, now) => {
          holds(site)
          const isPinned = site.made.length > 40 && now < until
          if (isPinned && !site.backups.some(({ label }) => label === pinned.label))
            expect.fail('the pinned backup was removed')
          // The pinned backup and its dependencies are kept in addition to those of the policy.
          const own = isPinned ? site.backups.filter(({ label }) => label > pinned.label) : site.backups
          const count = (...types: readonly BackupEntry['type'][]) =>
            own.filter(({ type }) => types.includes(type)).length
          expect(count('full')).toBeLessThanOrEqual(policy.fullType === 'count' ? policy.full! : 7)
          if (policy.diff !== undefined) {
            const newest = site.made.filter(({ type }) => type !== 'incr').slice(-policy.diff)
            const wanted = newest.filter(({ type, label }) => type === 'diff' && (!isPinned || label > pinned.label))
            const diffs = own.filter(({ type }) => type === 'diff')
            expect(diffs.map(({ label }) => label)).toEqual(wanted.map(({ label }) => label))
          }
          expect(own.length).toBeLessThanOrEqual(policy.fullType === 'count' ? 7 * policy.full! : 49)
          const made = site.made.filter(({ type }) => type === 'full')
          if (policy.fullType === 'count') {
            for (const { label } of made.slice(-policy.full!))
              if (!site.backups.some((backup) => backup.label === label)) expect.fail(`${label} was removed`)
            return
          }
          // Every moment of the last D days can be restored: a full from before, and all WAL since.
          const edge = now - policy.full! * DAY
          const first = site.backups.findLast(({ type, timestampStop }) => type === 'full' && timestampStop < edge)
          if (made[0]!.timestampStop < edge && first === undefined) expect.fail('no full from before')
          if (first !== undefined && policy.archive === undefined)
            expect(recoverableSince(site)).toBeLessThanOrEqual(numberOf(first.archiveStart!))
        },
        [pin],
      )
    },
  )

  test.each(['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'])(
    'keeps seven days, four weeks, twelve months and a year in the time zone %s',
    (timeZone) => {
      const day = dayIn(timeZone)
      const calendar = { daily: 7, weekly: 4, monthly: 12, yearly: 1, timeZone }
      const site = run({ ...base, archive: 1, calendar }, (now) => {
        holds(now)
        const labels = new Set(now.backups.map(({ label }) => label))
        // Of each of the newest seven days with a backup its newest one exists, also where clocks change.
        const newestOf = new Map(now.made.map((backup) => [day(backup.timestampStop), backup.label]))
        for (const label of [...newestOf.values()].slice(-7)) expect(labels).toContain(label)
        // Each month so far has a backup, its newest full if it has one.
        const fullOf = new Map<string, string>()
        for (const { type, timestampStop, label } of now.made)
          if (type === 'full') fullOf.set(day(timestampStop).slice(0, 7), label)
        for (const label of [...fullOf.values()].slice(-11)) expect(labels).toContain(label)
        expect(now.backups.length).toBeLessThanOrEqual(12 + 4 + 7 + 14)
      })
      // At the end: twelve months, of which the last four weeks and seven days are distinguished; sets are incomplete.
      const fulls = site.backups.filter(({ type }) => type === 'full').map(({ timestampStop }) => day(timestampStop))
      expect(new Set(fulls.map((date) => date.slice(0, 7))).size).toBe(12)
      expect(site.backups.filter(({ type }) => type !== 'full').length).toBeLessThanOrEqual(13)
      // WAL: all since the newest full, and the WAL that older backups need.
      const newest = site.backups.findLast(({ type }) => type === 'full')!
      expect(recoverableSince(site)).toBe(numberOf(newest.archiveStart!))
    },
  )

  test('keeps one backup a day in the configured zone, also on days of clock changes', () => {
    const day = dayIn('Europe/Berlin')
    const days = year().map(({ timestampStop }) => day(timestampStop))
    expect(new Set(days).size).toBe(DAYS)
    const calendar = { daily: 400, timeZone: 'Europe/Berlin' }
    expect(planBackups(year(), { ...base, calendar }, {}, START + 400 * DAY).kept).toHaveLength(DAYS)
  })

  test('keeps the sets of the count and one backup for each earlier month when both are set', () => {
    const site = run({ ...base, full: 2, calendar: { monthly: 6, timeZone: 'UTC' } }, holds)
    const counted = run({ ...base, full: 2 }, () => undefined)
    const labels = site.backups.map(({ label }) => label)
    expect(labels).toEqual(expect.arrayContaining(counted.backups.map(({ label }) => label)))
    const older = site.backups.filter(({ label }) => !counted.backups.some((other) => other.label === label))
    expect(older.map(({ type }) => type)).toEqual(older.map(() => 'full'))
    expect(older.map(({ label }) => label.slice(0, 6))).toEqual(['202607', '202608', '202609', '202610', '202611'])
    expect(recoverableSince(site)).toBe(recoverableSince(counted))
  })
})
