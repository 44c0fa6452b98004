import { archiveIdPath } from '../../format/repo-path.ts'
import {
  lsnOfSegment,
  parseArchivedSegment,
  segmentOfLsn,
  timelineOf,
  MAX_SEGMENT_SIZE,
  MIN_SEGMENT_SIZE,
  type Lsn,
  type WalSegment,
} from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { inParallel } from '../../util/parallel.ts'
import { WalPath, type TimelinePart } from './wal-path.ts'

export interface ReachRequest {
  readonly stanza: string
  /** `15-1` */
  readonly archiveId: string
  /** Bytes. */
  readonly segmentSize: number
  /** The timelines of the recovery, beginning with that of the backup. */
  readonly timelines: readonly TimelinePart[]
  readonly startLsn: Lsn
  /** True for segments that the backup contains itself, so that they need not be archived. */
  readonly carried: (segment: WalSegment) => boolean
  /**
   * Called for each present segment; true ends the search. `storedMs`: the latest time at which a segment so far was
   * stored, 0: unknown.
   */
  readonly isEnough: (endLsn: Lsn, storedMs: number) => boolean
  /** The times of storing are needed: on a local disk each costs one stat. */
  readonly wantsTimes: boolean
  readonly signal: AbortSignal
}

/**
 * How far recovery can get with the archived WAL.
 *  - `enough`: as far as requested
 *  - `end`: to the end of the archive; `missing` would be next
 *  - `gap`: to a segment that is missing while later ones exist
 *  - `unknown`: beyond the limit of the search
 */
export interface Reach {
  readonly kind: 'enough' | 'end' | 'gap' | 'unknown'
  readonly missing?: WalSegment
  /** The last present segment; absent: the first one is missing. */
  readonly last?: WalSegment
  /** Number of present segments up to `last`. */
  readonly segments: number
  /** The latest time at which a present segment was stored; 0: unknown. */
  readonly storedMs: number
}

/** Limit of the search: 16 TiB of WAL with segments of 1 GiB, 1 TiB with segments of 16 MiB. */
const MOST_DIRECTORIES = 256
/** Number of directories that are listed before the result is evaluated. */
const BATCH = 16

/** Lists only the directories between both ends, several in parallel on remote storage. */
export async function walReach(storage: StorageDriver, request: ReachRequest): Promise<Reach> {
  const path = archiveIdPath(request.stanza, request.archiveId)
  const directories = await walDirectories(storage, path, request)
  const walk = new Walk(request, directories)
  for (let at = 0; at < MOST_DIRECTORIES; at += BATCH) {
    await inParallel(directories.slice(at, at + BATCH), storage.parallel ?? 1, async (directory) => {
      walk.listed(directory, await segmentsIn(storage, `${path}/${directory}`, request))
    })
    const reach = walk.advance()
    if (reach !== undefined) return reach
  }
  return { kind: 'unknown', segments: walk.segments, storedMs: 0 }
}

/** Directories that can contain WAL of the recovery, in the order of reading. */
async function walDirectories(
  storage: StorageDriver,
  path: string,
  { timelines, startLsn, signal }: ReachRequest,
): Promise<string[]> {
  const found: string[] = []
  for await (const { name, kind } of storage.list(path, { namesOnly: true, signal })) {
    if (kind === 'path') found.push(name.slice(path.length + 1))
  }
  found.sort()
  let from = startLsn
  return timelines.flatMap(({ timeline, endLsn }) => {
    const [first, last] = [from >> 32n, endLsn === undefined ? 1n << 32n : endLsn >> 32n]
    from = endLsn ?? from
    return found.filter((directory) => {
      if (!/^[0-9A-F]{16}$/.test(directory) || timelineOf(directory) !== timeline) return false
      const log = BigInt(`0x${directory.slice(8)}`)
      return log >= first && log <= last
    })
  })
}

/** Time at which each segment was stored, ms since the epoch. Partial segments are ignored, as by recovery. */
async function segmentsIn(
  storage: StorageDriver,
  directory: string,
  { wantsTimes, signal }: ReachRequest,
): Promise<ReadonlyMap<string, number>> {
  const segments = new Map<string, number>()
  for await (const { name, mtimeMs } of storage.list(directory, { namesOnly: !wantsTimes, signal })) {
    const archived = parseArchivedSegment(name.slice(directory.length + 1))
    if (archived !== undefined && !archived.partial) segments.set(archived.segment, wantsTimes ? mtimeMs : 0)
  }
  return segments
}

/** Follows recovery segment by segment through the listed directories. */
class Walk {
  readonly #request: ReachRequest
  /** Segments of the directories listed so far, with their times. */
  readonly #segments = new Map<string, number>()
  readonly #unlisted: Set<string>
  readonly #path: WalPath
  #last: WalSegment | undefined
  #storedMs = 0
  segments = 0

  constructor(request: ReachRequest, directories: readonly string[]) {
    this.#request = request
    this.#unlisted = new Set(directories)
    this.#path = new WalPath(request.timelines, request.startLsn, request.segmentSize)
  }

  listed(directory: string, segments: ReadonlyMap<string, number>): void {
    this.#unlisted.delete(directory)
    for (const [segment, storedMs] of segments) this.#segments.set(segment, storedMs)
  }

  /** @returns undefined if the next directory has not been listed yet */
  advance(): Reach | undefined {
    const { carried, isEnough } = this.#request
    for (;;) {
      const { segment } = this.#path
      const storedMs = this.#segments.get(segment)
      if (storedMs === undefined && !carried(segment)) {
        return this.#unlisted.has(segment.slice(0, 16)) ? undefined : this.#withoutNext(segment)
      }
      this.#last = segment
      this.segments++
      this.#storedMs = Math.max(this.#storedMs, storedMs ?? 0)
      this.#path.advance()
      if (isEnough(this.#path.lsn, this.#storedMs)) return { kind: 'enough', last: segment, ...this.#counts }
    }
  }

  #withoutNext(missing: WalSegment): Reach {
    const isLater = this.#unlisted.size > 0 || [...this.#segments.keys()].some((segment) => this.#isLater(segment))
    const last = this.#last === undefined ? {} : { last: this.#last }
    return { kind: isLater ? 'gap' : 'end', missing, ...last, ...this.#counts }
  }

  get #counts() {
    return { segments: this.segments, storedMs: this.#storedMs }
  }

  /** True if recovery would read it after the missing one. */
  #isLater(segment: string): boolean {
    const { timelines, segmentSize } = this.#request
    const part = timelines.findIndex(({ timeline }) => timeline === timelineOf(segment))
    const lsn = lsnOfSegment(segment as WalSegment, segmentSize)
    const { endLsn } = timelines[part] ?? {}
    return part >= this.#path.part && lsn > this.#path.lsn && (endLsn === undefined || lsn < endLsn)
  }
}

/** A segment, and an LSN in it. */
export interface WalPosition {
  readonly segment: string
  readonly lsn: Lsn
}

/** The only segment size for which each LSN is in its segment, bytes; undefined if several sizes match, or none. */
export function segmentSizeFrom(positions: readonly WalPosition[]): number | undefined {
  const sizes: number[] = []
  for (let size = MIN_SEGMENT_SIZE; size <= MAX_SEGMENT_SIZE; size *= 2) {
    const fits = ({ segment, lsn }: WalPosition) => segmentOfLsn(lsn, timelineOf(segment), size) === segment
    if (positions.every(fits)) sizes.push(size)
  }
  return sizes.length === 1 ? sizes[0] : undefined
}
