import { PgtsError } from '../../util/error.ts'

export interface TimeTarget {
  /** Seconds since the epoch, with a fraction. */
  readonly seconds: number
  /**
   * The same moment as text with an explicit offset from UTC. The server reads a time without a zone in its own
   * TimeZone setting, which need not be the zone of whoever chose the backup by it.
   */
  readonly text: string
  /** Was the zone left out, so that local time was assumed? */
  readonly assumedLocal: boolean
}

const TIME =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2})([.,]\d+)?)?)?\s*([Zz]|[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?|[A-Za-z_]+(?:\/[A-Za-z0-9_+-]+)*)?$/

/**
 * A time as PostgreSQL takes it: `2026-01-31 23:15:07.5+01`, `... Europe/Berlin`, `... UTC`; without zone local time.
 * Throws `format` [029] for what is no time, and for zone abbreviations, whose meaning depends on the server.
 *
 * @param localOffsetMs offset of local time from UTC at a moment given in local time; tests fix it
 */
export function parseTimeTarget(text: string, localOffsetMs: LocalOffset = systemLocalOffset): TimeTarget {
  const parts = TIME.exec(text.trim())
  if (parts === null) throw nonsense(text)
  const number = (index: number) => Number(parts[index] ?? '0')
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map(number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const fraction = parts[7] === undefined ? 0 : Number(`0.${parts[7].slice(1)}`)
  const wallMs = Date.UTC(year, month - 1, day, hour, minute, second)
  const wall = new Date(wallMs)
  const real =
    wall.getUTCFullYear() === year &&
    wall.getUTCMonth() === month - 1 &&
    wall.getUTCDate() === day &&
    hour < 24 &&
    minute < 60 &&
    second < 60
  if (!real) throw nonsense(text)

  const zone = parts[8]
  const offsetMs = zone === undefined ? localOffsetMs(wallMs) : zoneOffset(zone, wallMs)
  if (offsetMs === undefined) throw nonsense(text, `the time zone '${zone ?? ''}' is not known here`)
  const pad = (value: number, digits = 2) => String(value).padStart(digits, '0')
  return {
    seconds: (wallMs - offsetMs) / 1000 + fraction,
    text:
      zone === undefined
        ? `${pad(year, 4)}-${pad(month)}-${pad(day)} ${pad(hour)}:${pad(minute)}:${pad(second)}${parts[7]?.replace(',', '.') ?? ''}${offsetText(offsetMs)}`
        : text.trim(),
    assumedLocal: zone === undefined,
  }
}

/** Wall-clock time as if it were UTC, ms -> offset from UTC, ms. */
export type LocalOffset = (wallMs: number) => number

const systemLocalOffset: LocalOffset = (wallMs) => {
  const wall = new Date(wallMs)
  const local = new Date(
    wall.getUTCFullYear(),
    wall.getUTCMonth(),
    wall.getUTCDate(),
    wall.getUTCHours(),
    wall.getUTCMinutes(),
    wall.getUTCSeconds(),
  )
  return wallMs - local.getTime()
}

/** `2026-01-31 23:15:07+01` in local time, as labels and logs show it. */
export function localTimeText(seconds: number): string {
  const date = new Date(seconds * 1000)
  const pad = (value: number) => String(value).padStart(2, '0')
  const offsetMs = -date.getTimezoneOffset() * 60_000
  return (
    `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ` +
    `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}${offsetText(offsetMs)}`
  )
}

function offsetText(offsetMs: number): string {
  const minutes = Math.round(Math.abs(offsetMs) / 60_000)
  const rest = minutes % 60
  const hours = String(Math.floor(minutes / 60)).padStart(2, '0')
  return `${offsetMs < 0 ? '-' : '+'}${hours}${rest === 0 ? '' : `:${String(rest).padStart(2, '0')}`}`
}

function zoneOffset(zone: string, wallMs: number): number | undefined {
  if (/^(z|utc|gmt)$/i.test(zone)) return 0
  const numeric = /^([+-])(\d{1,2})(?::?(\d{2})(?::?(\d{2}))?)?$/.exec(zone)
  if (numeric !== null) {
    const seconds = Number(numeric[2]) * 3600 + Number(numeric[3] ?? 0) * 60 + Number(numeric[4] ?? 0)
    return seconds > 16 * 3600 ? undefined : (numeric[1] === '-' ? -1 : 1) * seconds * 1000
  }
  // Abbreviations such as EST mean what the server's table says; only names of the tz database are beyond doubt.
  if (!zone.includes('/')) return undefined
  try {
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
    const offsetAt = (utcMs: number): number => {
      const parts = new Map(format.formatToParts(utcMs).map((part) => [part.type, Number(part.value)]))
      const get = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0
      return Date.UTC(get('year'), get('month') - 1, get('day'), get('hour'), get('minute'), get('second')) - utcMs
    }
    // The first guess may lie on the other side of a change to summer time; the second does not.
    return offsetAt(wallMs - offsetAt(wallMs))
  } catch {
    return undefined // not a name of the tz database
  }
}

function nonsense(text: string, why = 'it is not a time'): PgtsError {
  return new PgtsError('format', `unable to choose a backup set for the time '${text}': ${why}`, {
    hints: [
      "write it as '2026-01-31 23:15:07+01' (YYYY-MM-DD HH:MM:SS, a fraction if needed, offset from UTC); without an offset local time is meant",
      'or name the backup with --set: then the time goes to the server as it is',
    ],
  })
}
