import { createDeflate, createGzip, deflateSync, gzipSync, type Deflate, type Gzip } from 'node:zlib'
import { gzDecompressor } from './gz-read.ts'
import type { Codec, Chunks, Stage } from './stage.ts'
import { ZlibDriver } from './zlib-driver.ts'

/** One gzip member for each file; the raw form is one zlib stream. */
export const gz: Codec = {
  synchronous: false,
  compressor: (level, { raw = false }) => new GzCompressor(level, raw),
  decompressor: gzDecompressor,
}

/** Inputs up to this size are compressed in one synchronous call; larger ones would block the thread and need twice the memory. */
const SMALL_BYTES = 256 * 1024
const MEM_LEVEL = 9
const OUTPUT_BYTES = 256 * 1024

/** Buffers the input up to SMALL_BYTES and compresses it at the end; a larger input goes through zlib's asynchronous stream. */
class GzCompressor implements Stage {
  readonly #level: number
  readonly #raw: boolean
  #small = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES)
  #smallBytes = 0
  #stream: ZlibDriver<Gzip | Deflate> | undefined
  #open = true

  constructor(level: number, raw: boolean) {
    this.#level = level
    this.#raw = raw
  }

  push(chunk: Uint8Array): Chunks {
    if (this.#stream !== undefined) return this.#stream.write(chunk)
    if (this.#smallBytes + chunk.length <= SMALL_BYTES) {
      this.#small.set(chunk, this.#smallBytes)
      this.#smallBytes += chunk.length
      return []
    }
    const options = {
      level: this.#level,
      memLevel: MEM_LEVEL,
      chunkSize: OUTPUT_BYTES,
      readableHighWaterMark: 64 * 1024,
    }
    const stream = new ZlibDriver<Gzip | Deflate>(this.#raw ? createDeflate(options) : createGzip(options))
    this.#stream = stream
    return this.#pushBoth(stream, chunk)
  }

  finish(): Chunks {
    if (this.#stream !== undefined) return this.#stream.end()
    const input = this.#small.subarray(0, this.#smallBytes)
    // The default output buffer of zlib is 16 KiB and grows by copying.
    const options = { level: this.#level, memLevel: MEM_LEVEL, chunkSize: Math.max(1024, input.length + 1024) }
    return [this.#raw ? deflateSync(input, options) : gzipSync(input, options)]
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#stream?.close()
    if (spareBuffers.length < 2) spareBuffers.push(this.#small)
  }

  async *#pushBoth(stream: ZlibDriver<Gzip | Deflate>, chunk: Uint8Array): AsyncIterable<Uint8Array> {
    if (this.#smallBytes > 0) yield* stream.write(this.#small.subarray(0, this.#smallBytes))
    yield* stream.write(chunk)
  }
}

/** Buffers of closed compressors, for the next ones. */
const spareBuffers: Buffer[] = []
