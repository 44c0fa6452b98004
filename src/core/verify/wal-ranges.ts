import { lsnOfSegment, nextWalSegment, segmentOfLsn, timelineOf, type WalSegment } from '../../format/wal-segment.ts'

export interface SegmentRange {
  readonly first: WalSegment
  readonly last: WalSegment
}

export interface WalGap {
  /** The present segments before and after the gap. */
  readonly after: WalSegment
  readonly before: WalSegment
  /** The missing segments. */
  readonly first: WalSegment
  readonly last: WalSegment
  readonly missing: number
}

/**
 * The segments of one archive id as ranges without gaps, which need little memory even for a million segments. Segments
 * are added in the order of their names; the segment size is known once one has been read.
 */
export class WalRanges {
  readonly #segmentSize: number
  readonly #ranges: { first: WalSegment; last: WalSegment }[] = []

  /** @param segmentSize bytes */
  constructor(segmentSize: number) {
    this.#segmentSize = segmentSize
  }

  add(segment: WalSegment): void {
    const current = this.#ranges.at(-1)
    if (current?.last === segment) return
    const follows =
      current !== undefined &&
      timelineOf(current.last) === timelineOf(segment) &&
      nextWalSegment(current.last, this.#segmentSize) === segment
    if (follows) current.last = segment
    else this.#ranges.push({ first: segment, last: segment })
  }

  /** Ordered by name. */
  get ranges(): readonly SegmentRange[] {
    return this.#ranges
  }

  /** The missing segments between neighbours on one timeline. */
  gaps(): WalGap[] {
    return this.#ranges.flatMap(({ first: before }, index) => {
      const after = this.#ranges[index - 1]?.last
      if (after === undefined || timelineOf(after) !== timelineOf(before)) return []
      const number = (segment: WalSegment) => lsnOfSegment(segment, this.#segmentSize) / BigInt(this.#segmentSize)
      const missing = Number(number(before) - number(after)) - 1
      const lastLsn = lsnOfSegment(before, this.#segmentSize) - 1n
      return [
        {
          after,
          before,
          first: nextWalSegment(after, this.#segmentSize),
          last: segmentOfLsn(lastLsn, timelineOf(before), this.#segmentSize),
          missing,
        },
      ]
    })
  }

  /** The last segment that can be reached from this one without a gap; undefined if this one is missing. */
  reach(segment: string): WalSegment | undefined {
    return this.#ranges.find(({ first, last }) => first <= segment && segment <= last)?.last
  }
}
