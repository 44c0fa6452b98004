import type { Manifest } from '../../format/manifest.ts'
import type { WalSegment } from '../../format/wal-segment.ts'
import type { CompressType } from '../../util/compress-type.ts'
import type { ArchivedFile } from './archive-pieces.ts'
import type { BackupPieces } from './backup-pieces.ts'
import type { Proof } from './memory.ts'
import type { ProofJob, StoredPiece } from './prove-stored.ts'
import { bytes } from '../../util/byte-string.ts'

/** A unit of verification: the files that one backup stores, or one directory of the archive. */
export interface Part {
  /** `backup/20261122-062513F`, `archive/15-1/0000000100000000` */
  readonly key: string
  readonly pieces: number
  readonly bytes: number
  jobs(): Iterable<Omit<ProofJob, 'repoKey' | 'group' | 'index'>>
}

/** Small pieces share a job up to this number of pieces and bytes. */
const BATCH_PIECES = 64
const BATCH_BYTES = 8 * 1024 * 1024

export function backupPart(manifest: Manifest, { files, bundled }: BackupPieces): Part {
  const sizes = new Map(manifest.files.map((file) => [file.name, file.repoSizeBytes ?? file.sizeBytes]))
  const size = ({ name }: StoredPiece) => sizes.get(name) ?? 0
  const common = {
    compressType: manifest.options.compressType,
    cipherPass: manifest.cipherPass,
  }
  return {
    key: `backup/${manifest.label}`,
    pieces: files.length + bundled.length,
    bytes: [...files, ...bundled].reduce((sum, piece) => sum + size(piece), 0),
    *jobs() {
      for (const pieces of batches(files, size)) yield { ...common, pieces, raw: false }
      for (const pieces of batches(bundled, size)) yield { ...common, pieces, raw: manifest.bundleRaw }
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
  const bytes = new Map(segments.map((file) => [file.repoName, file.storedBytes]))
  const { cipherPass, systemId } = known
  return {
    key,
    pieces: segments.length,
    bytes: segments.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
    *jobs() {
      // A directory may have segments of several codecs, if the option was changed.
      for (const compressType of new Set<CompressType>(segments.map((segment) => segment.compressType))) {
        const pieces = segments
          .filter((segment) => segment.compressType === compressType)
          .map((file) => pieceOf(file, systemId, unrecorded))
        for (const some of batches(pieces, ({ repoName }) => bytes.get(repoName) ?? 0)) {
          yield { pieces: some, compressType, raw: false, cipherPass }
        }
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

function* batches(pieces: readonly StoredPiece[], size: (piece: StoredPiece) => number): Generator<StoredPiece[]> {
  let batch: StoredPiece[] = []
  let bytes = 0
  for (const piece of pieces) {
    if (batch.length > 0 && (batch.length === BATCH_PIECES || bytes + size(piece) > BATCH_BYTES)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(piece)
    bytes += size(piece)
  }
  if (batch.length > 0) yield batch
}

/** Tracks one part in a run: the consecutive jobs from the beginning that are verified. */
export class PartProgress {
  readonly #proven = new Set<number>()
  #verifiedJobs: number
  #totalJobs: number | undefined
  faulty = false

  /** @param from number of jobs that an earlier run verified */
  constructor(
    readonly part: Part,
    readonly from = 0,
  ) {
    this.#verifiedJobs = from
  }

  proven(index: number): void {
    this.#proven.add(index)
    while (this.#proven.delete(this.#verifiedJobs)) this.#verifiedJobs++
  }

  /** Sets the total number of jobs. */
  complete(jobs: number): void {
    this.#totalJobs = jobs
  }

  /** The state to record for the next run; undefined: none, because a fault was found or nothing was verified. */
  proof(nowMs: number): Proof | undefined {
    if (this.faulty) return undefined
    if (this.#totalJobs !== undefined && this.#verifiedJobs >= this.#totalJobs)
      return { provenMs: nowMs, pieces: this.part.pieces }
    return this.#verifiedJobs === 0 ? undefined : { pieces: this.part.pieces, doneJobs: this.#verifiedJobs }
  }
}
