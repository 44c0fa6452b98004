import type { Lsn, WalSegment } from '../../format/wal-segment.ts'
import { runsOf, segmentName, type WindowFacts } from './compute.ts'
import { isAfter } from './stop-target.ts'

/**
 * Whether recovery from one backup reaches a time, by recorded commit times.
 *  - `reached`: it stops in `segment`, or before
 *  - `beyond`: every commit that it reaches is known, and none is later; `last` is the latest one, microseconds since 1970
 *  - `unknown`: not every commit is known
 */
export type TimeReach =
  | { readonly kind: 'reached'; readonly segment: WalSegment }
  | { readonly kind: 'beyond'; readonly last?: number; readonly exclusive: boolean }
  | { readonly kind: 'unknown' }

/** @param target microseconds since 1970; exclusive: recovery stops before a commit of the same time */
export function timeReach(
  facts: WindowFacts,
  { lsnStart, lsnStop }: { readonly lsnStart: Lsn; readonly lsnStop: Lsn },
  target: { readonly micros: number; readonly exclusive: boolean },
): TimeReach {
  const size = BigInt(facts.segmentSize)
  const [start, stop] = [lsnStart / size, (lsnStop - 1n) / size].map(Number) as [number, number]
  const run = runsOf(facts).find(({ from, to }) => from <= stop && to >= stop)
  if (run === undefined) return { kind: 'unknown' }
  const later = run.stretches.filter(({ to }) => to >= start)
  const reached = later.find(({ times }) => times !== undefined && isAfter(times[1], target))
  if (reached !== undefined) {
    return { kind: 'reached', segment: segmentName(reached.to, facts.segmentSize, facts.parts) }
  }
  if (later.some(({ scanned }) => !scanned)) return { kind: 'unknown' }
  const times = later.flatMap(({ times }) => (times === undefined ? [] : [times[1]]))
  const { exclusive } = target
  return { kind: 'beyond', exclusive, ...(times.length === 0 ? {} : { last: Math.max(...times) }) }
}
