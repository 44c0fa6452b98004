import { PgtsError } from '../../util/error.ts'
import { dateTimeText, offsetText, systemZone } from '../../util/local-time.ts'
import { timeOfWall, UTC, wallTime, type Zone } from '../../util/time-zone/zone.ts'

export interface TimeTarget {
  /** Seconds since the epoch, with a fraction. */
  readonly seconds: number
  /**
   * The same time in a form that every server interprets identically, `2026-01-31 23:15:07.5+01`. Servers refuse some
   * of the accepted forms, and interpret a time without a zone in their own TimeZone setting.
   */
  readonly text: string
  /** True if there was no zone, so that local time was assumed. */
  readonly assumedLocal: boolean
}

const TIME =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt]| +[Tt]?)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?\s*([Zz]|[+-]\d{1,2}(?::\d{2}(?::\d{2})?)?|[+-]\d{3,4}|[+-]\d{6}|[A-Za-z_]+(?:\/[A-Za-z0-9_+-]+)*)?$/

/**
 * Parses a time in PostgreSQL's form: `2026-01-31 23:15:07.5+01`, `... Europe/Berlin`, `... UTC`; without zone local
 * time. Throws `format` [029] for an invalid time, and for zone abbreviations, whose meaning depends on the server.
 *
 * @param localZone set by tests
 */
export function parseTimeTarget(text: string, localZone: Zone = systemZone()): TimeTarget {
  const parts = TIME.exec(text.trim())
  if (parts === null) throw invalidTime(text)
  const wall = wallOf(parts)
  if (wall === undefined) throw invalidTime(text)
  const zone = parts[8]
  const seconds = zone === undefined ? timeOfWall(localZone, wall) : secondsIn(zone, wall)
  if (seconds === undefined) throw invalidTime(text, `unknown time zone '${zone ?? ''}'`)
  // Servers use microseconds, and would round further digits up, past the intended time.
  const fraction = (parts[7] ?? '').slice(0, 6)
  return {
    seconds: seconds + Number(`0.${fraction}0`),
    text: timeText(seconds, zone === undefined ? localZone.at(seconds).offset : wall - seconds, fraction),
    assumedLocal: zone === undefined,
  }
}

/** True for a valid time with a zone abbreviation (`2026-01-31 23:15:07 CET`), which only the server can interpret. */
export function hasUnknownZone(text: string): boolean {
  const parts = TIME.exec(text.trim())
  return parts !== null && wallOf(parts) !== undefined && /^[A-Za-z]{3,}$/.test(parts[8] ?? '')
}

/** Servers accept offsets below 16 hours. */
const MOST_OFFSET = 16 * 3600 - 1

function timeText(seconds: number, offset: number, fraction: string): string {
  const shown = Math.abs(offset) > MOST_OFFSET ? 0 : offset
  return dateTimeText(wallTime(UTC, seconds + shown)) + (fraction === '' ? '' : `.${fraction}`) + offsetText(shown)
}

/** Interpreted as UTC; undefined if there is no such time. Servers accept 24:00:00 and a second of 60. */
function wallOf(parts: RegExpExecArray): number | undefined {
  const number = (index: number) => Number(parts[index] ?? '0')
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map(number) as Numbers
  const date = new Date(Date.UTC(year, month - 1, day))
  const isDate = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day
  const isEndOfDay = hour === 24 && minute === 0 && second === 0 && number(7) === 0
  if (!isDate || (hour > 23 && !isEndOfDay) || minute > 59 || second > 60) return undefined
  return date.getTime() / 1000 + hour * 3600 + minute * 60 + second
}
type Numbers = [number, number, number, number, number, number]

/** Seconds since the epoch; undefined if there is no such zone. */
function secondsIn(zone: string, wall: number): number | undefined {
  if (/^(z|utc|gmt)$/i.test(zone)) return wall
  const numeric =
    /^([+-])(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?$/.exec(zone) ?? /^([+-])(\d{1,2})(\d{2})(\d{2})?$/.exec(zone)
  if (numeric !== null) {
    const [hours, minutes, seconds] = [2, 3, 4].map((index) => Number(numeric[index] ?? 0)) as [number, number, number]
    if (hours > 15 || minutes > 59 || seconds > 59) return undefined
    const offset = hours * 3600 + minutes * 60 + seconds
    return numeric[1] === '-' ? wall + offset : wall - offset
  }
  // Abbreviations such as EST depend on the server's table; only names of the tz database are unambiguous.
  return zone.includes('/') ? secondsInNamed(zone, wall) : undefined
}

const DAY = 86_400

function secondsInNamed(zone: string, wall: number): number | undefined {
  let format: Intl.DateTimeFormat
  try {
    const numeric = { year: 'numeric', month: 'numeric', day: 'numeric' } as const
    const clock = { hourCycle: 'h23', hour: 'numeric', minute: 'numeric', second: 'numeric' } as const
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, ...numeric, ...clock })
  } catch {
    return undefined // not a name of the tz database
  }
  const offsetAt = (time: number): number => {
    const parts = new Map(format.formatToParts(time * 1000).map((part) => [part.type, Number(part.value)]))
    const get = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0
    const shown = Date.UTC(get('year'), get('month') - 1, get('day'), get('hour'), get('minute'), get('second'))
    return shown / 1000 - time
  }
  const [before, after] = [offsetAt(wall - DAY), offsetAt(wall + DAY)]
  const right = [before, after].filter((offset) => offsetAt(wall - offset) === offset)
  // If the clocks show the time twice, or never, the server uses the offset further west.
  const [only] = new Set(right)
  const isCertain = only !== undefined && new Set(right).size === 1
  return wall - (isCertain ? only : Math.min(before, after))
}

function invalidTime(text: string, why = 'not a time'): PgtsError {
  return new PgtsError('format', `unable to choose a backup set for the time '${text}': ${why}`, {
    hints: [
      "use the form '2026-01-31 23:15:07+01' (YYYY-MM-DD HH:MM:SS, optional fraction, offset from UTC); without an offset it is local time",
    ],
  })
}
