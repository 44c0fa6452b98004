import { compareLabels } from '../../format/backup-label.ts'
import type { BackupEntry } from '../../format/backup-info.ts'
import { PgtsError } from '../../util/error.ts'
import { posixZone } from '../../util/time-zone/posix-zone.ts'
import { wallTime } from '../../util/time-zone/zone.ts'

export const PERIODS = ['daily', 'weekly', 'monthly', 'yearly'] as const
export type Period = (typeof PERIODS)[number]

/** For how many days, weeks, months and years with a backup one backup is kept. undefined: no rule for this period. */
export type CalendarPolicy = { readonly [P in Period]?: number | undefined } & {
  /** Defines where days begin: a name of the tz database, or a POSIX TZ string. The same on every host. */
  readonly timeZone: string
}

/** The period that a backup is kept for: `2026-03-02`, `2026-W10`, `2026-03`, `2026`. */
export interface CalendarReason {
  readonly rule: Period
  readonly period: string
}

/** True if there is a rule for any period. */
export function hasCalendar(calendar: CalendarPolicy | undefined): calendar is CalendarPolicy {
  return calendar !== undefined && PERIODS.some((period) => calendar[period] !== undefined)
}

/**
 * Selects the backups to keep for the newest N days, weeks (Monday to Sunday), months and years that have a backup: for
 * a day its newest backup; for a longer period its newest full, because it needs no other backup, or its newest backup
 * if there is no full. A backup is selected as soon as it exists, and only a newer one can replace it. Its stop time
 * decides the period, because that is the point in time it restores.
 *
 * @throws PgtsError option-invalid-value for an unknown time zone
 */
export function calendarReasons(
  backups: readonly BackupEntry[],
  calendar: CalendarPolicy,
): ReadonlyMap<string, readonly CalendarReason[]> {
  const dateOf = datesIn(calendar.timeZone)
  const newestFirst = [...backups].sort((a, b) => b.timestampStop - a.timestampStop || compareLabels(b.label, a.label))
  const reasons = new Map<string, CalendarReason[]>()
  for (const rule of PERIODS) {
    const count = calendar[rule]
    if (count === undefined) continue
    const standing = new Map<string, BackupEntry>()
    for (const backup of newestFirst) {
      const period = periodOf(rule, dateOf(backup.timestampStop))
      const other = standing.get(period)
      if (other === undefined) {
        if (standing.size === count) break
        standing.set(period, backup)
      } else if (rule !== 'daily' && other.type !== 'full' && backup.type === 'full') standing.set(period, backup)
    }
    for (const [period, { label }] of standing) reasons.set(label, [...(reasons.get(label) ?? []), { rule, period }])
  }
  return reasons
}

interface CalendarDate {
  readonly year: number
  readonly month: number
  readonly day: number
}

/** Converts seconds since the epoch to a date. */
function datesIn(timeZone: string): (seconds: number) => CalendarDate {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
    })
  } catch (cause) {
    const zone = posixZone(timeZone)
    if (zone.complete) return (seconds) => wallTime(zone, seconds)
    throw new PgtsError('option-invalid-value', `unknown time zone '${timeZone}'`, {
      hints: [
        'use a name of the tz database: UTC, Europe/Berlin, America/New_York, ...',
        'or a POSIX time zone string: CET-1CEST,M3.5.0,M10.5.0/3',
      ],
      cause,
    })
  }
  return (seconds) => {
    const parts = new Map(format.formatToParts(seconds * 1000).map(({ type, value }) => [type, Number(value)]))
    return { year: parts.get('year') ?? 0, month: parts.get('month') ?? 0, day: parts.get('day') ?? 0 }
  }
}

function periodOf(period: Period, { year, month, day }: CalendarDate): string {
  const two = (value: number) => String(value).padStart(2, '0')
  const four = String(year).padStart(4, '0')
  switch (period) {
    case 'daily':
      return `${four}-${two(month)}-${two(day)}`
    case 'weekly':
      return isoWeek(year, month, day)
    case 'monthly':
      return `${four}-${two(month)}`
    case 'yearly':
      return four
  }
}

const DAY_MS = 86_400_000

/**
 * ISO 8601: a week belongs to the year of its Thursday. Calculated with dates only, so clock changes have no effect.
 */
function isoWeek(year: number, month: number, day: number): string {
  const date = Date.UTC(year, month - 1, day)
  const weekday = (new Date(date).getUTCDay() + 6) % 7
  const thursday = date + (3 - weekday) * DAY_MS
  const weekYear = new Date(thursday).getUTCFullYear()
  const week = 1 + Math.floor((thursday - Date.UTC(weekYear, 0, 1)) / (7 * DAY_MS))
  return `${String(weekYear).padStart(4, '0')}-W${String(week).padStart(2, '0')}`
}
