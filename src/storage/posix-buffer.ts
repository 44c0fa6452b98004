/** Read buffers are large and short-lived; a driver keeps as many as its readers use at the same time. */
export class BufferPool {
  readonly #free: Buffer[] = []

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(READ_CHUNK_BYTES)
  }

  give(buffer: Buffer): void {
    if (this.#free.length < KEPT) this.#free.push(buffer)
  }

  clear(): void {
    this.#free.length = 0
  }
}

/** Large enough that the cost of a system call is negligible, small enough for the cache of the processor. */
export const READ_CHUNK_BYTES = 512 * 1024
const KEPT = 4
