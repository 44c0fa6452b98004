import type { Completed, Executor, JobHandlers, JobOf, ResultOf, RunOptions, Work } from './executor.ts'

/** Time of a job without content, as bytes that are read, hashed and compressed in that time: 0.2 ms. */
const FILE_BYTES = 64 * 1024
/** What one thread processes in about the time that a worker takes to start. */
const SMALL_BYTES = 8 * 1024 * 1024

/**
 * How many workers this work is worth: 0 if it is done sooner than a worker has started.
 *
 * @param smallBytes what is processed in about the time that a worker takes to start
 */
export function workersFor(
  { bytes, files = 0, largestBytes = 0 }: Work,
  most: number,
  smallBytes = SMALL_BYTES,
): number {
  const shares = (bytes + files * FILE_BYTES) / smallBytes
  if (shares <= 1) return 0
  // The others have what the worker with the largest job does not process.
  const others = Math.floor(shares - largestBytes / smallBytes)
  return Math.min(most, Math.ceil(shares), 1 + others)
}

/** Runs small work on this thread, for which no worker is started, and everything else on `threads`. */
export function sizedExecutor<H extends JobHandlers>(
  threads: Executor<H>,
  openInline: () => Promise<Executor<H>>,
): Executor<H> {
  return new SizedExecutor(threads, openInline)
}

class SizedExecutor<H extends JobHandlers> implements Executor<H> {
  readonly workers: number
  readonly #threads: Executor<H>
  readonly #openInline: () => Promise<Executor<H>>
  #inline: Promise<Executor<H>> | undefined
  #isSmall = false

  constructor(threads: Executor<H>, openInline: () => Promise<Executor<H>>) {
    this.workers = threads.workers
    this.#threads = threads
    this.#openInline = openInline
  }

  warm(workers: number): void {
    this.#threads.warm(workers)
  }

  expect(work: Work): void {
    this.#isSmall = workersFor(work, this.workers) === 0
    if (!this.#isSmall) this.#threads.expect(work)
  }

  async *run<K extends keyof H & string>(
    kind: K,
    jobs: Iterable<JobOf<H[K]>> | AsyncIterable<JobOf<H[K]>>,
    options: RunOptions<JobOf<H[K]>>,
  ): AsyncGenerator<Completed<JobOf<H[K]>, ResultOf<H[K]>>> {
    const executor = this.#isSmall ? await (this.#inline ??= this.#openInline()) : this.#threads
    yield* executor.run(kind, jobs, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads[Symbol.asyncDispose]()
    // If it could not be opened, the run has reported that.
    await (await this.#inline?.catch(() => undefined))?.[Symbol.asyncDispose]()
  }
}
