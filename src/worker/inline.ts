import { setImmediate } from 'node:timers/promises'
import { PgtsError } from '../util/error.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import { NO_RETRY, withRetries, type JobRetry } from './retry.ts'
import type { Completed, Executor, JobHandlers, JobOf, ResultOf } from './executor.ts'

/** Time between yields to the event loop, for signals and timers. */
const TURN_MS = 10

/** Runs jobs one after the other on this thread; for tests and for few or small jobs. */
export function inlineExecutor<H extends JobHandlers, E extends AsyncDisposable>(
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
      let turn = performance.now()
      signal.throwIfAborted()
      for await (const job of jobs) {
        if (closed) throw new PgtsError('assert', 'the executor was closed while jobs were left')
        signal.throwIfAborted()
        const handler = handlers[kind]
        if (handler === undefined) throw new PgtsError('assert', `no handler is known for jobs of kind ${kind}`)
        let result: ResultOf<H[K]>
        try {
          const env = await (opened ??= openEnv())
          const place = { retry, kind, log, signal, isDropped: () => closed }
          result = (await withRetries(() => handler(job, env, signal), place)) as ResultOf<H[K]>
        } catch (error) {
          // An interrupted job can fail with any error; the abort reason is the actual one.
          signal.throwIfAborted()
          throw error
        }
        yield { job, result, worker: 1 }
        if (performance.now() - turn > TURN_MS) {
          await setImmediate()
          turn = performance.now()
        }
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
