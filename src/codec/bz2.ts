import { PgtsError } from '../util/error.ts'
import { damaged, truncated } from './damage.ts'
import { Kernel, loadKernels } from './kernels.ts'
import type { Codec, Stage } from './stage.ts'

/**
 * One bzip2 stream per file; the raw form is the same. Bytes after the end of the first stream are ignored, as for gz.
 */
export function openBz2(): Codec {
  loadKernels()
  return {
    synchronous: true,
    compressor: (level) => new Bz2Compressor(level),
    decompressor: () => new Bz2Decompressor(),
  }
}

const INPUT_BYTES = 256 * 1024
const OUTPUT_BYTES = 256 * 1024
// Return codes of bzlib.h.
const STREAM_END = 4
const OUT_OF_MEMORY = -3
const ERRORS: Record<number, string> = {
  [-4]: 'a block is corrupt or its checksum does not match',
  [-5]: 'it has no bzip2 header',
}

/** One instance is used for both directions: beginning a stream discards the previous one. */
const pool: Kernel[] = []
const POOL_LIMIT = 2

class Bz2Compressor implements Stage {
  #kernel: Kernel | undefined

  constructor(level: number) {
    this.#kernel = begin(level)
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    const kernel = this.#kernel!
    for (let start = 0; start < chunk.length; start += INPUT_BYTES) {
      const part = chunk.subarray(start, start + INPUT_BYTES)
      kernel.setInput(part)
      for (let offset = 0; offset < part.length; offset += kernel.call.bz2_consumed()) {
        succeed(kernel.call.bz2_compress(offset, part.length - offset, 0))
        const produced = kernel.call.bz2_produced()
        // The size is read after the consumer has used the chunk: until then nothing else runs in this instance.
        if (produced > 0) yield kernel.output(produced)
      }
    }
  }

  *finish(): Iterable<Uint8Array> {
    const kernel = this.#kernel!
    for (;;) {
      const code = succeed(kernel.call.bz2_compress(0, 0, 1))
      const produced = kernel.call.bz2_produced()
      if (produced > 0) yield kernel.output(produced)
      if (code === STREAM_END) return
    }
  }

  close(): void {
    giveBack(this.#kernel)
    this.#kernel = undefined
  }
}

class Bz2Decompressor implements Stage {
  #kernel: Kernel | undefined
  #ended = false

  constructor() {
    this.#kernel = begin(0)
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    const kernel = this.#kernel!
    for (let start = 0; start < chunk.length; start += INPUT_BYTES) {
      const part = chunk.subarray(start, start + INPUT_BYTES)
      kernel.setInput(part)
      let offset = 0
      let full = false
      // With a full output buffer more output may be pending, even if all input is consumed.
      while (!this.#ended && (offset < part.length || full)) {
        const code = this.#step(kernel, offset, part.length - offset)
        if (code < 0) throw damaged('bz2', ERRORS[code] ?? `error ${code}`)
        this.#ended = code === STREAM_END
        offset += kernel.call.bz2_consumed()
        const produced = kernel.call.bz2_produced()
        full = produced === OUTPUT_BYTES
        if (produced > 0) yield kernel.output(produced)
      }
    }
  }

  finish(): Iterable<Uint8Array> {
    if (!this.#ended) throw truncated('bz2')
    return []
  }

  close(): void {
    giveBack(this.#kernel)
    this.#kernel = undefined
  }

  #step(kernel: Kernel, offset: number, bytes: number): number {
    try {
      return kernel.call.bz2_decompress(offset, bytes)
    } catch (cause) {
      // The library detected an inconsistent state; this instance is not used again.
      this.#kernel = undefined
      throw damaged('bz2', 'the decompressor failed', cause)
    }
  }
}

/**
 * A compressor only fails if it is misused; without this check the loop would wait forever for input to be consumed.
 */
function succeed(code: number): number {
  if (code < 0) throw new PgtsError('assert', `bzip2 failed to compress: ${code}`)
  return code
}

/** Level 0 decompresses. */
function begin(level: number): Kernel {
  const kernel = pool.pop() ?? open()
  const code = kernel.call.bz2_begin(level)
  if (code !== 0) throw new PgtsError(code === OUT_OF_MEMORY ? 'memory' : 'assert', `bzip2 failed to begin: ${code}`)
  return kernel
}

function open(): Kernel {
  const kernel = new Kernel()
  if (kernel.call.bz2_open(INPUT_BYTES, OUTPUT_BYTES) === 0) throw new PgtsError('memory', 'no memory for bzip2')
  return kernel
}

function giveBack(kernel: Kernel | undefined): void {
  if (kernel !== undefined && pool.length < POOL_LIMIT) pool.push(kernel)
}
