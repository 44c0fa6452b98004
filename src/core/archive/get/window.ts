import { lsnOfSegment, nextWalSegment, timelineOf, type WalSegment } from '../../../format/wal-segment.ts'

/** Minimum for any queue size: while one segment is replayed, the next one is fetched. */
const LEAST = 2

/**
 * The segments that should be ready after `position` was returned, in the order of replay.
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

/** Is at most half of the window ready? Then taken segments are replaced at once. */
export function isLow(ready: number, segmentSize: number, queueMaxBytes: number): boolean {
  return 2 * ready <= windowLength(segmentSize, queueMaxBytes)
}

function windowLength(segmentSize: number, queueMaxBytes: number): number {
  return Math.max(LEAST, Math.floor(queueMaxBytes / segmentSize))
}

/** The position of replay that the background process knows. */
export interface ReplayPosition {
  readonly segment: WalSegment
  /** The last request was backwards: nothing is fetched ahead until a request forwards (pg_rewind reads backwards). */
  readonly back: boolean
}

/**
 * The position after a request. A request for another timeline moves it in any direction: PostgreSQL knows the history of
 * timelines. Segments that were taken from the queue after the request move the position, too.
 *
 * @param requested the segment that a call of archive-get returned since the last check
 * @param taken segments that were taken from the queue since the last check
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
