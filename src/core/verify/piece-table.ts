import type { Manifest, ManifestFile } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** Adjacent pieces of one repository file, which are read together, and the SHA-1 of the stored bytes of each. */
export interface StoredRun {
  readonly repoName: ByteString
  /** Of the first piece. */
  readonly offset: number
  readonly lengths: readonly number[]
  /** 40 hex digits for each piece. */
  readonly checksums: string
}

/**
 * The files that a backup stores with a checksum of their stored bytes, in the order of reading: files that are not bundled, largest
 * first, then bundle by bundle. Columns instead of objects, because there may be a million files in each of many backups.
 */
export class PieceTable {
  /** Stored size of all pieces. */
  bytes = 0
  readonly #stanza: string
  readonly #label: string
  readonly #compressType: Manifest['options']['compressType']
  readonly #names: ByteString[] = []
  /** 0: not bundled. */
  readonly #bundleIds: number[] = []
  readonly #offsets: number[] = []
  readonly #lengths: number[] = []
  readonly #checksums: string[] = []
  readonly #inBlocks: boolean[] = []

  /** @param files with content, and with a checksum of their stored bytes or stored as they are */
  constructor(stanza: string, { label, options }: Manifest, files: readonly ManifestFile[]) {
    this.#stanza = stanza
    this.#label = label
    this.#compressType = options.compressType
    const single = files.filter(({ bundleId }) => bundleId === undefined)
    const bundled = files.filter(({ bundleId }) => bundleId !== undefined)
    single.sort((a, b) => storedSize(b) - storedSize(a) || (a.name < b.name ? -1 : 1))
    bundled.sort((a, b) => a.bundleId! - b.bundleId! || (a.bundleOffset ?? 0) - (b.bundleOffset ?? 0))
    for (const file of [...single, ...bundled]) this.#add(file)
  }

  get length(): number {
    return this.#names.length
  }

  at(index: number): { readonly name: ByteString; readonly repoName: ByteString } {
    return { name: this.#names[index]!, repoName: this.#repoName(index) }
  }

  sizeAt(index: number): number {
    return this.#lengths[index]!
  }

  /** The pieces from `start` (inclusive) to `end` (exclusive). */
  runs(start: number, end: number): StoredRun[] {
    const runs: StoredRun[] = []
    for (let from = start; from < end;) {
      let to = from + 1
      while (to < end && this.#continues(to)) to++
      runs.push({
        repoName: this.#repoName(from),
        offset: this.#offsets[from]!,
        lengths: this.#lengths.slice(from, to),
        checksums: this.#checksums.slice(from, to).join(''),
      })
      from = to
    }
    return runs
  }

  #add(file: ManifestFile): void {
    this.bytes += storedSize(file)
    this.#names.push(file.name)
    this.#bundleIds.push(file.bundleId ?? 0)
    this.#offsets.push(file.bundleOffset ?? 0)
    this.#lengths.push(storedSize(file))
    this.#checksums.push(file.repoChecksum ?? file.checksum!)
    this.#inBlocks.push(file.blockMapSize !== undefined)
  }

  /** Does a piece begin where the one before it ends? */
  #continues(index: number): boolean {
    const bundleId = this.#bundleIds[index]!
    const before = index - 1
    if (bundleId === 0 || bundleId !== this.#bundleIds[before]) return false
    return this.#offsets[index] === this.#offsets[before]! + this.#lengths[before]!
  }

  #repoName(index: number): ByteString {
    const bundleId = this.#bundleIds[index]!
    const stored = {
      name: this.#names[index]!,
      bundleId: bundleId === 0 ? undefined : bundleId,
      blockMapSize: this.#inBlocks[index] === true ? 1 : undefined,
    }
    return fileRepoName(this.#stanza, stored, this.#label, this.#compressType)
  }
}

/** Stored size of a file with content, bytes. */
export function storedSize(file: ManifestFile): number {
  return file.repoSizeBytes ?? file.sizeBytes
}
