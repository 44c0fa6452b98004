/** Smaller files are compressed before further threads would have started. */
const LEAST_BYTES = 32 * 1024 * 1024

/**
 * Decides how many threads compress a large file: several if other workers will have nothing to do before it is
 * stored, so that a backup does not wait for one core. It follows the schedule of the cores, one for each worker, in
 * bytes: a job takes those that are free first.
 */
export class SpareThreads {
  /** When each core is free, in ascending order. */
  readonly #freeAt: Float64Array
  #leftBytes: number

  /** @param bytes of all files that are read */
  constructor(workers: number, bytes: number) {
    this.#freeAt = new Float64Array(workers)
    this.#leftBytes = bytes
  }

  /**
   * Called for each job, in the order in which they are given to workers.
   *
   * @param bytes of the files of the job
   * @returns number of threads for the job, from 1 to the number of workers
   */
  take(bytes: number): number {
    const freeAt = this.#freeAt
    const now = freeAt[0]!
    const inProgress = freeAt.reduce((sum, at) => sum + at - now, 0)
    // If all cores were busy to the end, this would be left for each.
    const share = (inProgress + this.#leftBytes) / freeAt.length
    const threads = bytes < LEAST_BYTES ? 1 : Math.min(freeAt.length, Math.max(1, Math.round(bytes / share)))
    freeAt.fill(now + bytes / threads, 0, threads).sort()
    this.#leftBytes -= bytes
    return threads
  }
}
