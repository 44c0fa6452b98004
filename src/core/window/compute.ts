import { segmentIndex, segmentOfLsn, timelineOf, type Lsn, type WalSegment } from '../../format/wal-segment.ts'
import type { Span } from '../../format/wal-times.ts'

/** Archived segments without a gap between them, on one timeline. */
export interface WalPiece {
  readonly first: WalSegment
  readonly last: WalSegment
  /** The earliest and the latest commit, microseconds since 1970; absent: none, or the segments were not scanned. */
  readonly times?: Span
  /** False: their commits are not known, or not all of them. */
  readonly scanned: boolean
}

/** The WAL of one timeline that recovery reads: to the segment in which the next timeline begins, or without end. */
export interface WindowPart {
  readonly timeline: number
  readonly endLsn?: Lsn
}

export interface WindowBackup {
  readonly timeline: number
  readonly lsnStart: Lsn
  readonly lsnStop: Lsn
  /** Seconds since 1970. */
  readonly timestampStop: number
  /** It contains its own WAL. */
  readonly archiveCopy: boolean
}

/** The points in time that a restore can reach. Times are microseconds since 1970. */
export interface TimeWindow {
  /** The first second after the end of the oldest usable backup. */
  readonly from: number
  /**
   * The last commit that is archived: a restore to a time stops before the first later commit, so this time itself
   * cannot be reached. Absent: there is no commit after the backups, which can only be restored as they are.
   */
  readonly to?: number
  readonly gaps: readonly WindowGap[]
  /** Number of archived segments whose commits are not known. */
  readonly unscanned: number
}

/** Times that cannot be reached: from the last commit before missing segments to the end of the next backup. */
export interface WindowGap {
  readonly from: number
  /** Absent: no later backup, and no known commit after it. */
  readonly to?: number
  /** The first missing segments; absent: no segment is missing, but recovery cannot begin (WAL was expired). */
  readonly first?: WalSegment
  readonly last?: WalSegment
  readonly missing: number
}

export interface WindowFacts {
  readonly segmentSize: number
  /** From the oldest timeline to the one that recovery ends on. */
  readonly parts: readonly WindowPart[]
  readonly pieces: readonly WalPiece[]
  readonly backups: readonly WindowBackup[]
}

/** Segments by number: log position divided by the segment size. */
interface Stretch {
  readonly from: number
  readonly to: number
  readonly times?: Span
  readonly scanned: boolean
}

interface Run {
  readonly from: number
  to: number
  readonly stretches: Stretch[]
}

/** undefined: no backup can be restored on these timelines. */
export function timeWindow(facts: WindowFacts): TimeWindow | undefined {
  const runs = runsOf(facts)
  const reached = facts.backups
    .flatMap((backup) => reachOf(backup, facts, runs))
    .sort((a, b) => a.from - b.from || a.run.to - b.run.to)
  const first = reached[0]
  if (first === undefined) return undefined
  const gaps: WindowGap[] = []
  let current = first
  let end = first.to
  for (const next of reached.slice(1)) {
    if (next.run.to > current.run.to && next.from > (end ?? current.from)) {
      gaps.push({ from: end ?? current.from, to: next.from, ...missingBetween(current.run, next.run, facts) })
    }
    if (next.to !== undefined && next.to > (end ?? 0)) end = next.to
    if (next.run.to >= current.run.to) current = next
  }
  const later = runs.filter(({ from }) => from > current.run.to)
  const next = later[0]
  if (next !== undefined) {
    const times = later.flatMap(({ stretches }) =>
      stretches.flatMap(({ times }) => (times === undefined ? [] : [times[1]])),
    )
    gaps.push({
      from: end ?? current.from,
      ...(times.length === 0 ? {} : { to: Math.max(...times) }),
      ...missingBetween(current.run, next, facts),
    })
  }
  return {
    from: first.from,
    ...(end === undefined ? {} : { to: end }),
    gaps,
    unscanned: unscannedIn(runs, reached[0]!.run.from),
  }
}

function unscannedIn(runs: readonly Run[], from: number): number {
  const stretches = runs.filter((run) => run.to >= from).flatMap((run) => run.stretches)
  return stretches.reduce((sum, one) => sum + (one.scanned ? 0 : one.to - one.from + 1), 0)
}

interface Reached {
  readonly from: number
  readonly to?: number
  readonly run: Run
}

/** What a backup can be recovered to; nothing if WAL that it needs is missing. */
function reachOf(backup: WindowBackup, facts: WindowFacts, runs: readonly Run[]): Reached[] {
  const part = facts.parts.find(({ timeline }) => timeline === backup.timeline)
  if (part === undefined || (part.endLsn !== undefined && backup.lsnStop > part.endLsn)) return []
  const [start, stop] = [backup.lsnStart, backup.lsnStop - 1n].map((lsn) => Number(lsn / BigInt(facts.segmentSize)))
  const from = (backup.timestampStop + 1) * 1_000_000
  const run = runs.find((one) => one.from <= stop! && one.to >= stop!)
  if (backup.archiveCopy ? run === undefined : run === undefined || run.from > start!) {
    return backup.archiveCopy ? [{ from, run: { from: start!, to: stop!, stretches: [] } }] : []
  }
  const latest = run!.stretches
    .filter(({ to, times }) => to >= stop! && times !== undefined)
    .reduce((most, { times }) => Math.max(most, times![1]), 0)
  return [{ from, run: run!, ...(latest > from ? { to: latest } : {}) }]
}

function missingBetween(before: Run, after: Run, { segmentSize, parts }: WindowFacts) {
  const [first, last] = [before.to + 1, after.from - 1]
  if (last < first) return { missing: 0 }
  const name = (number: number) => segmentName(number, segmentSize, parts)
  return { first: name(first), last: name(last), missing: last - first + 1 }
}

export function segmentName(number: number, segmentSize: number, parts: readonly WindowPart[]): WalSegment {
  const size = BigInt(segmentSize)
  const part = parts.find(({ endLsn }) => endLsn === undefined || BigInt(number) < endLsn / size) ?? parts.at(-1)!
  return segmentOfLsn(BigInt(number) * size, part.timeline, segmentSize)
}

/** Neighbouring pieces on the path of the timelines. After a switch the segment of the new timeline contains all. */
export function runsOf({ segmentSize, parts, pieces }: WindowFacts): Run[] {
  const size = BigInt(segmentSize)
  const bounds = new Map<number, { readonly from: number; readonly to: number }>()
  let from = 0
  for (const { timeline, endLsn } of parts) {
    const end = endLsn === undefined ? Infinity : Number(endLsn / size)
    bounds.set(timeline, { from, to: end - 1 })
    from = end
  }
  const stretches: Stretch[] = []
  for (const { first, last, times, scanned } of pieces) {
    const bound = bounds.get(timelineOf(first))
    if (bound === undefined) continue
    const number = (segment: WalSegment) => segmentIndex(segment, segmentSize)
    const one = { from: Math.max(number(first), bound.from), to: Math.min(number(last), bound.to) }
    if (one.from <= one.to) stretches.push({ ...one, scanned, ...(times === undefined ? {} : { times }) })
  }
  stretches.sort((a, b) => a.from - b.from)
  const runs: Run[] = []
  for (const stretch of stretches) {
    const run = runs.at(-1)
    if (run !== undefined && stretch.from <= run.to + 1) {
      run.stretches.push(stretch)
      run.to = Math.max(run.to, stretch.to)
    } else runs.push({ from: stretch.from, to: stretch.to, stretches: [stretch] })
  }
  return runs
}
