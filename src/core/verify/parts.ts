import type { WalSegment } from '../../format/wal-segment.ts'
import type { CompressType } from '../../util/compress-type.ts'
import type { ArchivedFile } from './archive-pieces.ts'
import type { BackupPieces } from './backup-pieces.ts'
import type { Proof } from './memory.ts'
import type { PieceName, ProofWork, StoredPiece } from './prove-stored.ts'
import type { ManifestHead } from './request.ts'
import { bytes } from '../../util/byte-string.ts'

/** A unit of verification: the files that one backup stores, or one directory of the archive. */
export interface Part {
  /** `backup/20261122-062513F`, `archive/15-1/0000000100000000` */
  readonly key: string
  readonly pieces: number
  pieceAt(index: number): PieceName
  /** @param from index of the first piece */
  jobs(from: number): Iterable<PartJob>
}

/** Adjacent pieces of a part. */
export interface PartJob {
  readonly first: number
  readonly pieces: number
  readonly work: ProofWork
}

/** Small pieces share a job up to this number of pieces and bytes. */
const BATCH_PIECES = 256
const BATCH_BYTES = 8 * 1024 * 1024

export function backupPart(head: ManifestHead, { table, decoded }: BackupPieces): Part {
  const { cipherPass, bundleRaw } = head
  const { compressType } = head.options
  const others = [...decoded.single, ...decoded.bundled]
  const { length } = table
  const firstBundled = length + decoded.single.length
  const pieces = length + others.length
  const size = (index: number) => {
    if (index < length) return table.sizeAt(index)
    const { slice, expected } = others[index - length]!
    return slice?.length ?? (expected.of === 'content' ? expected.sizeBytes : 0)
  }
  return {
    key: `backup/${head.label}`,
    pieces,
    pieceAt: (index) => (index < length ? table.at(index) : others[index - length]!),
    *jobs(from) {
      for (const [start, end] of batches(from, length, size))
        yield { first: start, pieces: end - start, work: { runs: table.runs(start, end) } }
      const decode = function* (first: number, last: number, raw: boolean): Iterable<PartJob> {
        for (const [start, end] of batches(Math.max(from, first), last, size)) {
          const some = others.slice(start - length, end - length)
          yield { first: start, pieces: some.length, work: { decode: some, compressType, cipherPass, raw } }
        }
      }
      yield* decode(length, firstBundled, false)
      yield* decode(firstBundled, pieces, bundleRaw)
    },
  }
}

/** @param unrecorded segments whose commit times are wanted */
export function walPart(
  key: string,
  segments: readonly ArchivedFile[],
  known: { readonly cipherPass?: string; readonly systemId?: bigint },
  unrecorded: ReadonlySet<WalSegment> = new Set(),
): Part {
  const { cipherPass, systemId } = known
  // A directory may have segments of several codecs, if the option was changed.
  const types = new Set<CompressType>(segments.map(({ compressType }) => compressType))
  const groups = [...types].map((type) => segments.filter(({ compressType }) => compressType === type))
  const inOrder = groups.flat()
  return {
    key,
    pieces: inOrder.length,
    pieceAt: (index) => pieceOf(inOrder[index]!, systemId, unrecorded),
    *jobs(from) {
      let first = 0
      for (const group of groups) {
        const last = first + group.length
        for (const [start, end] of batches(Math.max(from, first), last, (index) => inOrder[index]!.storedBytes)) {
          const decode = inOrder.slice(start, end).map((segment) => pieceOf(segment, systemId, unrecorded))
          const { compressType } = inOrder[start]!
          yield { first: start, pieces: decode.length, work: { decode, compressType, cipherPass, raw: false } }
        }
        first = last
      }
    },
  }
}

function pieceOf(
  { segment, partial, checksum, repoName }: ArchivedFile,
  systemId: bigint | undefined,
  unrecorded: ReadonlySet<WalSegment>,
): StoredPiece {
  const scan = !partial && unrecorded.has(segment)
  return {
    name: bytes`${segment}${partial ? '.partial' : ''}`,
    repoName,
    expected: { of: 'wal', checksum, segment, partial, ...(systemId === undefined ? {} : { systemId }), scan },
  }
}

/** Ranges of indexes, start inclusive and end exclusive, in order. */
function* batches(
  from: number,
  to: number,
  sizeAt: (index: number) => number,
): Generator<readonly [start: number, end: number]> {
  let start = from
  let bytes = 0
  for (let index = from; index < to; index++) {
    const size = sizeAt(index)
    if (index > start && (index - start === BATCH_PIECES || bytes + size > BATCH_BYTES)) {
      yield [start, index]
      start = index
      bytes = 0
    }
    bytes += size
  }
  if (to > start) yield [start, to]
}

/** Tracks one part in a run: the consecutive pieces from the beginning that were verified. */
export class PartProgress {
  /** First piece of each verified job that others precede -> number of its pieces. */
  readonly #ahead = new Map<number, number>()
  #verified: number
  faulty = false

  /** @param from number of pieces that an earlier run verified */
  constructor(
    readonly part: Part,
    readonly from = 0,
  ) {
    this.#verified = from
  }

  verified({ first, pieces }: { readonly first: number; readonly pieces: number }): void {
    this.#ahead.set(first, pieces)
    for (let next = this.#take(); next !== undefined; next = this.#take()) this.#verified += next
  }

  #take(): number | undefined {
    const pieces = this.#ahead.get(this.#verified)
    this.#ahead.delete(this.#verified)
    return pieces
  }

  /** The state to record for the next run; undefined: none, because a fault was found or nothing was verified. */
  proof(nowMs: number): Proof | undefined {
    if (this.faulty) return undefined
    const { pieces } = this.part
    if (this.#verified >= pieces) return { provenMs: nowMs, pieces }
    return this.#verified === 0 ? undefined : { pieces, donePieces: this.#verified }
  }
}
