import { verifyPages } from '../../codec/page-checksum.ts'
import type { Chunks, Stage } from '../../codec/stage.ts'
import type { ClusterFileSource } from '../../postgres/cluster-access.ts'

/** Which pages of a file to expect, and how strict to be. */
export interface PageCheckOptions {
  /** Bytes a page. */
  readonly pageSize: number
  /** Block number of the file's first page within its relation: segment number * pages a segment. */
  readonly firstBlock: number
  /** Also distrust a page whose header has no upper bound although the page is not all zero. */
  readonly headerCheck: boolean
}

/** `valid` without `errors` means that the file is no whole number of pages. */
export interface PageCheckResult {
  readonly valid: boolean
  /** Blocks of the relation, ascending; runs are inclusive ranges. */
  readonly errors?: readonly (number | readonly [number, number])[]
}

/**
 * Verifies the data pages that pass, and changes nothing. A page that fails is read again once: when it differs from
 * what was read first, PostgreSQL is writing it and WAL will repair it; when it is the same, it is damaged.
 * @see docs/format/manifest.md, page checksums
 */
export class PageCheck implements Stage {
  #offset = 0
  #misaligned = false
  readonly #bad: number[] = []
  readonly #source: ClusterFileSource
  readonly #options: PageCheckOptions

  constructor(source: ClusterFileSource, options: PageCheckOptions) {
    this.#source = source
    this.#options = options
  }

  push(chunk: Uint8Array): Chunks {
    const { pageSize, firstBlock, headerCheck } = this.#options
    // A source gives whole buffers until the end of the file, so only the last chunk may hold a part of a page.
    if (this.#misaligned) return [chunk]
    const whole = chunk.length - (chunk.length % pageSize)
    this.#misaligned = whole !== chunk.length
    const chunkBlock = firstBlock + this.#offset / pageSize
    const suspects = verifyPages(chunk.subarray(0, whole), pageSize, chunkBlock, headerCheck)
    const chunkOffset = this.#offset
    this.#offset += chunk.length
    return suspects.length === 0 ? [chunk] : this.#readAgain(chunk, chunkOffset, chunkBlock, suspects)
  }

  finish(): Chunks {
    return []
  }

  result(): PageCheckResult {
    if (this.#misaligned) return { valid: false }
    if (this.#bad.length === 0) return { valid: true }
    return { valid: false, errors: toRanges(this.#bad) }
  }

  async *#readAgain(chunk: Uint8Array, chunkOffset: number, chunkBlock: number, suspects: Iterable<number>) {
    const { pageSize } = this.#options
    for (const index of suspects) {
      const first = chunk.subarray(index * pageSize, (index + 1) * pageSize)
      const second = await this.#source.reread(chunkOffset + index * pageSize, pageSize)
      if (second.length === pageSize && second.equals(first)) this.#bad.push(chunkBlock + index)
    }
    yield chunk
  }
}

function toRanges(blocks: readonly number[]): (number | readonly [number, number])[] {
  const ranges: (number | readonly [number, number])[] = []
  for (let i = 0; i < blocks.length;) {
    let last = i
    while (last + 1 < blocks.length && blocks[last + 1] === blocks[last]! + 1) last++
    ranges.push(last === i ? blocks[i]! : [blocks[i]!, blocks[last]!])
    i = last + 1
  }
  return ranges
}
