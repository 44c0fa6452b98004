/** Read buffers are big and short-lived; a driver keeps the few that its readers need at the same time. */
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

/** Large enough that the cost of a call does not show, small enough to stay in the processor's cache. */
export const READ_CHUNK_BYTES = 512 * 1024
const KEPT = 4
