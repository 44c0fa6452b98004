import { posixZone, type PosixZone } from './posix-zone.ts'
import type { Zone } from './zone.ts'

/** A compiled zone of the tz database. Times are seconds since the epoch. */
export interface ZoneFile {
  /** In order; from `transitions[i]` on `types[typeIndexes[i]]` is valid. */
  readonly transitions: readonly number[]
  readonly typeIndexes: readonly number[]
  readonly types: readonly ZoneType[]
  readonly leaps: readonly { readonly time: number; readonly correction: number }[]
  /** Rule after the last transition, as a TZ string; '': the last type stays valid. */
  readonly footer: string
}

export interface ZoneType {
  /** Seconds east of UTC. */
  readonly offset: number
  readonly isDst: boolean
  /** How the transitions to this type are specified: in standard time, or in UTC; if neither, in wall time. */
  readonly isStandard: boolean
  readonly isUtc: boolean
}

const HEADER_BYTES = 44

/**
 * Parses a TZif file, version 1 to 4; undefined if it is none.
 *
 * @see RFC 8536, tzfile(5)
 */
export function parseZoneFile(bytes: Buffer): ZoneFile | undefined {
  try {
    const first = header(bytes, 0)
    if (first === undefined) return undefined
    if (first.version === 0) return body(bytes, HEADER_BYTES, first, 4)?.zone
    // A first part with 32-bit times, for old readers, precedes the part with 64-bit times.
    const second = HEADER_BYTES + first.lengthWith(4)
    const wide = header(bytes, second)
    if (wide === undefined) return undefined
    const { zone, end } = body(bytes, second + HEADER_BYTES, wide, 8) ?? {}
    if (zone === undefined || end === undefined) return undefined
    const footer = /^\n([^\n]*)\n/.exec(bytes.toString('latin1', end))?.[1] ?? ''
    return { ...zone, footer }
  } catch (error) {
    // The file is truncated.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function header(bytes: Buffer, at: number) {
  if (bytes.toString('latin1', at, at + 4) !== 'TZif') return undefined
  const count = (index: number) => bytes.readUInt32BE(at + 20 + 4 * index)
  const [utcs, standards, leaps, transitions, types, characters] = [0, 1, 2, 3, 4, 5].map(count) as Counts
  if (types === 0 || types > 256) return undefined
  const version = bytes[at + 4] === 0 ? 0 : 2
  const lengthWith = (timeBytes: number) =>
    transitions * (timeBytes + 1) + types * 6 + characters + leaps * (timeBytes + 4) + standards + utcs
  if (lengthWith(4) > bytes.length) return undefined
  return { version, utcs, standards, leaps, transitions, types, characters, lengthWith }
}
type Counts = [number, number, number, number, number, number]

function body(
  bytes: Buffer,
  start: number,
  counts: NonNullable<ReturnType<typeof header>>,
  timeBytes: 4 | 8,
): { readonly zone: ZoneFile; readonly end: number } | undefined {
  const time = (at: number) => (timeBytes === 4 ? bytes.readInt32BE(at) : Number(bytes.readBigInt64BE(at)))
  const times = <T>(length: number, make: (index: number) => T) => Array.from({ length }, (_, index) => make(index))
  const { transitions, types, leaps } = counts
  const indexesAt = start + transitions * timeBytes
  const typesAt = indexesAt + transitions
  const leapsAt = typesAt + types * 6 + counts.characters
  const standardsAt = leapsAt + leaps * (timeBytes + 4)
  const utcsAt = standardsAt + counts.standards
  const typeIndexes = times(transitions, (index) => bytes.readUInt8(indexesAt + index))
  if (typeIndexes.some((index) => index >= types)) return undefined
  const zone: ZoneFile = {
    transitions: times(transitions, (index) => time(start + index * timeBytes)),
    typeIndexes,
    types: times(types, (index) => ({
      offset: bytes.readInt32BE(typesAt + index * 6),
      isDst: bytes.readUInt8(typesAt + index * 6 + 4) !== 0,
      isStandard: index < counts.standards && bytes.readUInt8(standardsAt + index) !== 0,
      isUtc: index < counts.utcs && bytes.readUInt8(utcsAt + index) !== 0,
    })),
    leaps: times(leaps, (index) => {
      const at = leapsAt + index * (timeBytes + 4)
      return { time: time(at), correction: bytes.readInt32BE(at + timeBytes) }
    }),
    footer: '',
  }
  return { zone, end: utcsAt + counts.utcs }
}

/** Local time according to such a file, as in glibc. */
export function fileZone(file: ZoneFile): Zone {
  const { transitions, typeIndexes, types, leaps } = file
  const later = file.footer === '' ? undefined : posixZone(file.footer)
  const earliest = types.find(({ isDst }) => !isDst) ?? types[0]!
  const last = transitions.at(-1)
  const typeAt = (time: number) => {
    if (last === undefined || time < transitions[0]!) return earliest
    if (time >= last && later !== undefined) return later.at(time)
    return types[typeIndexes[lastAtOrBefore(transitions, time)]!]!
  }
  return {
    at(time) {
      const { offset, isDst } = typeAt(time)
      let [leap, inLeap] = [0, 0]
      for (const { time: begins, correction } of leaps) {
        if (begins > time) break
        inLeap = begins === time && correction > leap ? 1 : 0
        leap = correction
      }
      return { offset, isDst, leap, inLeap }
    },
  }
}

/** @param sorted begins at or before `time` */
function lastAtOrBefore(sorted: readonly number[], time: number): number {
  let [low, high] = [0, sorted.length]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (sorted[middle]! <= time) low = middle
    else high = middle
  }
  return low
}

/**
 * A TZ string with summer time but without rules (`CET-1CEST`) uses the transitions of `posixrules` of the tz database.
 * As in glibc 2.36, the changes are later by the difference of the offsets (one would expect earlier), the end of
 * summer time is calculated from UTC, and after the last transition the offsets of the file are used.
 */
export function withRulesOf(rules: ZoneFile, zone: PosixZone): Zone | undefined {
  if (rules.types.length < 2) return undefined
  const used = rules.typeIndexes.map((index) => rules.types[index]!)
  const standard = (used.findLast((type) => !type.isDst) ?? rules.types[0]!).offset
  let isDst = false
  const transitions = rules.transitions.map((time, index) => {
    const type = used[index]!
    const shift = type.isUtc ? 0 : isDst && !type.isStandard ? zone.summer : zone.standard - standard
    isDst = type.isDst
    return time + shift
  })
  const plain = { isStandard: false, isUtc: false }
  const types = [
    { offset: zone.standard, isDst: false, ...plain },
    { offset: zone.summer, isDst: true, ...plain },
  ]
  return fileZone({ ...rules, transitions, typeIndexes: used.map((type) => Number(type.isDst)), types })
}
