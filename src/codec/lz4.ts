import { damaged, truncated } from './damage.ts'
import { Kernel, loadKernels } from './kernels.ts'
import type { Codec, Stage } from './stage.ts'

/**
 * LZ4 frames. The normal form has a checksum of the content, the raw form does not; everything else is as pgBackRest
 * writes it. Reads any valid frame, also several in a row.
 */
export function openLz4(): Codec {
  loadKernels()
  return {
    synchronous: true,
    compressor: (level, { raw = false }) => new Lz4Compressor(level, raw),
    decompressor: () => new Lz4Decompressor(),
  }
}

const COMPRESS_INPUT_BYTES = 1024 * 1024
const DECOMPRESS_INPUT_BYTES = 256 * 1024
const OUTPUT_BYTES = 256 * 1024
/**
 * Content whose first chunk is larger than this is written in independent blocks of 1 MiB, which is a fifth faster at
 * the same ratio; smaller content in linked blocks of 64 KiB, exactly as pgBackRest writes it.
 */
const SMALL_BYTES = 64 * 1024

/** Instances of closed stages, which later stages reuse. */
const compressors = new Map<string, Kernel[]>()
const decompressors: Kernel[] = []
const POOL_LIMIT = 2

class Lz4Compressor implements Stage {
  #kernel: Kernel | undefined
  readonly #key: string
  #begun = false

  constructor(level: number, raw: boolean) {
    this.#key = `${level} ${raw}`
    this.#kernel = compressors.get(this.#key)?.pop() ?? openCompressor(level, raw)
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    const kernel = this.#kernel!
    if (!this.#begun) yield this.#begin(kernel, chunk.length > SMALL_BYTES)
    for (let offset = 0; offset < chunk.length; offset += COMPRESS_INPUT_BYTES) {
      const part = chunk.subarray(offset, offset + COMPRESS_INPUT_BYTES)
      kernel.setInput(part)
      const produced = kernel.succeed(kernel.call.lz4_compress(part.length))
      if (produced > 0) yield kernel.output(produced)
    }
  }

  *finish(): Iterable<Uint8Array> {
    const kernel = this.#kernel!
    if (!this.#begun) yield this.#begin(kernel, false)
    yield kernel.output(kernel.succeed(kernel.call.lz4_end()))
  }

  close(): void {
    const kernel = this.#kernel
    this.#kernel = undefined
    if (kernel === undefined) return
    const pool = compressors.get(this.#key) ?? []
    compressors.set(this.#key, pool)
    if (pool.length < POOL_LIMIT) pool.push(kernel)
  }

  #begin(kernel: Kernel, large: boolean): Uint8Array {
    this.#begun = true
    return kernel.output(kernel.succeed(kernel.call.lz4_begin(large ? 1 : 0)))
  }
}

class Lz4Decompressor implements Stage {
  #kernel: Kernel | undefined
  /** Number of bytes that the frame still needs; 0 exactly at the end of a frame. */
  #expected = 1

  constructor() {
    this.#kernel = decompressors.pop() ?? openDecompressor()
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    const kernel = this.#kernel!
    for (let start = 0; start < chunk.length; start += DECOMPRESS_INPUT_BYTES) {
      const part = chunk.subarray(start, start + DECOMPRESS_INPUT_BYTES)
      kernel.setInput(part)
      let offset = 0
      let full = false
      // With a full output buffer more output may be pending, even if all input is consumed.
      while (offset < part.length || full) {
        const produced = kernel.call.lz4_decompress(offset, part.length - offset)
        const error = kernel.lz4Error(produced)
        if (error !== undefined) throw damaged('lz4', error.replace(/^ERROR_/, ''))
        this.#expected = kernel.call.lz4_expected()
        offset += kernel.call.lz4_consumed()
        full = produced === OUTPUT_BYTES && this.#expected !== 0
        if (produced > 0) yield kernel.output(produced)
      }
    }
  }

  finish(): Iterable<Uint8Array> {
    if (this.#expected !== 0) throw truncated('lz4')
    return []
  }

  close(): void {
    const kernel = this.#kernel
    this.#kernel = undefined
    if (kernel === undefined) return
    kernel.call.lz4_reset_decompressor()
    if (decompressors.length < POOL_LIMIT) decompressors.push(kernel)
  }
}

function openCompressor(level: number, raw: boolean): Kernel {
  const kernel = new Kernel()
  kernel.succeed(kernel.call.lz4_open_compressor(level, raw ? 0 : 1, COMPRESS_INPUT_BYTES))
  return kernel
}

function openDecompressor(): Kernel {
  const kernel = new Kernel()
  kernel.succeed(kernel.call.lz4_open_decompressor(DECOMPRESS_INPUT_BYTES, OUTPUT_BYTES))
  return kernel
}
