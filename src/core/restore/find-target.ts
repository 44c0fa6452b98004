import { timelineOf, type Lsn, type WalSegment } from '../../format/wal-segment.ts'
import type { SegmentTimes } from '../../format/wal-times.ts'
import type { Executor } from '../../worker/executor.ts'
import type { jobHandlers } from '../jobs.ts'
import type { ScanWalJob, ScanWalResult } from '../window/scan-job.ts'
import { joinedStop } from '../window/segment-scan.ts'
import { canContain, isAtTarget, type FoundStop, type StopTarget } from '../window/stop-target.ts'
import type { ArchivedWal } from './archived-wal.ts'
import { SearchedFacts, type SearchedWal } from './searched-wal.ts'
import { WalPath, type TimelinePart } from './wal-path.ts'

/** A backup from which the target could be recovered. */
export interface SearchedBackup {
  readonly lsnStart: Lsn
  readonly lsnStop: Lsn
  /** It contains its own WAL. */
  readonly archiveCopy: boolean
  /** The timelines of its recovery, beginning with its own. */
  readonly timelines: readonly TimelinePart[]
}

export interface FindRequest {
  readonly wal: ArchivedWal
  readonly stanza: string
  readonly target: StopTarget
  /** Bytes. */
  readonly segmentSize: number
  /** Major version of PostgreSQL. */
  readonly major: number
  readonly executor: Executor<typeof jobHandlers>
  readonly signal: AbortSignal
}

/** What the WAL from one backup on contains. */
export interface SearchResult {
  /** Records of the target, in the order of the WAL: recovery stops at the first. Of a restore point all, else one. */
  readonly found: readonly FoundStop[]
  /** The last commit or abort before the first of them, if it is in the same segment or in the one before. */
  readonly before?: FoundStop
  readonly searched: SearchedWal
  /** Where the search ended. */
  readonly endLsn: Lsn
}

/**
 * Searches the archived WAL for the record at which recovery stops. Segments whose recorded times exclude the target are not
 * read. A segment is read once, also for several backups.
 */
export class TargetSearch {
  readonly #request: FindRequest
  readonly #results = new Map<string, ScanWalResult>()

  constructor(request: FindRequest) {
    this.#request = request
  }

  /** Number of segments that were read. */
  get read(): number {
    return this.#results.size
  }

  /**
   * Searches from the start of a backup to the record, for a restore point to the end of the archive; never beyond missing
   * WAL.
   *
   * @throws errors of listing the archive
   */
  async from(backup: SearchedBackup): Promise<SearchResult> {
    const { executor, signal } = this.#request
    const walk = new SearchWalk(this.#request, backup, this.#results)
    for await (const { job, result } of executor.run('scan-wal', walk.jobs(), { signal })) walk.add(job, result)
    return walk.result()
  }
}

/** A segment on the path of a recovery. */
interface Step {
  readonly segment: WalSegment
  /** Of its result, if it is read. */
  readonly key: string
  /** Records of the target, as far as they are known without reading the segment; absent: it must be read. */
  readonly known?: readonly FoundStop[]
}

class SearchWalk {
  readonly #request: FindRequest
  readonly #backup: SearchedBackup
  readonly #results: Map<string, ScanWalResult>
  readonly #path: WalPath
  readonly #facts: SearchedFacts
  readonly #steps: Step[] = []
  readonly #indexes = new Map<string, number>()
  readonly #requested = new Set<string>()
  /** Nothing is searched beyond this step. */
  #end = Infinity

  constructor(request: FindRequest, backup: SearchedBackup, results: Map<string, ScanWalResult>) {
    this.#request = request
    this.#backup = backup
    this.#results = results
    this.#path = new WalPath(backup.timelines, backup.lsnStart, request.segmentSize)
    this.#facts = new SearchedFacts(this.#path.segment)
  }

  /** The segments that must be read, in order. */
  async *jobs(): AsyncGenerator<ScanWalJob> {
    let previous: ScanWalJob | undefined
    for (; this.#steps.length <= this.#end; this.#path.advance()) {
      const job = await this.#job()
      const isCarried = this.#backup.archiveCopy && this.#path.lsn < this.#backup.lsnStop
      if (job.copies.length === 0 && !isCarried) return this.#facts.endBefore(job.segment)
      const times = job.copies.length === 0 ? NOTHING : await this.#request.wal.timesOf(job.segment)
      const known = times === undefined ? undefined : this.#known(times, job.segment, previous)
      if (times !== undefined) this.#facts.add(times)
      this.#indexes.set(keyOf(job), this.#steps.length)
      this.#steps.push({ segment: job.segment, key: keyOf(job), ...(known === undefined ? {} : { known }) })
      // A record that ends in this segment begins in the previous one.
      if (known === undefined) for (const one of [previous, job]) if (one !== undefined) yield* this.#once(one)
      previous = job.copies.length === 0 ? undefined : job
    }
  }

  add(job: ScanWalJob, result: ScanWalResult): void {
    this.#results.set(keyOf(job), result)
    this.#note(job)
  }

  result(): SearchResult {
    const found: FoundStop[] = []
    let before: FoundStop | undefined
    const isAll = this.#request.target.kind === 'name'
    for (const [index, { segment, known }] of this.#steps.entries()) {
      if (found.length > 0 && !isAll) break
      if (known === undefined) this.#facts.addResult(segment, this.#resultAt(index), this.#crossing(index))
      const here = this.#foundAt(index)
      if (found.length === 0 && here.length > 0) before = this.#before(index, here[0]!)
      found.push(...here)
    }
    const last = this.#steps.at(-1)?.segment
    return {
      found: isAll ? found : found.slice(0, 1),
      ...(before === undefined ? {} : { before }),
      searched: this.#facts.searched(last),
      endLsn: this.#path.lsn,
    }
  }

  async #job(): Promise<ScanWalJob> {
    const { wal, stanza, target } = this.#request
    const { segment, lsn } = this.#path
    const { lsnStart } = this.#backup
    const fromLsn = lsnStart > lsn ? lsnStart : 0n
    return { stanza, segment, copies: await wal.copiesOf(segment), search: { target, fromLsn } }
  }

  /** @returns undefined if the segment must be read */
  #known(times: SegmentTimes, segment: WalSegment, previous: ScanWalJob | undefined): FoundStop[] | undefined {
    // A record that crosses a switch of the timeline is not in the recorded times.
    if (previous !== undefined && timelineOf(previous.segment) !== timelineOf(segment)) return undefined
    const { target } = this.#request
    if (target.kind !== 'name') return canContain(times, target) ? undefined : []
    return times.points
      .filter(({ name, lsn }) => name === target.name && lsn >= this.#backup.lsnStart)
      .map((point) => ({ kind: 'restore-point', ...point, segment }))
  }

  *#once(job: ScanWalJob): Generator<ScanWalJob> {
    const key = keyOf(job)
    if (this.#requested.has(key)) return
    this.#requested.add(key)
    if (this.#results.has(key)) this.#note(job)
    else yield job
  }

  /** Ends the search if recovery stops in this segment, or in the next one at a record that begins here. */
  #note(job: ScanWalJob): void {
    if (this.#request.target.kind === 'name') return
    const index = this.#indexes.get(keyOf(job))!
    for (const at of [index, index + 1]) if (this.#foundAt(at).length > 0) this.#end = Math.min(this.#end, at)
  }

  #resultAt(index: number): ScanWalResult | undefined {
    const step = this.#steps[index]
    return step === undefined ? undefined : this.#results.get(step.key)
  }

  #foundAt(index: number): readonly FoundStop[] {
    const step = this.#steps[index]
    if (step?.known !== undefined) return step.known
    const crossing = this.#crossing(index)
    const isFound = crossing !== undefined && isAtTarget(crossing, this.#request.target)
    return [...(isFound ? [crossing] : []), ...(this.#resultAt(index)?.found ?? [])]
  }

  /** The record that begins in the segment before, if recovery can stop at it. */
  #crossing(index: number): FoundStop | undefined {
    const [one, two] = [this.#resultAt(index - 1)?.scanned, this.#resultAt(index)?.scanned]
    if (one === undefined || two === undefined) return undefined
    const joined = joinedStop(one.times, two.times, this.#request.major)
    if (joined === undefined || joined.lsn < this.#backup.lsnStart) return undefined
    return { ...joined.stop, lsn: joined.lsn, segment: two.segment }
  }

  /** The commit or abort before `stop`. */
  #before(index: number, stop: FoundStop): FoundStop | undefined {
    const earlier = this.#resultAt(index - 1)?.lastEnd
    const crossing = this.#crossing(index)
    if (crossing === undefined || crossing.kind === 'restore-point') return this.#resultAt(index)?.lastEnd ?? earlier
    return crossing.lsn === stop.lsn ? earlier : (this.#resultAt(index)?.lastEnd ?? crossing)
  }
}

/** Of a segment that only the backup contains: recovery does not stop before the end of the backup. */
const NOTHING: SegmentTimes = { commits: 0, points: [] }

function keyOf({ segment, search }: ScanWalJob): string {
  return `${segment} ${search!.fromLsn}`
}
