import type { WalSegment } from '../../format/wal-segment.ts'
import type { RestorePoint, SegmentTimes, Span } from '../../format/wal-times.ts'
import type { PlainError } from '../../util/error.ts'
import type { ScanWalResult } from '../window/scan-job.ts'
import { withXid } from '../window/segment-scan.ts'
import type { FoundStop } from '../window/stop-target.ts'

/** The WAL that was searched, for messages. */
export interface SearchedWal {
  readonly first: WalSegment
  /** Absent: the first segment is missing. */
  readonly last?: WalSegment
  /** The segment that follows is in no repository; absent: the search ended before. */
  readonly missing?: WalSegment
  readonly points: readonly RestorePoint[]
  /** Of commits and aborts, microseconds since 1970. */
  readonly times?: Span
  readonly xids?: Span
  /** Segments that could not be read, or not completely. */
  readonly unreadable: readonly { readonly segment: WalSegment; readonly failure?: PlainError }[]
}

/** Restore points that are kept for messages. */
const MOST_POINTS = 1000

/** Collects what is in the segments of a search. */
export class SearchedFacts {
  readonly #first: WalSegment
  readonly #points: RestorePoint[] = []
  readonly #unreadable: { segment: WalSegment; failure?: PlainError }[] = []
  #times: Span | undefined
  #xids: Span | undefined
  #missing: WalSegment | undefined

  constructor(first: WalSegment) {
    this.#first = first
  }

  endBefore(missing: WalSegment): void {
    this.#missing = missing
  }

  add({ times, xids, points }: Pick<SegmentTimes, 'times' | 'xids' | 'points'>): void {
    for (const point of points) if (this.#points.length < MOST_POINTS) this.#points.push(point)
    if (times !== undefined) {
      const [earliest, latest] = this.#times ?? times
      this.#times = [Math.min(earliest, times[0]), Math.max(latest, times[1])]
    }
    for (const xid of xids ?? []) this.#xids = withXid(this.#xids, xid)
  }

  /** @param crossing the record that begins in the segment before */
  addResult(segment: WalSegment, result: ScanWalResult | undefined, crossing: FoundStop | undefined): void {
    const { scanned, failure } = result ?? {}
    if (scanned === undefined || scanned.times.incomplete === true)
      this.#unreadable.push({ segment, ...(failure === undefined ? {} : { failure }) })
    if (scanned !== undefined) this.add(scanned.times)
    if (crossing === undefined) return
    const { kind, time, xid, name, lsn } = crossing
    if (kind === 'restore-point') this.add({ points: [{ name: name!, time, lsn }] })
    else this.add({ points: [], times: [time, time], ...(xid === undefined ? {} : { xids: [xid, xid] }) })
  }

  searched(last: WalSegment | undefined): SearchedWal {
    return {
      first: this.#first,
      ...(last === undefined ? {} : { last }),
      ...(this.#missing === undefined ? {} : { missing: this.#missing }),
      points: this.#points,
      ...(this.#times === undefined ? {} : { times: this.#times }),
      ...(this.#xids === undefined ? {} : { xids: this.#xids }),
      unreadable: this.#unreadable,
    }
  }
}

/** What several searches have seen, newest backup first; undefined: there was none. */
export function mergedSearches(searches: readonly SearchedWal[]): SearchedWal | undefined {
  const newest = searches[0]
  const oldest = searches.at(-1)
  if (newest === undefined || oldest === undefined) return undefined
  const facts = new SearchedFacts(oldest.first)
  const seen = new Set<bigint>()
  for (const { points, ...spans } of searches) {
    facts.add({ ...spans, points: points.filter(({ lsn }) => !seen.has(lsn)) })
    for (const { lsn } of points) seen.add(lsn)
  }
  const unreadable = new Map(searches.flatMap((one) => one.unreadable).map((one) => [one.segment, one]))
  const { missing } = newest
  return {
    ...facts.searched(newest.last),
    ...(missing === undefined ? {} : { missing }),
    unreadable: [...unreadable.values()],
  }
}
