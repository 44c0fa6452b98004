import type { MessagePort } from 'node:worker_threads'
import type { PlainError } from '../util/error.ts'
import type { JobRetry } from './retry.ts'
import type { LogFields, MessageLevel } from '../util/log.ts'

/** What a worker thread is started with. */
export interface WorkerStart {
  /** Worker number from 1. */
  readonly worker: number
  /** For the function that opens the worker's environment; plain data. */
  readonly setup: unknown
  /** Levels that the main thread writes somewhere. */
  readonly levels: readonly MessageLevel[]
  /** See `RunFlags`; shared by all threads of the pool. */
  readonly flags: SharedArrayBuffer
  readonly retry: JobRetry
  /** To what the main thread has for it; see `ThreadOptions.attach`. */
  readonly port?: MessagePort
}

export interface JobMessage {
  readonly id: number
  readonly run: number
  readonly kind: string
  readonly job: unknown
}

export type ToWorker =
  /** Open what jobs will need, before there is one. */
  | { readonly type: 'open' }
  | { readonly type: 'jobs'; readonly jobs: readonly JobMessage[] }
  | { readonly type: 'abort'; readonly run: number }
  | { readonly type: 'close' }

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: PlainError }
  /** Never begun, because its run has ended. */
  | { readonly id: number; readonly dropped: true }

export type FromWorker =
  | { readonly type: 'answers'; readonly answers: readonly Answer[]; readonly busyMs: number }
  | { readonly type: 'log'; readonly level: MessageLevel; readonly fields: LogFields; readonly message: string }

/**
 * One word for each run, in memory that all threads share: a worker in the middle of a synchronous job reads no
 * messages, but it can look here.
 */
export class RunFlags {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array

  constructor(buffer = new SharedArrayBuffer(RUNS * 4)) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer)
  }

  /** Jobs of this run that have not begun are not wanted any more. */
  drop(run: number): void {
    // An abort stays one: a job that begins at this moment still has to hear of it.
    if (!this.isAborted(run)) Atomics.store(this.#words, run % RUNS, -run)
  }

  /** Nor are those that have. */
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

/** More runs than can be under way at once, so that two of them never share a word. */
const RUNS = 1024
