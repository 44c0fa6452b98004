import { encryptor, type CipherStage } from '../../codec/cipher.ts'
import { compressor, isSynchronous } from '../../codec/registry.ts'
import type { Chunks, Stage } from '../../codec/stage.ts'
import { blockChecksums } from '../../codec/xxh3.ts'
import { serialiseBlockMap, type BlockPlace, type SuperBlock } from '../../format/block-map.ts'
import { PgtsError } from '../../util/error.ts'
import { wholeSuperBlock, type BlockStage, type BlockWriteOptions, type BlockWriteResult } from './types.ts'

/**
 * A stage that stores a file block incremental: super blocks with the new blocks, then the map of all blocks. Memory:
 * one block, the buffers of the codec, and a few dozen bytes per block for the map.
 * @see docs/format/blocks.md
 */
export function blockWriter(options: BlockWriteOptions): BlockStage {
  return new BlockWriter(options)
}

/** A super block that is being filled; the map shares the object, whose sizes are final when it is closed. */
interface OpenSuperBlock {
  readonly superBlock: { -readonly [K in keyof SuperBlock]: SuperBlock[K] }
  /** Compresses and encrypts: plain bytes in, stored bytes out. */
  readonly form: Stage
  /** It is closed when it contains this number of bytes. */
  readonly wholeBytes: number
}

class BlockWriter implements BlockStage {
  readonly #options: BlockWriteOptions
  readonly #superBlockSize: number
  readonly #places: BlockPlace[] = []
  #checksums = new Uint8Array(0)
  /** The beginning of an incomplete block. Allocated at first use: most files have whole blocks only. */
  #part: Buffer | undefined
  #partBytes = 0
  #open: OpenSuperBlock | undefined
  #anyNew = false
  /** Bytes returned so far. */
  #repoSizeBytes = 0
  #result: BlockWriteResult | undefined

  constructor(options: BlockWriteOptions) {
    const { blockSize, checksumSize, prior } = options
    if (prior !== undefined && (prior.blockSize !== blockSize || prior.checksumSize !== checksumSize))
      throw new PgtsError('assert', `blocks of ${blockSize} cannot continue a map of blocks of ${prior.blockSize}`)
    this.#options = options
    this.#superBlockSize = wholeSuperBlock(options)
  }

  push(chunk: Uint8Array): Chunks {
    return this.#give(this.#pushed(chunk))
  }

  finish(): Chunks {
    return this.#give(this.#finished())
  }

  *#pushed(chunk: Uint8Array): Iterable<Chunks> {
    const { blockSize } = this.#options
    let rest = chunk
    if (this.#part !== undefined && this.#partBytes > 0) {
      const missing = rest.subarray(0, blockSize - this.#partBytes)
      this.#part.set(missing, this.#partBytes)
      this.#partBytes += missing.length
      if (this.#partBytes < blockSize) return
      yield* this.#blocks(this.#part)
      this.#partBytes = 0
      rest = rest.subarray(missing.length)
    }
    const whole = rest.length - (rest.length % blockSize)
    if (whole > 0) yield* this.#blocks(rest.subarray(0, whole))
    this.#partBytes = rest.length - whole
    if (this.#partBytes > 0) (this.#part ??= Buffer.allocUnsafe(blockSize)).set(rest.subarray(whole))
  }

  *#finished(): Iterable<Chunks> {
    if (this.#part !== undefined && this.#partBytes > 0) yield* this.#blocks(this.#part.subarray(0, this.#partBytes))
    if (this.#open !== undefined) yield* this.#closeSuperBlock()
    const { prior, blockSize, checksumSize, cipherPass } = this.#options
    const blocks = this.#places
    const unchanged = prior !== undefined && !this.#anyNew && blocks.length === prior.blocks.length
    const mapStart = this.#repoSizeBytes
    if (!unchanged && blocks.length > 0) {
      const map = serialiseBlockMap({ blockSize, checksumSize, blocks, checksums: this.#checksums })
      if (cipherPass === undefined) yield [map]
      else {
        const cipher = encryptor(cipherPass, { raw: true })
        yield cipher.push(map)
        yield cipher.finish()
      }
    }
    this.#result = { unchanged, repoSizeBytes: this.#repoSizeBytes, mapSizeBytes: this.#repoSizeBytes - mapStart }
  }

  close(): void {
    this.#open?.form.close?.()
    this.#open = undefined
  }

  result(): BlockWriteResult {
    if (this.#result === undefined) throw new PgtsError('assert', 'the result was read before the file was written')
    return this.#result
  }

  /** @param bytes whole blocks, or the last, shorter block */
  *#blocks(bytes: Uint8Array): Iterable<Chunks> {
    const { blockSize, checksumSize, prior } = this.#options
    const first = this.#places.length
    const count = Math.ceil(bytes.length / blockSize)
    this.#reserve(first + count)
    blockChecksums(bytes, blockSize, checksumSize, this.#checksums, first * checksumSize)

    // Adjacent new blocks are passed to the codec in one piece.
    let stretch = 0
    for (let i = 0; i < count; i++) {
      const known = prior?.blocks[first + i]
      if (known !== undefined && this.#isKnown(first + i)) {
        if (i > stretch) yield* this.#store(bytes.subarray(stretch * blockSize, i * blockSize))
        this.#places.push(known)
        stretch = i + 1
      }
    }
    if (count > stretch) yield* this.#store(bytes.subarray(stretch * blockSize))
  }

  #isKnown(index: number): boolean {
    const { checksumSize, prior } = this.#options
    const start = index * checksumSize
    const known = prior!.checksums
    for (let i = start; i < start + checksumSize; i++) if (this.#checksums[i] !== known[i]) return false
    return true
  }

  /** Stores adjacent new blocks: in the open super block, and in further ones as they are filled. */
  *#store(bytes: Uint8Array): Iterable<Chunks> {
    const { blockSize } = this.#options
    this.#anyNew = true
    for (let start = 0; start < bytes.length;) {
      const { superBlock, form, wholeBytes } = (this.#open ??= this.#openSuperBlock(bytes.length - start))
      const piece = bytes.subarray(start, start + this.#superBlockSize - superBlock.plainBytes)
      for (let at = 0; at < piece.length; at += blockSize) {
        this.#places.push({ superBlock, index: (superBlock.plainBytes + at) / blockSize })
      }
      superBlock.plainBytes += piece.length
      yield form.push(piece)
      start += piece.length
      if (superBlock.plainBytes === wholeBytes) yield* this.#closeSuperBlock()
    }
  }

  /** @param ready number of adjacent new bytes, which are compressed in one call if they are a whole super block */
  #openSuperBlock(ready: number): OpenSuperBlock {
    const { blockSize, reference, bundleId, offset, compression, cipherPass, likelyBytes } = this.#options
    // The rest of the file, unless it has grown. Then its end is in a further super block.
    const isRest = this.#places.length * blockSize + ready === likelyBytes
    const wholeBytes = isRest ? Math.min(ready, this.#superBlockSize) : this.#superBlockSize
    const compressed = compressor(compression.type, compression.level, { raw: true, contentBytes: wholeBytes })
    return {
      wholeBytes,
      superBlock: { reference, bundleId, offset: offset + this.#repoSizeBytes, storedBytes: 0, plainBytes: 0 },
      form: cipherPass === undefined ? compressed : inRow(compressed, encryptor(cipherPass, { raw: true })),
    }
  }

  *#closeSuperBlock(): Iterable<Chunks> {
    const { superBlock, form } = this.#open!
    yield form.finish()
    superBlock.storedBytes = this.#options.offset + this.#repoSizeBytes - superBlock.offset
    form.close?.()
    this.#open = undefined
  }

  /** The chunks of all steps, counted. A step begins when the chunks of the one before it were taken. */
  #give(steps: Iterable<Chunks>): Chunks {
    return isSynchronous(this.#options.compression.type)
      ? this.#giveNow(steps as Iterable<Iterable<Uint8Array>>)
      : this.#giveLater(steps)
  }

  *#giveNow(steps: Iterable<Iterable<Uint8Array>>): Iterable<Uint8Array> {
    for (const chunks of steps) {
      for (const chunk of chunks) {
        this.#repoSizeBytes += chunk.length
        yield chunk
      }
    }
  }

  async *#giveLater(steps: Iterable<Chunks>): AsyncIterable<Uint8Array> {
    for (const chunks of steps) {
      for await (const chunk of chunks) {
        this.#repoSizeBytes += chunk.length
        yield chunk
      }
    }
  }

  #reserve(count: number): void {
    const needed = count * this.#options.checksumSize
    if (needed <= this.#checksums.length) return
    const larger = new Uint8Array(Math.max(needed, this.#checksums.length * 2))
    larger.set(this.#checksums)
    this.#checksums = larger
  }
}

/** Combines two stages, of which the second is synchronous. */
function inRow(first: Stage, second: CipherStage): Stage {
  function* through(chunks: Iterable<Uint8Array>): Iterable<Uint8Array> {
    for (const chunk of chunks) yield* second.push(chunk)
  }
  async function* throughLater(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of chunks) yield* second.push(chunk)
  }
  const both = (chunks: Chunks): Chunks => (Symbol.asyncIterator in chunks ? throughLater(chunks) : through(chunks))
  return {
    push: (chunk) => both(first.push(chunk)),
    finish: () => {
      const last = first.finish()
      if (Symbol.asyncIterator in last) {
        return (async function* () {
          yield* throughLater(last)
          yield* second.finish()
        })()
      }
      return (function* () {
        yield* through(last)
        yield* second.finish()
      })()
    },
    close() {
      first.close?.()
      second.close?.()
    },
  }
}
