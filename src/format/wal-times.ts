import { asBytes, type ByteString } from '../util/byte-string.ts'
import { isWalSegment, type Lsn, type WalSegment } from './wal-segment.ts'
import { formatLsn, parseLsn } from '../util/lsn.ts'

/** A restore point (pg_create_restore_point). */
export interface RestorePoint {
  readonly name: ByteString
  /** Microseconds since 1970. */
  readonly time: number
  /** Of its record. */
  readonly lsn: Lsn
}

/** A record at which recovery could stop, of which a part is in the next segment. */
export interface UnfinishedRecord {
  readonly lsn: Lsn
  readonly totalBytes: number
  /** Number of its bytes in this segment, and the first of them. */
  readonly hereBytes: number
  readonly bytes: Uint8Array
}

/**
 * The points in time at which recovery can stop in one WAL segment. Times are microseconds since 1970 as safe integers:
 * they end in the year 2255.
 */
export interface SegmentTimes {
  /** Also of prepared transactions. */
  readonly commits: number
  /** The earliest and the latest time of a commit or abort; absent: there is none. Clocks jump, so they may decrease. */
  readonly times?: Span
  /** Every transaction that ends here is between both, where 3 follows 4294967295. */
  readonly xids?: Span
  readonly points: readonly RestorePoint[]
  /** Corrupt or unknown content ended the scan: more may follow. */
  readonly incomplete?: true
  /** Joined with the `rest` of the next segment. */
  readonly head?: UnfinishedRecord
  /** The end of a record of the previous segment: the number of its bytes, and the first of them. */
  readonly rest?: { readonly remainingBytes: number; readonly bytes: Uint8Array }
}

export type Span = readonly [first: number, last: number]

/** Up to 256 segments with the same first 22 characters: a file in the repository. */
export interface WalTimes {
  readonly segmentSize: number
  readonly segments: ReadonlyMap<WalSegment, SegmentTimes>
}

const VERSION = 1

export function groupOf(segment: WalSegment): string {
  return segment.slice(0, 22)
}

/** The group in a file name of `wal-times/`; undefined for other files. */
export function groupOfFile(name: string): string | undefined {
  return /^([0-9A-F]{22})\.json$/.exec(name)?.[1]
}

export function serialiseWalTimes({ segmentSize, segments }: WalTimes): Buffer {
  const rows = [...segments].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) => [name.slice(22), rowOf(one)])
  return Buffer.from(`${JSON.stringify({ version: VERSION, segmentSize, segments: Object.fromEntries(rows) })}\n`)
}

function rowOf({ commits, times, xids, points, incomplete, head, rest }: SegmentTimes) {
  return {
    commits,
    times,
    xids,
    points: points.length === 0 ? undefined : points.map(({ name, time, lsn }) => [name, time, formatLsn(lsn)]),
    incomplete,
    head: head === undefined ? undefined : [formatLsn(head.lsn), head.totalBytes, head.hereBytes, base64(head.bytes)],
    rest: rest === undefined ? undefined : [rest.remainingBytes, base64(rest.bytes)],
  }
}

/** @returns undefined for another version and for invalid content: it can be built again */
export function parseWalTimes(text: string, group: string): WalTimes | undefined {
  try {
    const { version, segmentSize, segments } = JSON.parse(text) as Record<string, unknown>
    if (version !== VERSION || !isCount(segmentSize) || typeof segments !== 'object' || segments === null)
      return undefined
    const found = new Map<WalSegment, SegmentTimes>()
    for (const [last, row] of Object.entries(segments)) {
      const name = group + last
      const times = parseRow(row)
      if (!isWalSegment(name) || times === undefined) return undefined
      found.set(name, times)
    }
    return { segmentSize, segments: found }
  } catch {
    return undefined
  }
}

function parseRow(row: unknown): SegmentTimes | undefined {
  if (typeof row !== 'object' || row === null) return undefined
  const { commits, times, xids, points = [], incomplete, head, rest } = row as Record<string, unknown>
  if (!isCount(commits) || !isSpan(times) || !isSpan(xids) || !Array.isArray(points)) return undefined
  return {
    commits,
    ...(times === undefined ? {} : { times }),
    ...(xids === undefined ? {} : { xids }),
    points: points.map(parsePoint),
    ...(incomplete === true ? { incomplete } : {}),
    ...(head === undefined ? {} : { head: parseHead(head) }),
    ...(rest === undefined ? {} : { rest: parseRest(rest) }),
  }
}

function parsePoint(row: unknown): RestorePoint {
  const [name, time, lsn] = listOf(row)
  return { name: asBytes(text(name)), time: count(time), lsn: parseLsn(text(lsn)) }
}

function parseHead(row: unknown): UnfinishedRecord {
  const [lsn, totalBytes, hereBytes, bytes] = listOf(row)
  return {
    lsn: parseLsn(text(lsn)),
    totalBytes: count(totalBytes),
    hereBytes: count(hereBytes),
    bytes: Buffer.from(text(bytes), 'base64'),
  }
}

function parseRest(row: unknown): SegmentTimes['rest'] {
  const [remainingBytes, bytes] = listOf(row)
  return { remainingBytes: count(remainingBytes), bytes: Buffer.from(text(bytes), 'base64') }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isSpan(value: unknown): value is Span | undefined {
  return value === undefined || (Array.isArray(value) && value.length === 2 && value.every(isCount))
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError('not a list')
  return value
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('not a text')
  return value
}

function count(value: unknown): number {
  if (!isCount(value)) throw new TypeError('not a number')
  return value
}
