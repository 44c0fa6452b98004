import { MessageChannel, SHARE_ENV, Worker, type MessagePort } from 'node:worker_threads'
import { PgtsError, toPlainError } from '../util/error.ts'
import { isLoadFailure, loadFailure } from '../util/load-module.ts'
import { LOG_LEVELS, type Logger, type MessageLevel } from '../util/log.ts'
import { countStuckThread } from '../util/stuck.ts'
import { buildId } from '../util/version.ts'
import type { Answer, FromWorker, JobMessage, RunFlags, ToWorker, WorkerStart } from './protocol.ts'
import { NO_RETRY, type JobRetry } from './retry.ts'
import type { JobTaker, Run } from './run.ts'

/**
 * What the main thread serves to each worker: a service gets one end of a port, the worker the other under the same
 * number. It ends with the worker.
 */
export type Services = ReadonlyMap<number, (port: MessagePort) => AsyncDisposable>

export interface HeldJob {
  readonly run: Run
  readonly id: number
  readonly job: unknown
  readonly weight: number
}

export interface ThreadEvents {
  onAnswer(held: HeldJob, answer: Answer): void
  /** Called after the answers of one message: there may be room for more jobs. */
  onFree(): void
  /** The thread has ended; `held` are the jobs without an answer. */
  onDeath(held: readonly HeldJob[], error: PgtsError): void
}

export interface ThreadStart extends ThreadEvents {
  readonly worker: number
  readonly entry: URL
  readonly setup: unknown
  readonly log: Logger
  readonly flags: RunFlags
  readonly retry?: JobRetry
  readonly attach?: Services
  /** Number of jobs that it runs concurrently. */
  readonly lanes: number
}

/** JavaScript memory of one worker. File data lives in buffers outside of it, of which a worker has few. */
const HEAP_MB = 256
/** Small, because most objects of a job are garbage at once, and every worker uses this much. */
const YOUNG_MB = 4

/** How long to wait for a terminated thread. */
const STUCK_MS = 2000

/** Number of tiny jobs in one message; long jobs are sent one at a time. */
const MOST_AHEAD = 16
const TINY_MS = 1

/** One worker thread, seen from the main thread. */
export class WorkerThread implements JobTaker {
  readonly worker: number
  /** Number of jobs that it may hold now. */
  window: number
  /** Number of jobs that it runs concurrently. */
  readonly lanes: number
  readonly #start: ThreadStart
  readonly #worker: Worker
  readonly #held = new Map<number, HeldJob>()
  readonly #exited: Promise<void>
  readonly #attached: readonly AsyncDisposable[]
  #outbox: JobMessage[] = []
  #cause: unknown
  #closing = false
  /** It has sent a message, so its program was loaded. */
  #started = false
  #gone = false
  #patience: NodeJS.Timeout | undefined
  #resolveExited: () => void = () => undefined

  constructor(start: ThreadStart) {
    this.worker = start.worker
    this.#start = start
    this.lanes = start.lanes
    this.window = start.lanes
    const levels = LOG_LEVELS.filter((level): level is MessageLevel => level !== 'off' && start.log.enabled(level))
    const { worker, setup, flags, retry = NO_RETRY } = start
    const ports = new Map<number, MessagePort>()
    this.#attached = [...(start.attach ?? [])].map(([number, serve]) => {
      const { port1, port2 } = new MessageChannel()
      ports.set(number, port2)
      return serve(port1)
    })
    const workerData: WorkerStart = { worker, build: buildId, setup, levels, flags: flags.buffer, retry, ports }
    this.#worker = new Worker(start.entry, {
      workerData,
      transferList: [...ports.values()],
      env: SHARE_ENV,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB, maxYoungGenerationSizeMb: YOUNG_MB },
    })
    this.#worker.on('message', (message: FromWorker) => this.#receive(message))
    this.#worker.on('messageerror', (error) => this.#die(error))
    this.#worker.on('error', (error) => (this.#cause = error))
    this.#exited = new Promise((resolve) => (this.#resolveExited = resolve))
    this.#worker.on('exit', (code) => this.#onExit(code))
  }

  get held(): number {
    return this.#held.size
  }

  /** Sum of the weights of its jobs. */
  get load(): number {
    let load = 0
    for (const { weight } of this.#held.values()) load += weight
    return load
  }

  /** @param singly see RunOptions */
  hasRoom(singly: boolean): boolean {
    return this.held < (singly ? this.lanes : this.window)
  }

  holds(run: Run): boolean {
    for (const held of this.#held.values()) if (held.run === run) return true
    return false
  }

  take(run: Run, id: number, kind: string, job: unknown, weight: number): void {
    this.#held.set(id, { run, id, job, weight })
    this.#outbox.push({ id, run: run.id, kind, job })
  }

  flush(): void {
    const jobs = this.#outbox
    if (jobs.length === 0) return
    this.#outbox = []
    try {
      this.#send({ type: 'jobs', jobs })
    } catch (error) {
      // A job that cannot be copied to the other thread: none of this message arrived.
      for (const { id } of jobs) {
        const held = this.#held.get(id)
        this.#held.delete(id)
        if (held !== undefined) this.#start.onAnswer(held, { id, error: toPlainError(error) })
      }
    }
  }

  /** Open the environment before the first job. */
  open(): void {
    this.#send({ type: 'open' })
  }

  abort(run: Run): void {
    if (this.holds(run)) this.#send({ type: 'abort', run: run.id })
  }

  /** Let the worker close its environment; terminate it after a timeout. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true
    this.#send({ type: 'close' })
    const timer = setTimeout(() => this.end(), graceMs)
    await this.#exited
    clearTimeout(timer)
    for (const attached of this.#attached) await attached[Symbol.asyncDispose]()
  }

  /** A thread that is blocked in a system call cannot be terminated; it is treated as ended. */
  end(): void {
    void this.#worker.terminate()
    this.#patience ??= setTimeout(() => {
      if (this.#gone) return
      countStuckThread()
      this.#cause = new Error('it is blocked in a system call')
      this.#worker.unref()
      this.#onExit(1)
    }, STUCK_MS)
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  #receive(message: FromWorker): void {
    this.#started = true
    if (message.type === 'log') {
      this.#start.log[message.level](message.fields, message.message)
      return
    }
    const { answers, busyMs } = message
    const each = busyMs / answers.length
    const { lanes } = this
    if (each > TINY_MS) this.window = lanes
    else if (answers.length >= this.window) this.window = Math.min(Math.max(MOST_AHEAD, lanes), this.window * 2)
    for (const answer of answers) {
      const held = this.#held.get(answer.id)
      this.#held.delete(answer.id)
      if (held !== undefined) this.#start.onAnswer(held, answer)
    }
    this.#start.onFree()
  }

  #die(error: unknown): void {
    this.#cause = error
    this.end()
  }

  #onExit(code: number): void {
    if (this.#gone) return
    this.#gone = true
    clearTimeout(this.#patience)
    this.#resolveExited()
    for (const attached of this.#attached) void attached[Symbol.asyncDispose]()
    const held = [...this.#held.values()]
    this.#held.clear()
    if (this.#closing && held.length === 0) return
    this.#start.onDeath(held, deathOf(this.worker, code, this.#cause, this.#started))
  }
}

function deathOf(worker: number, code: number, cause: unknown, started: boolean): PgtsError {
  if (!started && isLoadFailure(cause)) return loadFailure(cause)
  // A complete script ends only after `close`, so an end with code 0 before its first message means a truncated script.
  if (!started && cause === undefined && code === 0) return loadFailure(new Error('it is truncated'), 'worker.cjs')
  if ((cause as NodeJS.ErrnoException | undefined)?.code === 'ERR_WORKER_OUT_OF_MEMORY') {
    return new PgtsError('memory', `worker ${worker} ran out of memory (limit ${HEAP_MB} MB) and ended`, {
      hints: ['this is a bug: a worker needs the same memory whatever the size of a file; please report it'],
      cause,
    })
  }
  const why = cause instanceof Error ? `: ${cause.message}` : ` with exit code ${code}`
  return new PgtsError('assert', `worker ${worker} ended in the middle of its work${why}`, { cause })
}
