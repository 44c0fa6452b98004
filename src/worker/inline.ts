import { setImmediate } from 'node:timers/promises'
import { PgtsError } from '../util/error.ts'
import { markHandled } from '../util/mark-handled.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import { NO_RETRY, withRetries, type JobRetry } from './retry.ts'
import type { Completed, Executor, JobHandlers, JobOf, ResultOf } from './executor.ts'

/** Time between yields to the event loop, for signals and timers. */
const TURN_MS = 10

/** What the handlers of this thread need; as for a worker, `lanes` are environments of concurrent jobs. */
export interface InlineEnvironment extends AsyncDisposable {
  readonly lanes?: readonly unknown[]
}

export interface InlineOptions {
  readonly retry?: JobRetry
  readonly log?: Logger
  /** For log lines: the number of what has run a job; default: 1. @param lane environment of the job */
  readonly workerOf?: (job: unknown, lane: unknown) => number
}

/** Runs jobs on this thread: one after the other, or one in each lane; for tests and for few or small jobs. */
export function inlineExecutor<H extends JobHandlers, E extends InlineEnvironment>(
  handlers: H,
  openEnv: () => Promise<E>,
  { retry = NO_RETRY, log = silentLogger, workerOf = () => 1 }: InlineOptions = {},
): Executor<H> {
  let opened: Promise<E> | undefined
  let lanes: Lanes | undefined
  let closed = false
  return {
    workers: 1,
    warm: () => undefined,
    expect: () => undefined,
    async *run<K extends keyof H & string>(
      kind: K,
      jobs: Iterable<JobOf<H[K]>> | AsyncIterable<JobOf<H[K]>>,
      { signal }: { signal: AbortSignal },
    ): AsyncGenerator<Completed<JobOf<H[K]>, ResultOf<H[K]>>> {
      const handler = handlers[kind]
      const perform = async (job: JobOf<H[K]>, lane: unknown): Promise<Completed<JobOf<H[K]>, ResultOf<H[K]>>> => {
        signal.throwIfAborted()
        if (handler === undefined) throw new PgtsError('assert', `no handler is known for jobs of kind ${kind}`)
        const place = { retry, kind, log, signal, isDropped: () => closed }
        const result = (await withRetries(() => handler(job, lane, signal), place)) as ResultOf<H[K]>
        return { job, result, worker: workerOf(job, lane) }
      }
      const lanesOf = async () => {
        if (closed) throw new PgtsError('assert', 'the executor was closed while jobs were left')
        signal.throwIfAborted()
        const env = await (opened ??= openEnv())
        return (lanes ??= new Lanes(env.lanes ?? [env]))
      }
      signal.throwIfAborted()
      try {
        yield* inLanes(jobs, lanesOf, perform)
      } catch (error) {
        // An interrupted job can fail with any error; the abort reason is the actual one.
        signal.throwIfAborted()
        throw error
      }
      signal.throwIfAborted()
    },
    async [Symbol.asyncDispose]() {
      closed = true
      const env = opened
      opened = undefined
      // If opening failed, the run has reported it and there is nothing to close.
      await (await env?.catch(() => undefined))?.[Symbol.asyncDispose]()
    },
  }
}

/** The lanes of all runs: one job at a time uses a lane, because a lane has one buffer. */
class Lanes {
  readonly count: number
  readonly #idle: unknown[]
  readonly #waiting: ((lane: unknown) => void)[] = []

  constructor(lanes: readonly unknown[]) {
    this.count = lanes.length
    this.#idle = [...lanes].reverse()
  }

  async use<D>(work: (lane: unknown) => Promise<D>): Promise<D> {
    const lane =
      this.#idle.length > 0 ? this.#idle.pop() : await new Promise<unknown>((resolve) => this.#waiting.push(resolve))
    try {
      return await work(lane)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#idle.push(lane)
      else next(lane)
    }
  }
}

/**
 * Draws a job when this run has fewer than one in each lane. The first failure is thrown after the jobs in progress have ended.
 *
 * @param lanesOf called before each job; throws if no more may begin
 */
async function* inLanes<J, D>(
  jobs: Iterable<J> | AsyncIterable<J>,
  lanesOf: () => Promise<Lanes>,
  perform: (job: J, lane: unknown) => Promise<D>,
): AsyncGenerator<D> {
  const running = new Map<number, Promise<{ readonly id: number; readonly done: D }>>()
  let lastId = 0
  const finished = async (): Promise<D> => {
    const { id, done } = await Promise.race(running.values())
    running.delete(id)
    return done
  }
  let turn = performance.now()
  try {
    for await (const job of jobs) {
      const lanes = await lanesOf()
      const id = ++lastId
      const begun = lanes.use((lane) => perform(job, lane)).then((done) => ({ id, done }))
      markHandled(begun)
      running.set(id, begun)
      if (running.size < lanes.count) continue
      yield await finished()
      if (performance.now() - turn > TURN_MS) {
        await setImmediate()
        turn = performance.now()
      }
    }
    while (running.size > 0) yield await finished()
  } finally {
    await Promise.allSettled(running.values())
  }
}
