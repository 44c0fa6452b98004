import type { CCtx, DCtx, EndDirective } from 'zstd-napi/binding.js'
import { PgtsError } from '../util/error.ts'
import { onIdle } from '../util/idle-memory.ts'
import { requireModule } from '../util/load-module.ts'
import { damaged, truncated } from './damage.ts'
import { CODECS } from './levels.ts'
import type { Codec, CodecOptions, Stage } from './stage.ts'

type Library = typeof import('zstd-napi/binding.js')
let library: Library

/**
 * Zstandard frames without checksum, with the library of zstd-napi; the raw form is the same.
 *
 * @throws PgtsError execute if zstd-napi cannot be loaded
 */
export function openZst(): Codec {
  library ??= requireModule<Library>('zstd-napi/binding.js', [WITHOUT_ZSTD_HINT])
  return {
    synchronous: true,
    compressor: (level, options) => new ZstCompressor(level, options),
    decompressor: () => new ZstDecompressor(),
    decompressWhole,
  }
}

const WITHOUT_ZSTD_HINT =
  'for zst, run: npm rebuild zstd-napi (requires a C++ compiler, make and python3), or use Node.js 22.15 or newer, which has zstd'

const OUTPUT_BYTES = 256 * 1024
const NOTHING = new Uint8Array(0)

interface Compressing {
  readonly ctx: CCtx
  readonly output: Uint8Array
}

// A context keeps its tables between files: at level 3 this saves allocating about 4 MiB a hundred thousand times. A
// thread compresses one file at a time, so these lists have one or two entries.
const compressors = new Map<number, Compressing[]>()
const partCompressors = new Map<number, Compressing[]>()
const decompressors: { ctx: DCtx; output: Uint8Array }[] = []
const POOL_LIMIT = 2

const KIB = 1024
/**
 * Is content of this size compressed in one call if it arrives as one chunk? With several calls the library copies its input into a
 * ring buffer. In one call it knows the size, and chooses its tables by it. Measured at level 3: 32 to 128 KiB and WAL
 * of 16 MiB take an eighth less time, 256 KiB a third more, and up to 16 KiB and from 128 to 256 KiB the result is larger.
 */
function isFasterWhole(bytes: number): boolean {
  return (bytes > 16 * KIB && bytes <= 128 * KIB) || (bytes > 256 * KIB && bytes <= MOST_WHOLE_BYTES)
}
const MOST_WHOLE_BYTES = CODECS.zst.oneCallBytes ?? 0
/** Output buffers for such files, if the usual one is too small; of a new buffer only the written part uses memory. */
const wholes: Uint8Array[] = []
/** Has no buffers for a stream, which take several MiB. */
let wholeDecoder: DCtx | undefined
onIdle(() => {
  wholeDecoder = undefined
  compressors.clear()
  partCompressors.clear()
  decompressors.length = 0
  wholes.length = 0
})

const MIB = 1024 * KIB
/**
 * Size of the parts that threads of the library compress. Measured with rows of PostgreSQL: levels up to 4 lose nothing with
 * 1 MiB; at level 9 it takes a third more CPU time, and 4 MiB a twentieth more.
 */
function partBytes(level: number): number {
  return (level <= 4 ? 1 : 4) * MIB
}
/** At higher levels a thread needs more than 20 MiB of tables. */
const MOST_THREADED_LEVEL = 9
/**
 * Levels at which a part refers to nothing before it: ZSTD_dfast. In a stream the library looks for each match in two buffers;
 * in a part there is one, which takes a fifth less CPU time (docs/decisions/0056-large-files-in-parts.md).
 */
const hasIndependentParts = (level: number) => level === 3 || level === 4
const LEAST_IN_PARTS_BYTES = 4 * MIB
/** ZSTD_c_overlapLog of zstd.h: none. */
const NO_OVERLAP = 1
/** With one, the library polls while that thread finishes the previous part. */
const PART_THREADS = 2

class ZstCompressor implements Stage {
  #held: Compressing | undefined
  /** Where the context is kept after this file; undefined: its threads end with it. */
  #pool: Compressing[] | undefined
  readonly #level: number
  readonly #contentBytes: number | undefined
  readonly #threads: number
  #whole: Uint8Array | undefined
  /** What the current part lacks, if the file is in parts: a part is complete before the calling thread goes on, so that one thread works. */
  #partLeft: number | undefined
  #ended = false

  constructor(level: number, { contentBytes, threads = 1 }: CodecOptions) {
    this.#level = level
    this.#contentBytes = contentBytes
    this.#threads = threads
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    if (this.#ended) throw new PgtsError('assert', 'more bytes follow after the announced whole file')
    if (this.#held === undefined && chunk.length === this.#contentBytes && isFasterWhole(chunk.length)) {
      yield* this.#pushWhole(chunk)
      return
    }
    const { ctx, output } = (this.#held ??= this.#open(true))
    for (let offset = 0; offset < chunk.length;) {
      const input = chunk.subarray(offset, offset + (this.#partLeft ?? chunk.length))
      const [, produced, consumed] = ctx.compressStream2(output, input, library.EndDirective.continue)
      offset += consumed
      if (produced > 0) yield output.subarray(0, produced)
      if (this.#partLeft === undefined) continue
      this.#partLeft -= consumed
      if (this.#partLeft > 0) continue
      this.#partLeft = partBytes(this.#level)
      yield* this.#complete(library.EndDirective.flush)
    }
  }

  *#pushWhole(chunk: Uint8Array): Iterable<Uint8Array> {
    this.#ended = true
    const { ctx, output: usual } = (this.#held ??= this.#open(false))
    const room = library.compressBound(chunk.length)
    const output = room <= usual.length ? usual : (this.#whole = wholeOutput(room))
    const [left, produced, consumed] = ctx.compressStream2(output, chunk, library.EndDirective.end)
    if (left !== 0 || consumed !== chunk.length)
      throw new PgtsError('assert', 'zst did not compress the whole file in one call')
    for (let at = 0; at < produced; at += OUTPUT_BYTES) yield output.subarray(at, Math.min(at + OUTPUT_BYTES, produced))
  }

  *finish(): Iterable<Uint8Array> {
    if (!this.#ended) yield* this.#complete(library.EndDirective.end)
  }

  *#complete(directive: EndDirective): Iterable<Uint8Array> {
    const { ctx, output } = (this.#held ??= this.#open(false))
    for (;;) {
      const [left, produced] = ctx.compressStream2(output, NOTHING, directive)
      if (produced > 0) yield output.subarray(0, produced)
      if (left === 0) return
    }
  }

  #open(inChunks: boolean): Compressing {
    const level = this.#level
    const threads = level <= MOST_THREADED_LEVEL ? this.#threads : 1
    const withThreads = inChunks && threads > 1 ? newThreaded(level, threads) : undefined
    if (withThreads !== undefined) return withThreads
    const isLarge = (this.#contentBytes ?? 0) >= LEAST_IN_PARTS_BYTES
    if (inChunks && isLarge && hasIndependentParts(level)) {
      const pool = poolOf(partCompressors, level)
      const inParts = pool.pop() ?? newThreaded(level, PART_THREADS)
      if (inParts !== undefined) {
        this.#pool = pool
        this.#partLeft = partBytes(level)
        return inParts
      }
    }
    this.#pool = poolOf(compressors, level)
    return this.#pool.pop() ?? newCompressor(level)
  }

  close(): void {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return
    if (this.#whole !== undefined && wholes.length < POOL_LIMIT) wholes.push(this.#whole)
    if (this.#pool === undefined) return
    held.ctx.reset(library.ResetDirective.sessionOnly)
    if (this.#pool.length < POOL_LIMIT) this.#pool.push(held)
  }
}

class ZstDecompressor implements Stage {
  #held: { ctx: DCtx; output: Uint8Array } | undefined
  /** Number of bytes that the library expects next, from its last call; 0 exactly at the end of a frame. */
  #expected = 1

  constructor() {
    this.#held = decompressors.pop() ?? { ctx: new library.DCtx(), output: new Uint8Array(OUTPUT_BYTES) }
  }

  *push(chunk: Uint8Array): Iterable<Uint8Array> {
    const { ctx, output } = this.#held!
    let offset = 0
    let full = false
    // With a full output buffer more output may be pending, even if all input is consumed.
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
    held.ctx.reset(library.ResetDirective.sessionOnly)
    if (decompressors.length < POOL_LIMIT) decompressors.push(held)
  }
}

/** The library's message (ZSTD_getErrorName). */
const DOES_NOT_FIT = 'Destination buffer is too small'

/** A stage copies its input and its output once more, because it keeps the window of the frame itself. */
function decompressWhole(source: Uint8Array, into: Uint8Array): number {
  wholeDecoder ??= new library.DCtx()
  try {
    return wholeDecoder.decompress(into, source)
  } catch (cause) {
    const { message } = cause as Error
    if (message === DOES_NOT_FIT) return into.length + 1
    throw damaged('zst', message, cause)
  }
}

function wholeOutput(bytes: number): Uint8Array {
  const spare = wholes.pop()
  return spare !== undefined && spare.length >= bytes ? spare : Buffer.allocUnsafeSlow(bytes)
}

function poolOf(pools: Map<number, Compressing[]>, level: number): Compressing[] {
  const pool = pools.get(level) ?? []
  pools.set(level, pool)
  return pool
}

function newCompressor(level: number): Compressing {
  const ctx = new library.CCtx()
  ctx.setParameter(library.CParameter.compressionLevel, level)
  return { ctx, output: new Uint8Array(OUTPUT_BYTES) }
}

/** @returns undefined if the system starts no threads (a limit of processes) or memory is missing: compression works without, slower */
function newThreaded(level: number, threads: number): Compressing | undefined {
  const held = newCompressor(level)
  const { nbWorkers, jobSize, overlapLog } = library.CParameter
  held.ctx.setParameter(nbWorkers, threads)
  held.ctx.setParameter(jobSize, partBytes(level))
  if (hasIndependentParts(level)) held.ctx.setParameter(overlapLog, NO_OVERLAP)
  try {
    // The first call starts the threads.
    held.ctx.compressStream2(held.output, NOTHING, library.EndDirective.continue)
    return held
  } catch {
    return undefined
  }
}
