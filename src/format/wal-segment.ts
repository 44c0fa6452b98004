import { PgtsError } from '../util/error.ts'
import { COMPRESS_EXTENSIONS, type CompressType } from '../util/compress-type.ts'
import { formatLsn, parseLsn } from '../util/lsn.ts'

export { formatLsn, parseLsn }

/** 24 upper-case hex digits: timeline (8), log (8), segment within the log (8). */
export type WalSegment = string & { readonly __brand: 'WalSegment' }

/** A byte position in the WAL, 64 bits. */
export type Lsn = bigint

export const MIN_SEGMENT_SIZE = 1024 * 1024
export const MAX_SEGMENT_SIZE = 1024 * 1024 * 1024

const SEGMENT = /^[0-9A-F]{24}$/
const PARTIAL = /^[0-9A-F]{24}\.partial$/
const HISTORY = /^[0-9A-F]{8}\.history$/
const BACKUP_HISTORY = /^[0-9A-F]{24}\.[0-9A-F]{8}\.backup$/
const ARCHIVED = /^([0-9A-F]{24})(\.partial)?-([0-9a-f]{40})(\.gz|\.lz4|\.zst|\.xz|\.bz2)?$/

export function isWalSegment(name: string): name is WalSegment {
  return SEGMENT.test(name)
}

/** `<segment>.partial`: the unfinished last segment of a timeline, archived at promotion. */
export function isPartialSegment(name: string): boolean {
  return PARTIAL.test(name)
}

/** A segment or a partial one: stored with its SHA-1, its header checked, compressed. */
export function isSegmentOrPartial(name: string): boolean {
  return SEGMENT.test(name) || PARTIAL.test(name)
}

/** `00000002.history` */
export function isTimelineHistoryFile(name: string): boolean {
  return HISTORY.test(name)
}

/** `<segment>.<offset>.backup` */
export function isBackupHistoryFile(name: string): boolean {
  return BACKUP_HISTORY.test(name)
}

/** @throws PgtsError format */
export function parseWalSegment(name: string): WalSegment {
  if (!isWalSegment(name)) throw new PgtsError('format', `'${name}' is not the name of a WAL segment`)
  return name
}

/** Timeline of a segment, partial segment or timeline history file. */
export function timelineOf(name: string): number {
  return parseInt(name.slice(0, 8), 16)
}

/** Name of the history file of a timeline: 2 -> `00000002.history`. */
export function timelineHistoryFile(timeline: number): string {
  return `${hex8(BigInt(timeline))}.history`
}

/**
 * The segment that contains the byte at `lsn`.
 *
 * @param segmentSize bytes; a power of two from 1 MiB to 1 GiB, as recorded in pg_control
 * @see PostgreSQL, src/include/access/xlog_internal.h: XLogFileName
 */
export function segmentOfLsn(lsn: Lsn, timeline: number, segmentSize: number): WalSegment {
  requireSegmentSize(segmentSize)
  return segmentAt(timeline, lsn / BigInt(segmentSize), segmentSize)
}

/** LSN of the first byte of a segment. */
export function lsnOfSegment(segment: WalSegment, segmentSize: number): Lsn {
  return segmentNumber(segment, segmentSize) * BigInt(segmentSize)
}

/** Position of a segment in its timeline: consecutive segments have consecutive numbers. */
export function segmentIndex(segment: WalSegment, segmentSize: number): number {
  return parseInt(segment.slice(8, 16), 16) * (2 ** 32 / segmentSize) + parseInt(segment.slice(16), 16)
}

/** The segment that follows on the same timeline. */
export function nextWalSegment(segment: WalSegment, segmentSize: number): WalSegment {
  return segmentAt(timelineOf(segment), segmentNumber(segment, segmentSize) + 1n, segmentSize)
}

/**
 * All segments from the one with `first` to the one with `last`, both included, in order. An end before the start is an
 * error: it would silently select nothing.
 */
export function* segmentRange(first: Lsn, last: Lsn, timeline: number, segmentSize: number): Generator<WalSegment> {
  requireSegmentSize(segmentSize)
  const size = BigInt(segmentSize)
  if (last < first) throw new PgtsError('assert', `LSN ${formatLsn(last)} is before ${formatLsn(first)}`)
  for (let number = first / size; number <= last / size; number++) yield segmentAt(timeline, number, segmentSize)
}

/** All segments from `first` to `last`, both included; both must be on one timeline. */
export function* segmentsBetween(first: WalSegment, last: WalSegment, segmentSize: number): Generator<WalSegment> {
  if (timelineOf(first) !== timelineOf(last)) {
    throw new PgtsError('assert', `segments ${first} and ${last} are on different timelines`)
  }
  const end = segmentNumber(last, segmentSize)
  for (let number = segmentNumber(first, segmentSize); number <= end; number++) {
    yield segmentAt(timelineOf(first), number, segmentSize)
  }
}

/** An archived segment, parsed from its file name. */
export interface ArchivedSegment {
  readonly segment: WalSegment
  readonly partial: boolean
  /** SHA-1 of the plain content. */
  readonly checksum: string
  readonly compressType: CompressType
}

/** `<segment>[.partial]-<sha1>[.ext]`, or undefined for every other name (the reserved `.xz` included). */
export function parseArchivedSegment(fileName: string): ArchivedSegment | undefined {
  const parts = ARCHIVED.exec(fileName)
  if (parts === null) return undefined
  const compressType = EXTENSION_TYPES.get(parts[4] ?? '')
  if (compressType === undefined) return undefined
  return {
    segment: parts[1] as WalSegment,
    partial: parts[2] !== undefined,
    checksum: parts[3] as string,
    compressType,
  }
}

/** File name of `segment` (or `<segment>.partial`) in the archive. */
export function archivedSegmentName(segmentOrPartial: string, checksum: string, compressType: CompressType): string {
  return `${segmentOrPartial}-${checksum}${COMPRESS_EXTENSIONS[compressType]}`
}

/** One line of a timeline history: the WAL of `timeline` is used up to `switchLsn`. */
export interface TimelineSwitch {
  readonly timeline: number
  readonly switchLsn: Lsn
  readonly reason: string
}

/**
 * The content of a timeline history file: the ancestors, oldest first. Blank lines and `#` comments are skipped.
 *
 * @throws PgtsError format
 * @see PostgreSQL, src/backend/access/transam/timeline.c: readTimeLineHistory
 */
export function parseTimelineHistory(text: string): TimelineSwitch[] {
  const switches: TimelineSwitch[] = []
  for (const line of text.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue
    const parts = /^\s*([0-9]+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)(?:\s+(.*?))?\s*$/.exec(line)
    if (parts === null) throw new PgtsError('format', `'${line}' is not a line of a timeline history file`)
    const timeline = Number(parts[1])
    const previous = switches.at(-1)?.timeline ?? 0
    if (timeline <= previous)
      throw new PgtsError('format', `timeline ${timeline} does not come after timeline ${previous}`)
    switches.push({ timeline, switchLsn: parseLsn(parts[2] as string), reason: parts[3] ?? '' })
  }
  return switches
}

const EXTENSION_TYPES = new Map(
  (Object.entries(COMPRESS_EXTENSIONS) as [CompressType, string][]).map(([type, extension]) => [extension, type]),
)

function segmentAt(timeline: number, number: bigint, segmentSize: number): WalSegment {
  const perLog = segmentsPerLog(segmentSize)
  return (hex8(BigInt(timeline)) + hex8(number / perLog) + hex8(number % perLog)) as WalSegment
}

function segmentNumber(segment: WalSegment, segmentSize: number): bigint {
  requireSegmentSize(segmentSize)
  const within = BigInt(`0x${segment.slice(16)}`)
  if (within >= segmentsPerLog(segmentSize)) {
    throw new PgtsError('format', `WAL segment ${segment} does not exist with a segment size of ${segmentSize} bytes`)
  }
  return BigInt(`0x${segment.slice(8, 16)}`) * segmentsPerLog(segmentSize) + within
}

function segmentsPerLog(segmentSize: number): bigint {
  return 2n ** 32n / BigInt(segmentSize)
}

function requireSegmentSize(segmentSize: number): void {
  if (segmentSize < MIN_SEGMENT_SIZE || segmentSize > MAX_SEGMENT_SIZE || !Number.isInteger(Math.log2(segmentSize))) {
    throw new PgtsError('format', `WAL segment size ${segmentSize} is not a power of two from 1 MiB to 1 GiB`)
  }
}

function hex8(value: bigint): string {
  return value.toString(16).toUpperCase().padStart(8, '0')
}
