import type { CopiedFile, CopyFilesJob } from '../backup/copy-job.ts'
import type { ForwardedJobs, JobForwarder } from './forward-jobs.ts'

interface Route {
  readonly jobs: ForwardedJobs
  /** Content of the jobs that it has not answered, bytes. */
  loadBytes: number
}

/** Spreads the jobs of one thread over several connections: each has a process at the other end, which uses one core. */
export class SpreadJobs implements JobForwarder {
  readonly #routes: readonly Route[]
  readonly #inUse: () => number
  readonly #numbers = new WeakMap<CopyFilesJob, number>()

  /** @param inUse how many of the connections are worth the work; the first ones are used */
  constructor(connections: readonly ForwardedJobs[], inUse: () => number) {
    this.#routes = connections.map((jobs) => ({ jobs, loadBytes: 0 }))
    this.#inUse = inUse
  }

  prepare(repoKey: number): void {
    for (const { jobs } of this.#used()) jobs.prepare(repoKey)
  }

  /** The connection with the least unanswered content takes the job. */
  async backupFiles(job: CopyFilesJob, signal: AbortSignal): Promise<readonly CopiedFile[]> {
    const route = this.#used().reduce((best, one) => (one.loadBytes < best.loadBytes ? one : best))
    this.#numbers.set(job, this.#routes.indexOf(route) + 1)
    const bytes = job.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 1)
    route.loadBytes += bytes
    try {
      return await route.jobs.backupFiles(job, signal)
    } finally {
      route.loadBytes -= bytes
    }
  }

  /** Number of the connection that took a job, from 1. */
  numberOf(job: CopyFilesJob): number {
    return this.#numbers.get(job) ?? 1
  }

  #used(): readonly Route[] {
    return this.#routes.slice(0, Math.max(1, this.#inUse()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#routes.map(({ jobs }) => jobs[Symbol.asyncDispose]()))
  }
}
