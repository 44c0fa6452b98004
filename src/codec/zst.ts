import binding from 'zstd-napi/binding.js'
import { damaged, truncated } from './damage.ts'
import type { Codec } from './registry.ts'
import type { Stage } from './stage.ts'

// The binding is CommonJS, whose names Node cannot see before it runs.
const { CCtx, CParameter, DCtx, EndDirective, ResetDirective } = binding

/** Zstandard frames without checksum; the raw form is the same. */
export const zst: Codec = {
  compressor: (level) => new ZstCompressor(level),
  decompressor: () => new ZstDecompressor(),
}

const OUTPUT_BYTES = 256 * 1024
const NOTHING = new Uint8Array(0)

// A context keeps its tables from file to file: at level 3 that is about 4 MiB that is not allocated a hundred
// thousand times. A thread compresses one file at a time, so these lists hold one or two entries.
const compressors = new Map<number, { ctx: binding.CCtx; output: Uint8Array }[]>()
const decompressors: { ctx: binding.DCtx; output: Uint8Array }[] = []
const POOL_LIMIT = 2

class ZstCompressor implements Stage {
  #held: { ctx: binding.CCtx; output: Uint8Array } | undefined
  readonly #level: number

  constructor(level: number) {
    this.#level = level
    this.#held = compressors.get(level)?.pop() ?? newCompressor(level)
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    const { ctx, output } = this.#held!
    for (let offset = 0; offset < chunk.length;) {
      const [, produced, consumed] = ctx.compressStream2(output, chunk.subarray(offset), EndDirective.continue)
      offset += consumed
      if (produced > 0) yield output.subarray(0, produced)
    }
  }

  *finish(): Iterable<Uint8Array> {
    const { ctx, output } = this.#held!
    for (;;) {
      const [left, produced] = ctx.compressStream2(output, NOTHING, EndDirective.end)
      if (produced > 0) yield output.subarray(0, produced)
      if (left === 0) return
    }
  }

  close(): void {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return
    held.ctx.reset(ResetDirective.sessionOnly)
    const pool = compressors.get(this.#level) ?? []
    compressors.set(this.#level, pool)
    if (pool.length < POOL_LIMIT) pool.push(held)
  }
}

class ZstDecompressor implements Stage {
  #held: { ctx: binding.DCtx; output: Uint8Array } | undefined
  /** What the library still expects, as its last call said; 0 exactly at the end of a frame. */
  #expected = 1

  constructor() {
    this.#held = decompressors.pop() ?? { ctx: new DCtx(), output: new Uint8Array(OUTPUT_BYTES) }
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    const { ctx, output } = this.#held!
    let offset = 0
    let full = false
    // A full output buffer may mean that more waits inside, even when all input is taken.
    while (offset < chunk.length || full) {
      let produced, consumed
      try {
        ;[this.#expected, produced, consumed] = ctx.decompressStream(output, chunk.subarray(offset))
      } catch (cause) {
        throw damaged('zst', (cause as Error).message, cause)
      }
      offset += consumed
      full = produced === output.length && this.#expected !== 0
      if (produced > 0) yield output.subarray(0, produced)
    }
  }

  finish(): Iterable<Uint8Array> {
    if (this.#expected !== 0) throw truncated('zst')
    return []
  }

  close(): void {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return
    held.ctx.reset(ResetDirective.sessionOnly)
    if (decompressors.length < POOL_LIMIT) decompressors.push(held)
  }
}

function newCompressor(level: number): { ctx: binding.CCtx; output: Uint8Array } {
  const ctx = new CCtx()
  ctx.setParameter(CParameter.compressionLevel, level)
  return { ctx, output: new Uint8Array(OUTPUT_BYTES) }
}
