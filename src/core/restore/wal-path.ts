import { segmentOfLsn, type Lsn, type WalSegment } from '../../format/wal-segment.ts'

/** The WAL of one timeline that a recovery reads: to the segment in which the next timeline begins, or without end. */
export interface TimelinePart {
  readonly timeline: number
  /** LSN at which recovery switches to the next timeline. */
  readonly endLsn?: Lsn
}

/**
 * The segments that a recovery reads, in order and without end. After a switch within a segment, the segment of the new
 * timeline contains the whole WAL of the segment.
 */
export class WalPath {
  readonly timelines: readonly TimelinePart[]
  readonly segmentSize: number
  /** Index of the present timeline. */
  part = 0
  /** Beginning of the present segment. */
  lsn: Lsn

  /** @param startLsn rounded down to the beginning of its segment */
  constructor(timelines: readonly TimelinePart[], startLsn: Lsn, segmentSize: number) {
    this.timelines = timelines
    this.segmentSize = segmentSize
    this.lsn = startLsn - (startLsn % BigInt(segmentSize))
    this.#switch()
  }

  get segment(): WalSegment {
    return segmentOfLsn(this.lsn, this.timelines[this.part]!.timeline, this.segmentSize)
  }

  advance(): void {
    this.lsn += BigInt(this.segmentSize)
    this.#switch()
  }

  #switch(): void {
    for (; this.part < this.timelines.length - 1; this.part++) {
      const { endLsn } = this.timelines[this.part]!
      if (endLsn === undefined || this.lsn < endLsn - (endLsn % BigInt(this.segmentSize))) break
    }
  }
}
