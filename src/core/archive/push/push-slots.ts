import { statSync } from 'node:fs'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { PgtsError, toPlainError } from '../../../util/error.ts'
import type { Executor } from '../../../worker/executor.ts'
import type { jobHandlers } from '../../jobs.ts'
import type { Assignment } from './push-effect.ts'
import { type PushJob, type PushJobResult, WaitingOn } from './push-job.ts'

export interface PushSlotsRequest {
  /** Directory of the WAL, absolute byte string. */
  readonly walPath: ByteString
  /** What is the same for every file. */
  readonly job: Omit<PushJob, 'path' | 'repoKeys' | 'waitingOn' | 'nowMs'>
  readonly executor: Executor<typeof jobHandlers>
  /** A push hangs if it takes longer than this plus the time for its size at the slowest rate. */
  readonly timeoutMs: number
  readonly clock: Clock
  readonly signal: AbortSignal
}

export interface PushSlotsEvents {
  /** The next file for a worker. */
  next(): Assignment | undefined
  /** A worker has it. */
  started(assignment: Assignment): void
  /**
   * Called once for each started file; when it hangs, before the job of the worker has ended.
   *
   * @param result undefined: it was cancelled, because the process ends
   */
  ended(assignment: Assignment, result: PushJobResult | undefined): void
}

/** A worker has one file, and the next one is pending; a worker with several lanes works on both. */
const SLOTS_PER_WORKER = 2
const SLOWEST_BYTES_PER_MS = (256 * 1024) / 1000

/**
 * Runs the pushes. A slot waits for a worker and gets its file when the worker is free, not before: no file waits for a
 * worker while no deadline runs, and no file is delayed because it was bound to a worker that hangs.
 */
export class PushSlots {
  readonly #request: PushSlotsRequest
  readonly #events: PushSlotsEvents
  /** Slots that have a file or wait for a worker. */
  #used = 0

  constructor(request: PushSlotsRequest, events: PushSlotsEvents) {
    this.#request = request
    this.#events = events
  }

  /** Use a slot for each file, up to the limit. A free worker has its file when this returns. */
  fill(): void {
    const most = SLOTS_PER_WORKER * this.#request.executor.workers
    while (this.#used < most && this.#events.next() !== undefined) void this.#run()
  }

  /** Never rejects. May last longer than the push of its file: until the worker has returned the job. */
  async #run(): Promise<void> {
    const { executor, signal } = this.#request
    const hangs = new AbortController()
    let assignment: Assignment | undefined
    let timer: NodeJS.Timeout | undefined
    this.#used++
    const end = (result: PushJobResult | undefined) => {
      const ended = assignment
      assignment = undefined
      clearTimeout(timer)
      if (ended === undefined) return
      this.#used--
      this.#events.ended(ended, result)
    }
    const start = (): PushJob | undefined => {
      assignment = this.#events.next()
      if (assignment === undefined) {
        this.#used--
        return undefined
      }
      this.#events.started(assignment)
      const { file, repoKeys } = assignment
      const job = this.#jobFor(assignment)
      const bytes = statSync(pathOf(job.path), { throwIfNoEntry: false })?.size ?? 0
      const limitMs = this.#request.timeoutMs + bytes / SLOWEST_BYTES_PER_MS
      // The thread may be stuck in a system call, so the hang is reported without it.
      timer = setTimeout(() => {
        end(hangResult(file.name, new WaitingOn(repoKeys, job.waitingOn).keys(), limitMs))
        hangs.abort(new PgtsError('archive-timeout', `pushing WAL file '${bytesToText(file.name)}' took too long`))
      }, limitMs)
      return job
    }
    let drawn = false
    function* jobs(): Generator<PushJob> {
      drawn = true
      const job = start()
      if (job !== undefined) yield job
    }
    try {
      const either = AbortSignal.any([signal, hangs.signal])
      for await (const { result } of executor.run('archive-push', jobs(), { signal: either, singly: true })) end(result)
      end(undefined)
    } catch (error) {
      end(signal.aborted ? undefined : { ...NOTHING, refused: toPlainError(error) })
    } finally {
      if (!drawn) this.#used--
    }
  }

  #jobFor({ file, repoKeys }: Assignment): PushJob {
    const { walPath, job, clock } = this.#request
    return {
      ...job,
      path: bytes`${walPath}/${file.name}`,
      repoKeys,
      waitingOn: WaitingOn.bufferFor(repoKeys),
      nowMs: clock.nowMs(),
    }
  }
}

const NOTHING = { stored: [], failures: [], sizeBytes: 0, warnings: [] }

/**
 * The result of a push that has not ended at its deadline.
 *
 * @param stuck the repositories that did not answer; none: the file was not read
 */
export function hangResult(file: ByteString, stuck: readonly number[], limitMs: number): PushJobResult {
  const seconds = Math.round(limitMs / 100) / 10
  const name = bytesToText(file)
  const timeout = (message: string, hint: string) =>
    toPlainError(new PgtsError('archive-timeout', message, { hints: [hint] }))
  if (stuck.length === 0) {
    const message = `cannot read WAL file '${name}' within ${seconds} seconds`
    return { ...NOTHING, refused: timeout(message, 'check the load of this host and the disk of pg_wal') }
  }
  const message = `the repository did not answer within ${seconds} seconds while WAL file '${name}' was being stored`
  const error = timeout(message, 'check the network and the file system of the repository')
  return { ...NOTHING, failures: stuck.map((repoKey) => ({ repoKey, error })) }
}
