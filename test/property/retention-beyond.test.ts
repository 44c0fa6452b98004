import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PERIODS, type CalendarPolicy, type Period } from '../../src/core/expire/calendar.ts'
import { isPinActive, type Pin } from '../../src/core/expire/pins.ts'
import { planBackups, type RetentionPolicy } from '../../src/core/expire/retention.ts'
import { compareLabels } from '../../src/format/backup-label.ts'
import type { BackupEntry } from '../../src/format/backup-info.ts'
import { entriesOf, type TestBackup } from '../support/builders/repository.ts'

/** Calendar, pins and explanation: laws that hold for any backups, and a year of a site under many policies. */
const DAY = 86_400
const START = Date.UTC(2026, 0, 1) / 1000

/** A backup of a site. */
interface Taken {
  readonly type: 'full' | 'diff' | 'incr'
  readonly atSeconds: number
}

function utcLabel(seconds: number): string {
  return new Date(seconds * 1000)
    .toISOString()
    .replaceAll(/[-:]|\..*/g, '')
    .replace('T', '-')
}

function entriesFrom(taken: readonly Taken[]): BackupEntry[] {
  const backups: TestBackup[] = []
  let full: string | undefined
  for (const { type: wanted, atSeconds } of taken) {
    const type = full === undefined ? 'full' : wanted
    const time = utcLabel(atSeconds)
    const label = type === 'full' ? `${time}F` : `${full!}_${time}${type === 'diff' ? 'D' : 'I'}`
    const prior = type === 'incr' ? { prior: backups.at(-1)!.label } : {}
    if (type === 'full') full = label
    backups.push({ label, ...prior, stop: atSeconds + 600 })
  }
  return entriesOf(backups)
}

const sites = fc
  .array(
    fc.record({
      type: fc.constantFrom('full' as const, 'diff' as const, 'incr' as const),
      hours: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 100, max: 2000 })),
    }),
    { maxLength: 30 },
  )
  .map((steps) => {
    let atSeconds = START
    return steps.map(({ type, hours }): Taken => ({ type, atSeconds: (atSeconds += hours * 3600) }))
  })

const some = (max: number) => fc.option(fc.integer({ min: 1, max }), { nil: undefined })
const calendars: fc.Arbitrary<CalendarPolicy | undefined> = fc.option(
  fc.record({
    daily: some(8),
    weekly: some(4),
    monthly: some(4),
    yearly: some(2),
    timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Apia', 'Asia/Kathmandu'),
  }),
  { nil: undefined },
)
const policies: fc.Arbitrary<RetentionPolicy> = fc.record({
  fullType: fc.constantFrom('count' as const, 'time' as const),
  full: some(4),
  diff: some(4),
  archiveType: fc.constantFrom('full' as const, 'diff' as const, 'incr' as const),
  archive: some(4),
  calendar: calendars,
})
const cases = fc.record({
  taken: sites,
  policy: policies,
  pinned: fc.array(fc.record({ pick: fc.nat(), over: fc.boolean() }), { maxLength: 3 }),
  oldest: fc.boolean(),
})

function planOf({
  taken,
  policy,
  pinned,
  oldest = false,
}: {
  taken: readonly Taken[]
  policy: RetentionPolicy
  pinned: readonly { pick: number; over: boolean }[]
  oldest?: boolean
}) {
  const backups = entriesFrom(taken)
  const now = (taken.at(-1)?.atSeconds ?? START) + 3600
  const pins: Pin[] =
    backups.length === 0
      ? []
      : pinned.map(({ pick, over }) => ({
          label: backups[pick % backups.length]!.label,
          since: START,
          until: over ? now - 1 : now + 1,
        }))
  return { backups, now, pins, plan: planBackups(backups, policy, { oldest }, now, pins) }
}

const labelsOf = (backups: readonly { label: string }[]) => backups.map(({ label }) => label).sort(compareLabels)
const isSet = (calendar: CalendarPolicy | undefined) => PERIODS.some((period) => calendar?.[period] !== undefined)

/** The period of a moment, computed in another way than by pgts: from the local date as text. */
function periodOf(period: Period, seconds: number, timeZone: string): string {
  const date = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' }).format(seconds * 1000)
  if (period === 'daily') return date
  if (period === 'monthly') return date.slice(0, 7)
  if (period === 'yearly') return date.slice(0, 4)
  // A week is named by its Monday: days since a known Monday, in whole weeks.
  return String(Math.floor((Date.parse(`${date}T00:00Z`) - Date.UTC(2024, 0, 1)) / (7 * DAY * 1000)))
}

/** The backups that the calendar must keep, computed from its documentation. */
function standing(backups: readonly BackupEntry[], calendar: CalendarPolicy): Set<string> {
  const wanted = new Set<string>()
  for (const period of PERIODS) {
    const count = calendar[period]
    if (count === undefined) continue
    const by = new Map<string, BackupEntry[]>()
    for (const backup of backups) {
      const name = periodOf(period, backup.timestampStop, calendar.timeZone)
      by.set(name, [...(by.get(name) ?? []), backup])
    }
    const newest = [...by.values()].sort((a, b) => b[0]!.timestampStop - a[0]!.timestampStop).slice(0, count)
    for (const list of newest) {
      const fulls = list.filter(({ type }) => type === 'full')
      wanted.add((period === 'daily' || fulls.length === 0 ? list : fulls).at(-1)!.label)
    }
  }
  return wanted
}

function needs(backups: readonly BackupEntry[], labels: Iterable<string>): Set<string> {
  const all = new Set(labels)
  for (const label of all) {
    const backup = backups.find((one) => one.label === label)
    for (const other of [backup?.prior, ...(backup?.references ?? [])]) if (other !== undefined) all.add(other)
  }
  return all
}

describe('laws of calendar and pins', () => {
  test('keeps exactly the backups that a rule keeps, with all they depend on', () => {
    fc.assert(
      fc.property(cases, ({ taken, policy, pinned }) => {
        const { backups, now, pins, plan } = planOf({ taken, policy, pinned })
        const { calendar, ...theirs } = policy
        // Without calendar and pins this is the result of pgBackRest; interop tests compare it with pgbackrest.
        const plain = planBackups(backups, theirs, {}, now)
        const newestSet = backups.filter(({ label }) =>
          label.startsWith(labelsOf(backups.filter(({ type }) => type === 'full')).at(-1)!),
        )
        const diffOnly = planBackups(newestSet, { ...theirs, full: undefined }, {}, now)
        const byRules = policy.full === undefined && isSet(calendar) ? diffOnly.kept : plain.kept
        const extra = [
          ...(calendar === undefined ? [] : standing(backups, calendar)),
          ...pins.filter((pin) => isPinActive(pin, now)).map(({ label }) => label),
        ]
        const expected = [...new Set([...labelsOf(byRules), ...needs(backups, extra)])].sort(compareLabels)
        expect(labelsOf(plan.kept)).toEqual(expected)
      }),
      { numRuns: 400 },
    )
  })

  test('keeps the newest full and no backup without its dependencies, and decides once for each backup', () => {
    fc.assert(
      fc.property(cases, (input) => {
        const { backups, plan } = planOf(input)
        const kept = new Set(labelsOf(plan.kept))
        for (const needed of needs(backups, kept)) expect(kept).toContain(needed)
        const gone = plan.groups.flatMap(({ labels }) => labels)
        expect([...kept, ...gone].sort(compareLabels)).toEqual(labelsOf(backups))
        const newest = labelsOf(backups.filter(({ type }) => type === 'full')).at(-1)
        if (newest !== undefined) expect(kept).toContain(newest)
        const left = new Set(labelsOf(backups))
        for (const label of gone) {
          left.delete(label)
          for (const { prior } of backups.filter((one) => left.has(one.label))) expect(prior).not.toBe(label)
        }
      }),
    )
  })

  test('a calendar or a pin never removes a backup or WAL that is kept without it', () => {
    fc.assert(
      fc.property(cases, ({ taken, policy, pinned }) => {
        fc.pre(policy.full !== undefined)
        const { backups, now, plan } = planOf({ taken, policy, pinned })
        const plain = planBackups(backups, { ...policy, calendar: undefined }, {}, now)
        expect(labelsOf(plan.kept)).toEqual(expect.arrayContaining(labelsOf(plain.kept)))
        expect(plan.archive).toEqual(plain.archive)
      }),
    )
  })

  test('the explanation lists every backup once, with the actual decision and its dependents', () => {
    fc.assert(
      fc.property(cases, (input) => {
        const { backups, now, plan } = planOf(input)
        expect(plan.verdicts.map(({ label }) => label)).toEqual(labelsOf(backups))
        const kept = new Set(labelsOf(plan.kept))
        const by = new Map(plan.groups.flatMap((group) => group.labels.map((label) => [label, group])))
        for (const verdict of plan.verdicts) {
          expect(verdict.keep).toBe(kept.has(verdict.label))
          if (!verdict.keep) {
            expect(by.get(verdict.label)).toMatchObject({ reason: verdict.reason, label: verdict.because })
            continue
          }
          expect(verdict.reasons.length).toBeGreaterThan(0)
          for (const reason of verdict.reasons) {
            if (reason.rule === 'needed') {
              expect(kept).toContain(reason.by)
              expect(needs(backups, [reason.by])).toContain(verdict.label)
            }
            if (reason.rule === 'set') expect(kept).toContain(reason.label)
            if (reason.rule === 'pin') expect(reason.until).toBeGreaterThan(now)
          }
        }
      }),
    )
  })

  test('removes nothing when applied again, and after a new backup only what the policy requires', () => {
    fc.assert(
      fc.property(cases, fc.integer({ min: 1, max: 40 }), ({ taken, policy, pinned }, hours) => {
        const { backups, now, pins, plan } = planOf({ taken, policy, pinned })
        expect(planBackups(plan.kept, policy, {}, now, pins).groups).toEqual([])
        // Expiring several times never keeps less than expiring once at the end.
        const later = now + hours * 3600
        const next = entriesFrom([...taken, { type: 'full', atSeconds: later }]).at(-1)!
        const onTheWay = planBackups([...plan.kept, next], policy, {}, later + 3600, pins).kept
        const atTheEnd = planBackups([...backups, next], policy, {}, later + 3600, pins).kept
        if (policy.diff === undefined) expect(labelsOf(onTheWay)).toEqual(labelsOf(atTheEnd))
        expect(labelsOf(onTheWay)).toContain(next.label)
      }),
    )
  })
})
