import type { MessagePort } from 'node:worker_threads'
import type { PlainError } from '../util/error.ts'
import type { JobRetry } from './retry.ts'
import type { LogFields, MessageLevel } from '../util/log.ts'

/** Start data of a worker thread. */
export interface WorkerStart {
  /** Worker number from 1. */
  readonly worker: number
  /** The build of the main thread: the worker's file may have been replaced since it started. */
  readonly build: string | undefined
  /** For the function that opens the worker's environment; plain data. */
  readonly setup: unknown
  /** Levels that the main thread writes somewhere. */
  readonly levels: readonly MessageLevel[]
  /** See `RunFlags`; shared by all threads of the pool. */
  readonly flags: SharedArrayBuffer
  readonly retry: JobRetry
  /** Connect to services of the main thread; see `ThreadOptions.attach`. */
  readonly ports: ReadonlyMap<number, MessagePort>
}

export interface JobMessage {
  readonly id: number
  readonly run: number
  readonly kind: string
  readonly job: unknown
}

export type ToWorker =
  /** Open the environment before the first job. */
  | { readonly type: 'open' }
  | { readonly type: 'jobs'; readonly jobs: readonly JobMessage[] }
  | { readonly type: 'abort'; readonly run: number }
  | { readonly type: 'close' }

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: PlainError }
  /** Not started, because its run has ended. */
  | { readonly id: number; readonly dropped: true }

export type FromWorker =
  | { readonly type: 'answers'; readonly answers: readonly Answer[]; readonly busyMs: number }
  | { readonly type: 'log'; readonly level: MessageLevel; readonly fields: LogFields; readonly message: string }

/**
 * One word for each run in shared memory: a worker in a synchronous job reads no
 * messages, but it can read this.
 */
export class RunFlags {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array

  constructor(buffer = new SharedArrayBuffer(RUNS * 4)) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer)
  }

  /** Drop the jobs of this run that have not started. */
  drop(run: number): void {
    // An abort is not replaced: a job that starts at this moment still has to see it.
    if (!this.isAborted(run)) Atomics.store(this.#words, run % RUNS, -run)
  }

  /** Abort the jobs of this run, also those that have started. */
  abort(run: number): void {
    Atomics.store(this.#words, run % RUNS, run)
  }

  isAborted(run: number): boolean {
    return Atomics.load(this.#words, run % RUNS) === run
  }

  isDropped(run: number): boolean {
    const word = Atomics.load(this.#words, run % RUNS)
    return word === run || word === -run
  }
}

/** More than the possible number of concurrent runs, so that two of them never share a word. */
const RUNS = 1024
