import type { Completed } from './executor.ts'
import { markHandled } from '../util/mark-handled.ts'

/** A thread, as a run uses it. */
export interface JobTaker {
  take(run: Run, id: number, kind: string, job: unknown, weight: number): void
  /** Send the jobs taken since the last call as one message. */
  flush(): void
}

/** The threads that a run uses. */
export interface ThreadSource {
  /** True if a thread can take a job now. Checked before a job is drawn. */
  hasRoom(): boolean
  /** The thread for a drawn job; it may have to be started. */
  pick(): JobTaker
}

/** Maximum of results that are not consumed yet; no job is drawn beyond it. */
const RESULTS_WAITING = 64

/** Unique over all runs, because a thread holds jobs of several. */
let lastJob = 0

/** One call of an executor's `run`: jobs are drawn while a thread is free, results wait here for the consumer. */
export class Run {
  readonly id: number
  readonly #kind: string
  readonly #iterator: Iterator<unknown> | AsyncIterator<unknown>
  readonly #threads: ThreadSource
  readonly #weightOf: (job: unknown) => number
  readonly #results: Completed<unknown, unknown>[] = []
  readonly #inHand = new Set<number>()
  readonly #whenEnded: (() => void)[] = []
  #wake: (() => void) | undefined
  #drawing = false
  /** No more jobs are drawn. `#iteratorDone`: because the iterator has ended. */
  #stopped = false
  #iteratorDone = false
  #failure: { readonly error: unknown } | undefined

  constructor(
    id: number,
    kind: string,
    jobs: Iterable<unknown> | AsyncIterable<unknown>,
    threads: ThreadSource,
    weightOf: (job: unknown) => number = () => 1,
  ) {
    this.id = id
    this.#kind = kind
    this.#iterator = Symbol.asyncIterator in jobs ? jobs[Symbol.asyncIterator]() : jobs[Symbol.iterator]()
    this.#threads = threads
    this.#weightOf = weightOf
  }

  /** The next result, undefined at the end; throws the first failure once no job is in progress. */
  async next(): Promise<Completed<unknown, unknown> | undefined> {
    for (;;) {
      this.draw()
      if (this.#failure === undefined) {
        const result = this.#results.shift()
        if (result !== undefined) return result
        if (this.#stopped && this.#inHand.size === 0) return undefined
      } else if (this.#inHand.size === 0) {
        throw this.#failure.error
      }
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** Draw jobs for free threads. An iterator that answers at once is drawn from at once. */
  draw(): void {
    if (this.#drawing) return
    const touched = new Set<JobTaker>()
    while (!this.#stopped && this.#results.length < RESULTS_WAITING && this.#threads.hasRoom()) {
      try {
        const drawn = this.#iterator.next()
        if (drawn instanceof Promise) {
          void this.#awaitDrawn(drawn)
          break
        }
        const thread = this.#hand(drawn as IteratorResult<unknown>)
        if (thread !== undefined) touched.add(thread)
      } catch (error) {
        this.#iteratorDone = true
        this.fail(error)
      }
    }
    for (const thread of touched) this.#flush(thread)
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#stopped = true
    this.#wakeUp()
  }

  /** A job has ended: with a result, or without one because it failed or was dropped. */
  finish(id: number, completed: Completed<unknown, unknown> | undefined): void {
    this.#inHand.delete(id)
    if (completed !== undefined) this.#results.push(completed)
    this.#wakeUp()
  }

  /** Stop drawing and close the iterator; resolves when no job is in progress. */
  async ended(): Promise<void> {
    this.#stopped = true
    if (!this.#iteratorDone) {
      this.#iteratorDone = true
      // An iterator that is in the middle of a step returns later; its result is ignored.
      markHandled(Promise.resolve(this.#iterator.return?.()))
    }
    if (this.#inHand.size > 0) await new Promise<void>((resolve) => this.#whenEnded.push(resolve))
  }

  async #awaitDrawn(drawn: Promise<IteratorResult<unknown>>): Promise<void> {
    this.#drawing = true
    try {
      const next = await drawn
      // The run may have ended while the iterator computed its next job.
      const thread = this.#stopped ? undefined : this.#hand(next)
      if (thread !== undefined) this.#flush(thread)
    } catch (error) {
      this.#iteratorDone = true
      this.fail(error)
    } finally {
      this.#drawing = false
      this.#wakeUp()
    }
  }

  #hand(drawn: IteratorResult<unknown>): JobTaker | undefined {
    if (drawn.done === true) {
      this.#stopped = true
      this.#iteratorDone = true
      // An answer to another run may have caused this draw.
      this.#wakeUp()
      return undefined
    }
    const thread = this.#threads.pick()
    const id = ++lastJob
    this.#inHand.add(id)
    thread.take(this, id, this.#kind, drawn.value, this.#weightOf(drawn.value))
    return thread
  }

  #flush(thread: JobTaker): void {
    try {
      thread.flush()
    } catch (error) {
      this.fail(error)
    }
  }

  #wakeUp(): void {
    if (this.#inHand.size === 0) for (const resolve of this.#whenEnded.splice(0)) resolve()
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
