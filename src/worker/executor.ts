/**
 * A job handler: plain data in, plain data out. `E` is the environment that a worker opens once: repositories, cluster,
 * buffers.
 */
export type JobHandler<J, R, E> = (job: J, env: E, signal: AbortSignal) => Promise<R>
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the table's rows differ in job and result; JobOf and ResultOf bring the types back
export type JobHandlers = Record<string, JobHandler<any, any, any>>
export type JobOf<H> = H extends JobHandler<infer J, infer _R, infer _E> ? J : never
export type ResultOf<H> = H extends JobHandler<infer _J, infer R, infer _E> ? R : never

export interface Completed<J, R> {
  readonly job: J
  readonly result: R
  /** Worker number from 1, for log lines. */
  readonly worker: number
}

export interface RunOptions<J = unknown> {
  readonly signal: AbortSignal
  /** Give each worker one job at a time, also if jobs are short: for jobs that may hang. */
  readonly singly?: boolean
  /**
   * Weight of a job, in any unit: if workers may hold several jobs, the next one is given to the worker with the lowest
   * total. Absent: all jobs have the same weight.
   */
  readonly weightOf?: (job: J) => number
}

/** How much work is about to come. */
export interface Work {
  /** Content to be read, in bytes. */
  readonly bytes: number
  readonly files?: number
  /** Of the largest job, which one worker processes. */
  readonly largestBytes?: number
}

/**
 * Runs jobs here or on other threads. Results come as they finish, in any order; a job is drawn from `jobs` only when a
 * worker is free. If the executor was opened with retries, a failed job is repeated from its beginning, so a handler
 * can run twice. The first job that fails finally ends the run: its error is thrown after the jobs in progress have ended.
 * `H` is the type of the handler table in core/jobs.ts.
 */
export interface Executor<H extends JobHandlers> extends AsyncDisposable {
  readonly workers: number
  /** Start up to this many workers in advance. */
  warm(workers: number): void
  /** Announce the work of the next runs: workers that it is worth are started now. */
  expect(work: Work): void
  run<K extends keyof H & string>(
    kind: K,
    jobs: Iterable<JobOf<H[K]>> | AsyncIterable<JobOf<H[K]>>,
    options: RunOptions<JobOf<H[K]>>,
  ): AsyncIterable<Completed<JobOf<H[K]>, ResultOf<H[K]>>>
}
