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

/** Runs jobs on this thread: one after the other, or one in each lane; for tests and for few or small jobs. */
export function inlineExecutor<H extends JobHandlers, E extends InlineEnvironment>(
  handlers: H,
  openEnv: () => Promise<E>,
  { retry = NO_RETRY, log = silentLogger }: { readonly retry?: JobRetry; readonly log?: Logger } = {},
): Executor<H> {
  let opened: Promise<E> | undefined
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
        if (handler === undefined) throw new PgtsError('assert', `no handler is known for jobs of kind ${kind}`)
        const place = { retry, kind, log, signal, isDropped: () => closed }
        const result = (await withRetries(() => handler(job, lane, signal), place)) as ResultOf<H[K]>
        return { job, result, worker: 1 }
      }
      const lanesOf = async () => {
        if (closed) throw new PgtsError('assert', 'the executor was closed while jobs were left')
        signal.throwIfAborted()
        const env = await (opened ??= openEnv())
        return env.lanes ?? [env]
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

/**
 * Draws a job when a lane is idle. The first failure is thrown after the jobs in progress have ended.
 *
 * @param lanesOf called before each job; throws if no more may begin
 */
async function* inLanes<J, D>(
  jobs: Iterable<J> | AsyncIterable<J>,
  lanesOf: () => Promise<readonly unknown[]>,
  perform: (job: J, lane: unknown) => Promise<D>,
): AsyncGenerator<D> {
  const running = new Map<unknown, Promise<{ readonly lane: unknown; readonly done: D }>>()
  const finished = async (): Promise<D> => {
    const { lane, done } = await Promise.race(running.values())
    running.delete(lane)
    return done
  }
  let turn = performance.now()
  try {
    for await (const job of jobs) {
      const lanes = await lanesOf()
      const lane = lanes.find((one) => !running.has(one))
      const begun = perform(job, lane).then((done) => ({ lane, done }))
      markHandled(begun)
      running.set(lane, begun)
      if (running.size < lanes.length) continue
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
