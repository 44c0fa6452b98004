import type { Transform } from 'node:stream'
import zlib, { type Zlib, type ZlibOptions } from 'node:zlib'
import { systemCode } from '../util/error.ts'
import { damaged, truncated } from './damage.ts'
import type { Codec, Stage } from './stage.ts'
import { ZlibDriver } from './zlib-driver.ts'
import { ZstFrames } from './zst-frames.ts'

type ZstStream = Transform & Zlib

/** Functions of zlib since Node.js 22.15 and 23.8; the types are those of version 20. */
interface NodeZstd {
  createZstdCompress(options: ZlibOptions & { params: Record<number, number>; pledgedSrcSize?: number }): ZstStream
  createZstdDecompress(options: ZlibOptions): ZstStream
}

/** ZSTD_c_compressionLevel of zstd.h */
const COMPRESSION_LEVEL = 100
const STREAM = { chunkSize: 256 * 1024, readableHighWaterMark: 64 * 1024 }

/** Frames as in zst.ts, with the library in Node, on the thread pool. undefined: this Node has no zstd. */
export function openNodeZst(): Codec | undefined {
  if (!('createZstdCompress' in zlib)) return undefined
  const library = zlib as unknown as NodeZstd
  return {
    synchronous: false,
    compressor: (level, { contentBytes }) => new NodeZstCompressor(library, level, contentBytes),
    decompressor: () => new NodeZstDecompressor(library),
  }
}

class NodeZstCompressor implements Stage {
  readonly #library: NodeZstd
  readonly #level: number
  readonly #contentBytes: number | undefined
  #stream: ZlibDriver<ZstStream> | undefined

  constructor(library: NodeZstd, level: number, contentBytes: number | undefined) {
    this.#library = library
    this.#level = level
    this.#contentBytes = contentBytes
  }

  push(chunk: Uint8Array): AsyncIterable<Uint8Array> {
    // The library fails if the size differs from the given one, and a file may have changed since its size was read.
    this.#stream ??= this.#open(chunk.length === this.#contentBytes ? { pledgedSrcSize: chunk.length } : {})
    return this.#stream.write(chunk)
  }

  finish(): AsyncIterable<Uint8Array> {
    this.#stream ??= this.#open({})
    return this.#stream.end()
  }

  close(): void {
    this.#stream?.close()
  }

  #open(size: { readonly pledgedSrcSize?: number }): ZlibDriver<ZstStream> {
    const params = { [COMPRESSION_LEVEL]: this.#level }
    return new ZlibDriver(this.#library.createZstdCompress({ ...STREAM, params, ...size }))
  }
}

/** One stream per frame, because Node's stream ends with the first frame. */
class NodeZstDecompressor implements Stage {
  readonly #library: NodeZstd
  readonly #frames = new ZstFrames()
  #stream: ZlibDriver<ZstStream> | undefined

  constructor(library: NodeZstd) {
    this.#library = library
  }

  async *push(chunk: Uint8Array): AsyncIterable<Uint8Array> {
    for (const { bytes, begins, ends, skippable } of this.#frames.split(chunk)) {
      if (skippable) continue
      if (begins) this.#stream = new ZlibDriver(this.#library.createZstdDecompress(STREAM))
      const stream = this.#stream!
      try {
        yield* stream.write(bytes)
        if (ends) yield* stream.end()
      } catch (error) {
        throw systemCode(error)?.startsWith('ZSTD_') === true ? damaged('zst', (error as Error).message, error) : error
      }
      if (ends) this.close()
    }
  }

  finish(): Iterable<Uint8Array> {
    if (!this.#frames.complete) throw truncated('zst')
    return []
  }

  close(): void {
    this.#stream?.close()
    this.#stream = undefined
  }
}
