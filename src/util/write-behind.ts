import { fdatasync, fsync } from 'node:fs'

/** A sync starts when this many bytes were written, so that the last sync of a large file is short. */
const FLUSH_BYTES = 16 * 1024 * 1024

/**
 * Makes an open file durable without blocking its writer: written data is synced on
 * the thread pool, while the next bytes are compressed or the next file is read.
 */
export class WriteBehind {
  readonly #fd: number
  #waitingBytes = 0
  #flush: Promise<void> | undefined
  #error: Error | undefined

  constructor(fd: number) {
    this.#fd = fd
  }

  /** Call after each write. */
  wrote(bytes: number): void {
    this.#waitingBytes += bytes
    if (this.#waitingBytes < FLUSH_BYTES || this.#flush !== undefined) return
    this.#waitingBytes = 0
    this.#flush = call(fdatasync, this.#fd)
      // The kernel reports a disk error only once, so it is kept until the end.
      .catch((error: Error) => void (this.#error ??= error))
      .finally(() => (this.#flush = undefined))
  }

  /** Until it resolves the descriptor must stay open. @throws the system's error when anything could not be written */
  async finish(): Promise<void> {
    await this.#flush
    await call(fsync, this.#fd)
    if (this.#error !== undefined) throw this.#error
  }

  /** Wait until no sync uses the descriptor; for a file that is discarded. */
  async abandon(): Promise<void> {
    await this.#flush
  }
}

function call(sync: typeof fsync, fd: number): Promise<void> {
  return new Promise((resolve, reject) => sync(fd, (error) => (error === null ? resolve() : reject(error))))
}
