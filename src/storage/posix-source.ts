import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs'
import type { ByteSource } from '../util/bytes.ts'
import { bytesToText, pathOf, type ByteString } from '../util/byte-string.ts'
import { PgtsError, systemCode } from '../util/error.ts'
import type { ByteRange, Cancellable } from './driver.ts'
import { READ_CHUNK_BYTES, type BufferPool } from './posix-buffer.ts'
import { posixError } from './posix-error.ts'

/** Reads one file in chunks into a reused buffer. */
export function fileSource(path: ByteString, range: ByteRange & Cancellable, buffers: BufferPool): ByteSource {
  return new FileSource(path, range, buffers)
}

/** Opening a named pipe does not block. Opening a regular file may: a file server can hold a lease on it. */
function openForReading(path: string | Buffer): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (systemCode(error) !== 'EAGAIN' || !statSync(path).isFile()) throw error
    return openSync(path, constants.O_RDONLY)
  }
}

class FileSource implements ByteSource {
  readonly sizeBytes: number
  readonly #path: ByteString
  readonly #signal: AbortSignal | undefined
  readonly #buffers: BufferPool
  /**
   * Offset of the next read. Without an offset the position of the file descriptor is used, so that a pipe can be read
   * too.
   */
  #position: number | null
  /** Bytes that are still to be read; Infinity: to the end. */
  #remaining: number
  #fd: number | undefined
  #buffer: Buffer | undefined

  constructor(path: ByteString, range: ByteRange & Cancellable, buffers: BufferPool) {
    this.#path = path
    this.#signal = range.signal
    this.#buffers = buffers
    this.#position = range.offset ?? null
    this.#remaining = range.length ?? Infinity
    try {
      this.#fd = openForReading(pathOf(path))
    } catch (error) {
      throw posixError('open', path, error)
    }
    const size = this.#requireFile(this.#fd)
    this.sizeBytes = range.length ?? Math.max(0, size - (range.offset ?? 0))
  }

  /** Returns its size. Links are followed; the target must be a regular file, because a device may have no end. */
  #requireFile(fd: number): number {
    const stats = fstatSync(fd)
    if (stats.isFile()) return stats.size
    this.#close()
    throw new PgtsError(
      stats.isDirectory() ? 'file-read' : 'file-invalid',
      `cannot read ${bytesToText(this.#path)}: it is ${stats.isDirectory() ? 'a directory' : 'not a regular file'}`,
    )
  }

  next(): Uint8Array | undefined {
    if (this.#fd === undefined) return undefined
    this.#signal?.throwIfAborted()
    if (this.#remaining === 0) return this.#close()
    this.#buffer ??= this.#buffers.take()
    const length = Math.min(this.#remaining, READ_CHUNK_BYTES)
    let got: number
    try {
      got = readSync(this.#fd, this.#buffer, 0, length, this.#position)
    } catch (error) {
      throw posixError('read', this.#path, error)
    }
    if (got === 0) {
      if (this.#remaining === Infinity) return this.#close()
      throw new PgtsError(
        'file-read',
        `${bytesToText(this.#path)} ends ${this.#remaining} bytes before the end of the requested range`,
        {
          hints: ["the file is shorter than the repository records: run 'verify', and restore from another backup set"],
        },
      )
    }
    this.#remaining -= got
    if (this.#position !== null) this.#position += got
    return this.#buffer.subarray(0, got)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close()
  }

  #close(): undefined {
    if (this.#buffer !== undefined) this.#buffers.give(this.#buffer)
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#buffer = undefined
    this.#fd = undefined
  }
}
