import { describe, expect, test } from 'vitest'
import { planArchive, walFileGoes } from '../../src/core/expire/archive-retention.ts'
import { planBackups, type RetentionPolicy } from '../../src/core/expire/retention.ts'
import type { BackupEntry } from '../../src/format/backup-info.ts'
import { archiveInfoOf, backupInfoOf, entriesOf, segment, type TestBackup } from '../support/repository.ts'

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
  /** Numbers of the segments that are there. */
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
      ...(type === 'I' ? { prior: backups.at(-1)!.label } : {}),
      stop: at + HOUR,
      wal: [segment(segmentAt(at)), segment(segmentAt(at + HOUR))],
    })
  }
  return entriesOf(backups)
}

function run(policy: RetentionPolicy, each: (site: Site, nowSeconds: number) => void): Site {
  const site: Site = { backups: [], wal: new Set(), made: [] }
  let next = 10
  for (const backup of year()) {
    const now = backup.timestampStop + 60
    while (next <= segmentAt(now)) site.wal.add(next++)
    site.made.push(backup)
    site.backups.push(backup)
    const plan = planBackups(site.backups, policy, {}, now)
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
      for (const number of site.wal) if (walFileGoes(segment(number), rule.keep)) site.wal.delete(number)
    }
    each(site, now)
  }
  return site
}

const numberOf = (name: string) => parseInt(name.slice(8, 16), 16) * 256 + parseInt(name.slice(16), 16)

/** What must hold after every expire, whatever the policy. */
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

/** From here on every segment is there. */
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
  test.each<[string, RetentionPolicy, { fulls: number; all: number }]>([
    ['four fulls', { ...base, full: 4 }, { fulls: 4, all: 28 }],
    ['four fulls, WAL of two', { ...base, full: 4, archive: 2 }, { fulls: 4, all: 28 }],
    ['four fulls, two diffs', { ...base, full: 4, diff: 2 }, { fulls: 4, all: 28 }],
    ['30 days', { ...base, fullType: 'time', full: 30 }, { fulls: 7, all: 49 }],
    ['WAL by incr', { ...base, full: 3, archiveType: 'incr', archive: 5 }, { fulls: 3, all: 21 }],
  ])('%s: the repository stays whole and small', (_, policy, most) => {
    run(policy, (site, now) => {
      holds(site)
      const fulls = site.backups.filter(({ type }) => type === 'full')
      expect(fulls.length).toBeLessThanOrEqual(most.fulls)
      expect(site.backups.length).toBeLessThanOrEqual(most.all)
      if (policy.fullType === 'count') {
        const made = site.made.filter(({ type }) => type === 'full').length
        expect(fulls.length).toBe(Math.min(made, policy.full!))
        return
      }
      // Every moment of the last D days can be reached: a full from before, and all WAL since.
      const edge = now - policy.full! * DAY
      if (edge > site.made[0]!.timestampStop) {
        const first = fulls.find(({ timestampStop }) => timestampStop < edge)
        expect(recoverableSince(site)).toBeLessThanOrEqual(numberOf(first!.archiveStart!))
      }
    })
  })

  test.each(['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'])(
    'seven days, four weeks, twelve months, a year, as days are in %s',
    (timeZone) => {
      const day = dayIn(timeZone)
      const calendar = { daily: 7, weekly: 4, monthly: 12, yearly: 1, timeZone }
      const site = run({ ...base, archive: 1, calendar }, (now) => {
        holds(now)
        const labels = new Set(now.backups.map(({ label }) => label))
        // Of each of the newest seven days with a backup the newest one is there, also where clocks change.
        const newestOf = new Map(now.made.map((backup) => [day(backup.timestampStop), backup.label]))
        for (const label of [...newestOf.values()].slice(-7)) expect(labels).toContain(label)
        // Each month so far has a backup, its newest full if it has one.
        const fullOf = new Map<string, string>()
        for (const { type, timestampStop, label } of now.made)
          if (type === 'full') fullOf.set(day(timestampStop).slice(0, 7), label)
        for (const label of [...fullOf.values()].slice(-11)) expect(labels).toContain(label)
        expect(now.backups.length).toBeLessThanOrEqual(12 + 4 + 7 + 14)
      })
      // At the end: twelve months, of which the last four weeks and seven days are told apart; sets no longer whole.
      const fulls = site.backups.filter(({ type }) => type === 'full').map(({ timestampStop }) => day(timestampStop))
      expect(new Set(fulls.map((date) => date.slice(0, 7))).size).toBe(12)
      expect(site.backups.filter(({ type }) => type !== 'full').length).toBeLessThanOrEqual(13)
      // WAL: all since the newest full, and of older backups what they need.
      const newest = site.backups.findLast(({ type }) => type === 'full')!
      expect(recoverableSince(site)).toBe(numberOf(newest.archiveStart!))
    },
  )

  test('one backup a day is one a day in the zone of the site, on the days of clock changes, too', () => {
    const day = dayIn('Europe/Berlin')
    const days = year().map(({ timestampStop }) => day(timestampStop))
    expect(new Set(days).size).toBe(DAYS)
    const calendar = { daily: 400, timeZone: 'Europe/Berlin' }
    expect(planBackups(year(), { ...base, calendar }, {}, START + 400 * DAY).kept).toHaveLength(DAYS)
  })

  test('a calendar beside a count keeps the sets that the count keeps, and one backup for each month before', () => {
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
