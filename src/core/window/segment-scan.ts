import { isWalSegment, lsnOfSegment, type Lsn, type WalSegment } from '../../format/wal-segment.ts'
import type { RestorePoint, SegmentTimes, Span } from '../../format/wal-times.ts'
import { decodeStop, isStop, RECORD_HEADER_BYTES, type RecoveryStop } from '../../postgres/wal-record.ts'
import { WalScan, type TransactionEnds } from '../../postgres/wal-scan.ts'

/** The result of a scan: plain data. */
export interface ScannedSegment {
  readonly segment: WalSegment
  readonly segmentSize: number
  readonly times: SegmentTimes
}

/** Collects commit times, transactions and restore points of a segment from its bytes as they pass. It never throws. */
export class SegmentScan {
  readonly #segment: WalSegment
  readonly #scan: WalScan
  readonly #found = new FoundStops()

  /** @param onStop called for every commit, abort and restore point, in the order of the WAL */
  constructor(segment: WalSegment, onStop?: (stop: RecoveryStop, lsn: Lsn) => void) {
    this.#segment = segment
    this.#scan = new WalScan({
      startLsn: (size) => startOf(segment, size),
      onEnds: (ends) => this.#found.addEnds(ends),
      onStop: (stop, offset) => {
        this.#found.add(stop, () => this.#scan.lsnAt(offset))
        onStop?.(stop, this.#scan.lsnAt(offset))
      },
      singly: onStop !== undefined,
    })
  }

  push(chunk: Uint8Array): void {
    this.#scan.push(chunk)
  }

  /** undefined: not a segment of a known version. */
  result(): ScannedSegment | undefined {
    const { complete, head, rest, segmentSize } = this.#scan
    if (segmentSize === 0 || startOf(this.#segment, segmentSize) === undefined) return undefined
    const times: SegmentTimes = {
      ...this.#found.result(),
      ...(complete && this.#found.complete ? {} : { incomplete: true }),
      ...(head === undefined ? {} : { head }),
      ...(rest === undefined ? {} : { rest }),
    }
    return { segment: this.#segment, segmentSize, times }
  }
}

/** @param name of a WAL file; undefined for others than segments: recovery does not read partial ones */
export function scanOf(name: string): SegmentScan | undefined {
  return isWalSegment(name) ? new SegmentScan(name) : undefined
}

function startOf(segment: WalSegment, segmentSize: number): bigint | undefined {
  try {
    return lsnOfSegment(segment, segmentSize)
  } catch {
    return undefined
  }
}

class FoundStops {
  #commits = 0
  #earliest = Infinity
  #latest = -Infinity
  #xids: Span | undefined
  readonly #points: RestorePoint[] = []
  /** The transaction of a record is not known, so that `xids` is not complete. */
  #unknown = false

  /** False: there is something that is not understood. */
  get complete(): boolean {
    return !this.#unknown
  }

  add({ kind, time, xid, name }: RecoveryStop, lsn: () => bigint): void {
    if (kind === 'restore-point') {
      this.#points.push({ name: name!, time, lsn: lsn() })
      return
    }
    if (kind === 'commit') this.#commits++
    if (time < this.#earliest) this.#earliest = time
    if (time > this.#latest) this.#latest = time
    if (xid === undefined) this.#unknown = true
    else this.#xids = withXid(this.#xids, xid)
  }

  addEnds({ commits, earliest, latest, firstXid, lastXid }: TransactionEnds): void {
    this.#commits += commits
    if (earliest < this.#earliest) this.#earliest = earliest
    if (latest > this.#latest) this.#latest = latest
    this.#xids = withXid(withXid(this.#xids, firstXid), lastXid)
  }

  result(): Pick<SegmentTimes, 'commits' | 'times' | 'xids' | 'points'> {
    return {
      commits: this.#commits,
      ...(this.#latest < 0 ? {} : { times: [this.#earliest, this.#latest] }),
      ...(this.#xids === undefined ? {} : { xids: this.#xids }),
      points: this.#points,
    }
  }
}

/** Transaction ids are a circle of 32 bits: half of them are before, half after another one. */
export function withXid(span: Span | undefined, xid: number): Span {
  if (span === undefined) return [xid, xid]
  const [first, last] = span
  if (((xid - last) | 0) > 0) return [first, xid]
  return ((xid - first) | 0) < 0 ? [xid, last] : span
}

/** True if the transaction can have ended between both. */
export function isBetween(xid: number, [first, last]: Span): boolean {
  return ((xid - first) | 0) >= 0 && ((xid - last) | 0) <= 0
}

/**
 * Completes the record that begins in `previous` and ends in `next`: recovery can stop at it when `next` is present, so
 * it is counted there. Afterwards neither has a part of a record.
 *
 * @param major version of PostgreSQL
 */
export function joinSegments(
  previous: SegmentTimes,
  next: SegmentTimes,
  major: number,
): { readonly previous: SegmentTimes; readonly next: SegmentTimes } {
  const { head: _head, ...before } = previous
  const { rest: _rest, ...after } = next
  const joined = joinedStop(previous, next, major)
  return { previous: before, next: joined === undefined ? after : withStop(after, joined.stop, joined.lsn) }
}

/** The record that begins in `previous` and ends in `next`, if recovery can stop at it. */
export function joinedStop(
  { head }: SegmentTimes,
  { rest }: SegmentTimes,
  major: number,
): { readonly stop: RecoveryStop; readonly lsn: Lsn } | undefined {
  if (head === undefined || rest === undefined || head.hereBytes + rest.remainingBytes !== head.totalBytes)
    return undefined
  const begun = head.bytes.length < head.hereBytes ? head.bytes : Buffer.concat([head.bytes, rest.bytes])
  const isComplete = begun.length >= RECORD_HEADER_BYTES && isStop(begun[16]!, begun[17]!)
  const stop = isComplete ? decodeStop(begun, major) : undefined
  return stop === undefined ? undefined : { stop, lsn: head.lsn }
}

function withStop(times: SegmentTimes, { kind, time, xid, name }: RecoveryStop, lsn: Lsn): SegmentTimes {
  if (kind === 'restore-point') return { ...times, points: [{ name: name!, time, lsn }, ...times.points] }
  const [earliest, latest] = times.times ?? [time, time]
  return {
    ...times,
    commits: times.commits + (kind === 'commit' ? 1 : 0),
    times: [Math.min(earliest, time), Math.max(latest, time)],
    ...(xid === undefined ? { incomplete: true } : { xids: withXid(times.xids, xid) }),
  }
}
