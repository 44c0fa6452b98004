import { lsnOfSegment, nextWalSegment, timelineOf, type WalSegment } from '../../../format/wal-segment.ts'

/** However small the queue: one segment in the hands of replay, the next one on its way. */
const LEAST = 2

/**
 * The segments that should lie ready once `position` has been handed over, in the order in which replay wants them.
 *
 * @param queueMaxBytes archive-get-queue-max
 */
export function* windowAfter(position: WalSegment, segmentSize: number, queueMaxBytes: number): Generator<WalSegment> {
  const count = windowLength(segmentSize, queueMaxBytes)
  let segment = position
  for (let index = 0; index < count; index++) {
    segment = nextWalSegment(segment, segmentSize)
    yield segment
  }
}

export function inWindow(
  segment: WalSegment,
  position: WalSegment,
  segmentSize: number,
  queueMaxBytes: number,
): boolean {
  if (!sameTimeline(segment, position) || segment <= position) return false
  const aheadBytes = lsnOfSegment(segment, segmentSize) - lsnOfSegment(position, segmentSize)
  return aheadBytes <= BigInt(windowLength(segmentSize, queueMaxBytes)) * BigInt(segmentSize)
}

/** Is so little ready that what was taken must be replaced at once? */
export function isLow(ready: number, segmentSize: number, queueMaxBytes: number): boolean {
  return 2 * ready <= windowLength(segmentSize, queueMaxBytes)
}

function windowLength(segmentSize: number, queueMaxBytes: number): number {
  return Math.max(LEAST, Math.floor(queueMaxBytes / segmentSize))
}

/** Where replay is, as far as the background process has seen. */
export interface ReplayPosition {
  readonly segment: WalSegment
  /** The last step led back: nothing is fetched ahead until one leads forward (pg_rewind reads backwards to its end). */
  readonly back: boolean
}

/**
 * What a new request says about the position. A request for another timeline is followed wherever it leads: PostgreSQL
 * knows its history. Segments that disappeared from the queue after the request count, too.
 *
 * @param requested the segment that a call of archive-get handed over since the last look
 * @param taken segments that were taken from the queue since the last look
 */
export function moved(
  before: ReplayPosition | undefined,
  requested: WalSegment | undefined,
  taken: readonly WalSegment[],
): ReplayPosition | undefined {
  let now = before
  if (requested !== undefined) {
    const back = before !== undefined && sameTimeline(requested, before.segment) && requested < before.segment
    now = { segment: requested, back }
  }
  for (const segment of taken) {
    if (now === undefined || (sameTimeline(segment, now.segment) && segment > now.segment))
      now = { segment, back: false }
  }
  return now
}

function sameTimeline(a: WalSegment, b: WalSegment): boolean {
  return timelineOf(a) === timelineOf(b)
}
