import { libcZone } from './time-zone/libc-zone.ts'
import { timeOfWall, wallTime, type WallTime, type Zone } from './time-zone/zone.ts'

/**
 * Local time of this process, as in the C library: what `date` shows with the same TZ, and what pgbackrest uses in
 * labels. Node's Date knows names of zones only, and treats everything else as UTC.
 */

let known: { readonly TZ: string | undefined; readonly TZDIR: string | undefined; readonly zone: Zone } | undefined

/** Cached until the environment changes. */
export function systemZone(): Zone {
  const { TZ, TZDIR } = process.env
  if (known === undefined || known.TZ !== TZ || known.TZDIR !== TZDIR) {
    known = { TZ, TZDIR, zone: libcZone({ TZ, TZDIR }) }
  }
  return known.zone
}

export function localWall(epochSeconds: number): WallTime {
  return wallTime(systemZone(), epochSeconds)
}

/** mktime(3). @param wall local time interpreted as UTC: Date.UTC(...) / 1000 */
export function timeOfLocalWall(wall: number): number {
  return timeOfWall(systemZone(), wall)
}

/** `2026-11-22 06:28:17` */
export function localDateTime(epochSeconds: number): string {
  return dateTimeText(localWall(epochSeconds))
}

/** `2026-11-22 06:28:17+01`: with minutes and seconds of the offset if it has any. */
export function zonedDateTime(epochSeconds: number): string {
  const wall = localWall(epochSeconds)
  return dateTimeText(wall) + offsetText(wall.offset)
}

/** `2026-11-22 06:28:17.000123+00`: a time with microseconds, for programs. @param micros since 1970 */
export function microsText(micros: number): string {
  const iso = new Date(Math.floor(micros / 1000)).toISOString()
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}${String(micros % 1000).padStart(3, '0')}+00`
}

export function dateTimeText({ year, month, day, hour, minute, second }: Omit<WallTime, 'offset'>): string {
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)}`
}

/** @param offset seconds east of UTC */
export function offsetText(offset: number): string {
  const seconds = Math.abs(offset)
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  while (parts.length > 1 && parts.at(-1) === 0) parts.pop()
  return (offset < 0 ? '-' : '+') + parts.map(two).join(':')
}

export function two(value: number): string {
  return String(value).padStart(2, '0')
}
