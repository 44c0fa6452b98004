import { verifyPages } from '../../codec/page-checksum.ts'
import type { Chunks, Stage } from '../../codec/stage.ts'
import type { ClusterFileSource } from '../../postgres/cluster-access.ts'

/** Which pages of a file are expected, and which checks apply. */
export interface PageCheckOptions {
  /** Bytes per page. */
  readonly pageSize: number
  /** Block number of the file's first page within its relation: segment number * pages per segment. */
  readonly firstBlock: number
  /** Also report a page whose header has no upper bound although the page is not all zero. */
  readonly headerCheck: boolean
}

/** `valid: false` without `errors` means that the file size is not a multiple of the page size. */
export interface PageCheckResult {
  readonly valid: boolean
  /** Block numbers in the relation, ascending; a pair is an inclusive range. */
  readonly errors?: readonly (number | readonly [number, number])[]
}

/**
 * Verifies the data pages that pass through, without changes. An invalid page is read again once: if it differs from
 * the first read, PostgreSQL is writing it, and WAL replay will restore it; if it is the same, it is corrupt.
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
    // A source returns full buffers until the end of the file, so only the last chunk may contain a partial page.
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
