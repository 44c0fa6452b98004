import { systemClock } from '../util/clock.ts'
import { fromPlainError, PgtsError } from '../util/error.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import { limitOutages } from '../util/outage-log.ts'
import { isBuilt } from '../util/version.ts'
import type { Completed, Executor, JobHandlers, JobOf, ResultOf, RunOptions, Work } from './executor.ts'
import { RunFlags } from './protocol.ts'
import type { JobRetry } from './retry.ts'
import { Run, type ThreadSource } from './run.ts'
import { workersFor } from './sized.ts'
import { WorkerThread, type Services } from './thread.ts'

export interface ThreadOptions {
  /** Maximum number of threads; one is started when a job finds no idle one. */
  readonly workers: number
  /** Number of jobs that each thread runs concurrently, if jobs wait for a network; default 1. */
  readonly lanes?: number
  /** Description of the environment of each worker; plain data, see core/worker-env.ts. */
  readonly setup: unknown
  readonly attach?: Services
  /** Retries of failed jobs; absent: none. */
  readonly retry?: JobRetry
  /** Receives what workers log. */
  readonly log?: Logger
  /** How long an aborted or closed worker may take before it is terminated; default 10 s. */
  readonly tidyMs?: number
  /** The script of a worker; by default the built worker entry. */
  readonly entry?: URL
}

const TIDY_MS = 10_000

/** Runs jobs on worker threads. See docs/decisions/0005-worker-threads.md for what was measured. */
export function threadExecutor<H extends JobHandlers>(options: ThreadOptions): Executor<H> {
  return new ThreadExecutor<H>(options)
}

class ThreadExecutor<H extends JobHandlers> implements Executor<H> {
  readonly workers: number
  readonly #options: ThreadOptions
  readonly #flags = new RunFlags()
  readonly #threads: WorkerThread[] = []
  readonly #runs = new Set<Run>()
  readonly #tidyMs: number
  readonly #log: Logger
  #closed = false
  #closing: Promise<void> | undefined
  #lastRun = 0

  constructor(options: ThreadOptions) {
    this.workers = Math.max(1, options.workers)
    this.#options = options
    this.#log = limitOutages(options.log ?? silentLogger, systemClock)
    this.#tidyMs = options.tidyMs ?? TIDY_MS
  }

  warm(workers: number): void {
    while (!this.#closed && this.#threads.length < Math.min(workers, this.workers)) this.#start().open()
  }

  expect(work: Work): void {
    this.warm(workersFor(work, this.workers))
  }

  async *run<K extends keyof H & string>(
    kind: K,
    jobs: Iterable<JobOf<H[K]>> | AsyncIterable<JobOf<H[K]>>,
    { signal, singly = false, weightOf }: RunOptions<JobOf<H[K]>>,
  ): AsyncGenerator<Completed<JobOf<H[K]>, ResultOf<H[K]>>> {
    signal.throwIfAborted()
    if (this.#closed) throw new PgtsError('assert', 'the executor is closed')
    const source: ThreadSource = { hasRoom: () => this.#hasRoom(singly), pick: () => this.#pick(singly) }
    const run = new Run(++this.#lastRun, kind, jobs, source, weightOf as ((job: unknown) => number) | undefined)
    const onAbort = () => this.#abort(run, signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#runs.add(run)
    try {
      for (let next = await run.next(); next !== undefined; next = await run.next()) {
        yield next as Completed<JobOf<H[K]>, ResultOf<H[K]>>
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      // The consumer may have left early: wait for the jobs in progress.
      this.#flags.drop(run.id)
      await run.ended()
      this.#runs.delete(run)
    }
  }

  /** A second call waits for the same end. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    for (const run of this.#runs)
      this.#abort(run, new PgtsError('term', 'the workers were closed while jobs were left'))
    await Promise.all([...this.#runs].map((run) => run.ended()))
    await Promise.all(this.#threads.splice(0).map((thread) => thread.close(this.#tidyMs)))
  }

  #hasRoom(singly: boolean): boolean {
    if (this.#closed) return false
    if (this.#threads.length < this.workers) return true
    return this.#threads.some((thread) => thread.hasRoom(singly))
  }

  /** An idle thread, else a new one, else the least loaded one that has room. */
  #pick(singly: boolean): WorkerThread {
    const compare = (a: WorkerThread, b: WorkerThread) =>
      Number(b.hasRoom(singly)) - Number(a.hasRoom(singly)) || a.load - b.load || a.held - b.held
    const best = [...this.#threads].sort(compare)[0]
    if (best === undefined || (best.held > 0 && this.#threads.length < this.workers)) return this.#start()
    return best
  }

  #start(): WorkerThread {
    const taken = new Set(this.#threads.map((thread) => thread.worker))
    let worker = 1
    while (taken.has(worker)) worker++
    const thread: WorkerThread = new WorkerThread({
      worker,
      entry: this.#options.entry ?? workerEntry(),
      setup: this.#options.setup,
      log: this.#log,
      flags: this.#flags,
      retry: this.#options.retry,
      attach: this.#options.attach,
      lanes: this.#options.lanes ?? 1,
      onAnswer: (held, answer) => {
        if ('error' in answer) this.#fail(held.run, fromPlainError(answer.error))
        held.run.finish(held.id, 'result' in answer ? { job: held.job, result: answer.result, worker } : undefined)
      },
      onFree: () => {
        for (const run of this.#runs) run.draw()
      },
      onDeath: (held, error) => {
        this.#threads.splice(this.#threads.indexOf(thread), 1)
        for (const { run } of held) this.#fail(run, error)
        for (const { run, id } of held) run.finish(id, undefined)
        // Runs that waited for room may start another thread.
        for (const other of this.#runs) other.draw()
      },
    })
    this.#threads.push(thread)
    return thread
  }

  #fail(run: Run, error: unknown): void {
    this.#flags.drop(run.id)
    run.fail(error)
  }

  #abort(run: Run, reason: unknown): void {
    this.#flags.abort(run.id)
    run.fail(reason)
    for (const thread of this.#threads) thread.abort(run)
    const timer = setTimeout(() => {
      for (const thread of this.#threads) if (thread.holds(run)) thread.end()
    }, this.#tidyMs)
    void run.ended().then(() => clearTimeout(timer))
  }
}

/** Beside the bundle of the program; the sources use the one of the last build. */
function workerEntry(): URL {
  return new URL(isBuilt ? './worker.cjs' : '../../dist/cli/worker.cjs', import.meta.url)
}
