import { existsSync, readdirSync } from 'node:fs'
import type { WalSegment } from '../../../format/wal-segment.ts'
import { bytes, pathOf, type ByteString } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { fromPlainError, messageOf } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import type { Executor } from '../../../worker/executor.ts'
import type { jobHandlers } from '../../jobs.ts'
import { describeFailure } from '../repository-failures.ts'
import { removeIfExists, type SpoolPaths } from '../spool/spool-files.ts'
import { Notifier, watchDirectory } from '../spool/notifier.ts'
import { FETCHING, type FetchSegmentJob, type FetchSegmentResult } from './fetch-copy.ts'
import type { SegmentIndex } from './segment-index.ts'
import { moveOnRequest, readRequest, type SegmentRequest } from './get-requests.ts'
import { inWindow, isLow, moved, windowAfter, type ReplayPosition } from './window.ts'
import { repoId } from '../../../util/repo-id.ts'

export interface ReadAheadRequest {
  readonly stanza: string
  /** This process has its lock, and its queue is empty. */
  readonly spool: SpoolPaths
  /** Where the server expects segments: `RECOVERYXLOG` of the data directory, byte string. */
  readonly target: ByteString
  readonly systemId: bigint
  readonly segmentSize: number
  /** archive-get-queue-max, bytes; at least two segments are fetched ahead. */
  readonly queueMaxBytes: number
  readonly index: Pick<SegmentIndex, 'copiesOf' | 'forget'>
  readonly executor: Executor<typeof jobHandlers>
  /** Why this process should end (no server, another configuration), or undefined. Called every second. */
  readonly endReason: () => string | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

export interface ReadAheadReport {
  /** Why it ended. */
  readonly reason: string
  readonly segments: number
  readonly bytes: number
}

/** Files of pgts in the spool that this process observes; the others belong to archive-push. */
const CONCERNED = new Set(['get-request', 'get.lock', 'get.pid', 'cluster'])
/** Interval of checks without a notification: file systems of other hosts may report no changes. */
const LOOK_MS = 1000
/**
 * While more than half of the window is ready, several taken segments are handled by one check, so that this process does
 * not take CPU time from the calls.
 */
const GATHER_MS = 50
/** The process ends if no segment was requested for this time. */
const IDLE_MS = 10 * 60_000
/** Minimum time between two listings at the end of the archive. */
const MISSING_PAUSE_MS = 1000
/** Pause after a segment could not be fetched. The call for this segment fetches it itself. */
const FAILURE_PAUSE_MS = 30_000
/** Pause after the spool could not be written (a full disk). */
const SPOOL_PAUSE_MS = 5000

/**
 * Keep the segments that replay will request next in the spool, until there is a reason to end. Calls move segments out
 * of the spool; other segments are reported by a request (get-requests.ts). Both move the window of segments that should
 * be ready. This process never reports that a segment does not exist: a call that finds none searches the repositories.
 */
export async function readAhead(request: ReadAheadRequest): Promise<ReadAheadReport> {
  return new ReadAhead(request).run()
}

class ReadAhead {
  readonly #request: ReadAheadRequest
  readonly #notifier = new Notifier()
  /** Aborted when there is a reason to end, because a fetch can hang. */
  readonly #stop = new AbortController()
  /** Complete in the spool, fetched by this process. */
  readonly #ready = new Set<WalSegment>()
  readonly #fetching = new Set<WalSegment>()
  /** Ready at the last check, and taken since. */
  readonly #taken = new Set<WalSegment>()
  #gathering: NodeJS.Timeout | undefined
  /** Until when a segment is not retried. */
  readonly #failed = new Map<WalSegment, number>()
  #position: ReplayPosition | undefined
  #lastRequest: SegmentRequest | undefined
  /** The segment that was not in the archive. */
  #missing: { readonly segment: WalSegment; readonly lookedMs: number } | undefined
  /** When replay last took or requested a segment. */
  #movedMs: number
  #spoolPausedUntilMs = Number.NEGATIVE_INFINITY
  #spoolFailed = false
  #reason: string | undefined
  readonly #fetched = { segments: 0, bytes: 0 }

  constructor(request: ReadAheadRequest) {
    this.#request = request
    this.#movedMs = request.clock.nowMs()
  }

  async run(): Promise<ReadAheadReport> {
    const { spool, target, signal, log } = this.#request
    const watchers = [
      // Writing to a segment that is being fetched is not reported: only names that come or go.
      watchDirectory(spool.in, (event, name) => event === 'rename' && this.#nameChanged(name)),
      watchDirectory(spool.own, (_, name) => (name === null || CONCERNED.has(name)) && this.#look()),
    ]
    using _movers = moveOnRequest({
      spool,
      target,
      // A file with this name is complete, also if the worker has not reported it yet.
      isOurs: (segment) => this.#ready.has(segment) || this.#fetching.has(segment),
      log,
    })
    const timer = setInterval(() => this.#look(), LOOK_MS)
    try {
      this.#look()
      while (this.#reason === undefined) await this.#fetchUntilError()
      signal.throwIfAborted()
      return { reason: this.#reason, ...this.#fetched }
    } finally {
      clearInterval(timer)
      for (const watcher of watchers) watcher?.close()
      clearTimeout(this.#gathering)
      for (const segment of this.#ready) this.#remove(segment)
    }
  }

  async #fetchUntilError(): Promise<void> {
    const { executor, signal, log, clock } = this.#request
    const options = { signal: AbortSignal.any([signal, this.#stop.signal]) }
    try {
      for await (const { job, result } of executor.run('fetch-segment', this.#jobs(options.signal), options)) {
        this.#record(job.segment, result)
      }
    } catch (error) {
      signal.throwIfAborted()
      if (this.#reason !== undefined) return
      // A worker died: remove its partial files, and continue with another worker.
      log.warn(`cannot fetch ahead (will be retried): ${messageOf(error)}`)
      for (const segment of this.#fetching) {
        this.#fetching.delete(segment)
        removeIfExists(bytes`${this.#request.spool.in}/${segment}${FETCHING}`)
        this.#remove(segment)
      }
      await clock.sleep(LOOK_MS, signal)
    }
  }

  async *#jobs(signal: AbortSignal): AsyncGenerator<FetchSegmentJob> {
    while (this.#reason === undefined) {
      const seen = this.#notifier.count
      const job = await this.#nextJob(signal)
      if (job !== undefined) yield job
      else await this.#notifier.wait(seen)
    }
  }

  /** The next segment to fetch; undefined when there is nothing to do until the next notification. */
  async #nextJob(signal: AbortSignal): Promise<FetchSegmentJob | undefined> {
    const { stanza, spool, systemId, segmentSize, queueMaxBytes, index, clock } = this.#request
    const position = this.#position
    const nowMs = clock.nowMs()
    if (position === undefined || position.back || nowMs < this.#spoolPausedUntilMs) return undefined
    for (const segment of windowAfter(position.segment, segmentSize, queueMaxBytes)) {
      if (this.#ready.has(segment) || this.#fetching.has(segment)) continue
      if (nowMs < (this.#failed.get(segment) ?? Number.NEGATIVE_INFINITY)) continue
      if (this.#missing?.segment === segment && !this.#isWorthLooking(nowMs)) return undefined
      const lookedMs = clock.nowMs()
      const copies = await index.copiesOf(segment, lookedMs - MISSING_PAUSE_MS, signal)
      // The position of replay may have changed since.
      if (this.#position !== position && !this.#isWanted(segment)) return this.#nextJob(signal)
      if (copies.length === 0) {
        this.#missing = { segment, lookedMs }
        return undefined
      }
      if (new Set(copies.map(({ checksum }) => checksum)).size > 1) {
        // Copies differ: the call in the foreground reports them.
        this.#failed.set(segment, nowMs + FAILURE_PAUSE_MS)
        continue
      }
      this.#fetching.add(segment)
      return { stanza, segment, directory: spool.in, copies, systemId }
    }
    return undefined
  }

  /** List again if replay has moved since the last listing. */
  #isWorthLooking(nowMs: number): boolean {
    const { lookedMs } = this.#missing!
    return this.#movedMs >= lookedMs && nowMs - lookedMs >= MISSING_PAUSE_MS
  }

  #isWanted(segment: WalSegment): boolean {
    const { segmentSize, queueMaxBytes } = this.#request
    if (this.#position === undefined) return false
    return inWindow(segment, this.#position.segment, segmentSize, queueMaxBytes)
  }

  #record(segment: WalSegment, result: FetchSegmentResult): void {
    const { log, index, clock } = this.#request
    this.#fetching.delete(segment)
    for (const { repoKey, error } of result.failures) {
      log.warn({ repo: repoKey, file: segment }, describeFailure(repoKey, fromPlainError(error)))
      // The copy may have been expired: the listing is stale.
      index.forget()
    }
    if (result.fetched !== undefined) {
      const { repoKey, sizeBytes } = result.fetched
      this.#ready.add(segment)
      this.#failed.delete(segment)
      this.#fetched.segments++
      this.#fetched.bytes += sizeBytes
      this.#spoolFailed = false
      log.detail({ file: segment, repo: repoKey }, `fetched ${segment} ahead from ${repoId(repoKey)}`)
      // Replay may have moved backwards during the fetch.
      if (!this.#isWanted(segment)) this.#remove(segment)
    } else if (result.spool !== undefined) {
      this.#spoolPausedUntilMs = clock.nowMs() + SPOOL_PAUSE_MS
      // Logged once per outage; calls in the foreground fetch for themselves.
      if (!this.#spoolFailed) log.warn(`cannot fetch ahead: ${result.spool.message}`)
      this.#spoolFailed = true
    } else {
      this.#failed.set(segment, clock.nowMs() + FAILURE_PAUSE_MS)
    }
    this.#look()
  }

  /** A name was created or removed. Fetched segments are reported by their job; a missing segment was taken. */
  #nameChanged(name: string | null): void {
    const { spool, segmentSize, queueMaxBytes } = this.#request
    if (name === null) return this.#look()
    const segment = segmentOf(name)
    if (this.#fetching.has(segment)) return
    if (segment !== name || !this.#ready.has(segment)) return this.#lookSoon()
    if (!existsSync(pathOf(bytes`${spool.in}/${segment}`))) this.#taken.add(segment)
    if (isLow(this.#ready.size - this.#taken.size, segmentSize, queueMaxBytes)) this.#look()
    else this.#lookSoon()
  }

  #lookSoon(): void {
    this.#gathering ??= setTimeout(() => this.#look(), GATHER_MS)
  }

  /** Check what replay took or requested, and whether there is a reason to end. Synchronous: one consistent state. */
  #look(): void {
    if (this.#reason !== undefined) return
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    this.#taken.clear()
    try {
      this.#reason = this.#endReason() ?? this.#follow()
    } catch (error) {
      this.#reason = `the spool cannot be read: ${messageOf(error)}`
    }
    if (this.#reason !== undefined) this.#stop.abort()
    this.#notifier.notify()
  }

  #endReason(): string | undefined {
    const { signal, endReason, clock } = this.#request
    if (signal.aborted) return 'a signal'
    if (clock.nowMs() - this.#movedMs > IDLE_MS) return 'no segment was requested'
    return endReason()
  }

  /** @returns a reason to end */
  #follow(): string | undefined {
    const { spool, clock } = this.#request
    const present = new Set(readdirSync(pathOf(spool.in), { encoding: 'latin1' }))
    for (const name of present) {
      const segment = segmentOf(name)
      if (!this.#ready.has(segment) && !this.#fetching.has(segment))
        return `${name} was put into the spool by another program`
    }
    const taken = [...this.#ready].filter((segment) => !present.has(segment))
    for (const segment of taken) this.#ready.delete(segment)
    // Taken segments have freed space.
    if (taken.length > 0) this.#spoolPausedUntilMs = Number.NEGATIVE_INFINITY
    const request = readRequest(spool)
    const requested = request?.call === this.#lastRequest?.call ? undefined : request?.segment
    this.#lastRequest = request
    if (requested === undefined && taken.length === 0) return undefined
    this.#movedMs = clock.nowMs()
    this.#position = moved(this.#position, requested, taken)
    // Replay is behind these segments, or will not reach them.
    for (const segment of this.#ready) if (!this.#isWanted(segment)) this.#remove(segment)
    for (const segment of this.#failed.keys()) if (!this.#isWanted(segment)) this.#failed.delete(segment)
    return undefined
  }

  #remove(segment: WalSegment): void {
    this.#ready.delete(segment)
    removeIfExists(bytes`${this.#request.spool.in}/${segment}`)
  }
}

/** The segment of a file in the queue, complete or not; the file of another program may have any name. */
function segmentOf(name: string): WalSegment {
  return (name.endsWith(FETCHING) ? name.slice(0, -FETCHING.length) : name) as WalSegment
}
