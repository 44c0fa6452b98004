import type { Mutable } from '../../util/mutable.ts'
import type { StoredContent } from './copy-job.ts'
import type { PageCheckResult } from './page-check.ts'

const SHA1_BYTES = 20
/** Bits of the members that a file has. */
const REPO_CHECKSUM = 1
const BUNDLE = 2
const BLOCKS = 4
const PAGES = 8
const VALID_PAGES = 16

/**
 * What was stored of each planned file, by index. Columns of 82 bytes a file: objects with the same values take more than 300, and more
 * again as garbage while they are collected.
 */
export class StoredContents {
  readonly #members: Uint8Array
  readonly #sizes: Float64Array
  readonly #repoSizes: Float64Array
  readonly #checksums: Buffer
  readonly #repoChecksums: Buffer
  readonly #bundleIds: Uint32Array
  readonly #offsets: Float64Array
  readonly #blockSizes: Uint32Array
  readonly #checksumSizes: Uint8Array
  readonly #mapSizes: Float64Array
  readonly #pageErrors = new Map<number, NonNullable<PageCheckResult['errors']>>()

  constructor(files: number) {
    this.#members = new Uint8Array(files)
    this.#sizes = new Float64Array(files)
    this.#repoSizes = new Float64Array(files)
    this.#checksums = Buffer.alloc(files * SHA1_BYTES)
    this.#repoChecksums = Buffer.alloc(files * SHA1_BYTES)
    this.#bundleIds = new Uint32Array(files)
    this.#offsets = new Float64Array(files)
    this.#blockSizes = new Uint32Array(files)
    this.#checksumSizes = new Uint8Array(files)
    this.#mapSizes = new Float64Array(files)
  }

  set(index: number, { sizeBytes, repoSizeBytes, checksum, repoChecksum, bundle, blocks, pages }: StoredContent): void {
    this.#sizes[index] = sizeBytes
    this.#repoSizes[index] = repoSizeBytes
    this.#checksums.write(checksum, index * SHA1_BYTES, 'hex')
    let members = 0
    if (repoChecksum !== undefined) {
      members |= REPO_CHECKSUM
      this.#repoChecksums.write(repoChecksum, index * SHA1_BYTES, 'hex')
    }
    if (bundle !== undefined) {
      members |= BUNDLE
      this.#bundleIds[index] = bundle.id
      this.#offsets[index] = bundle.offset
    }
    if (blocks !== undefined) {
      members |= BLOCKS
      this.#blockSizes[index] = blocks.blockSize
      this.#checksumSizes[index] = blocks.checksumSize
      this.#mapSizes[index] = blocks.mapSizeBytes
    }
    if (pages !== undefined) members |= pages.valid ? PAGES | VALID_PAGES : PAGES
    if (pages?.errors !== undefined) this.#pageErrors.set(index, pages.errors)
    this.#members[index] = members
  }

  get(index: number): StoredContent {
    const members = this.#members[index]!
    const content: Mutable<StoredContent> = {
      sizeBytes: this.#sizes[index]!,
      checksum: hexAt(this.#checksums, index),
      repoSizeBytes: this.#repoSizes[index]!,
    }
    if ((members & REPO_CHECKSUM) !== 0) content.repoChecksum = hexAt(this.#repoChecksums, index)
    if ((members & BUNDLE) !== 0) content.bundle = { id: this.#bundleIds[index]!, offset: this.#offsets[index]! }
    if ((members & BLOCKS) !== 0) {
      content.blocks = {
        blockSize: this.#blockSizes[index]!,
        checksumSize: this.#checksumSizes[index]!,
        mapSizeBytes: this.#mapSizes[index]!,
      }
    }
    if ((members & PAGES) !== 0) {
      const errors = this.#pageErrors.get(index)
      const valid = (members & VALID_PAGES) !== 0
      content.pages = errors === undefined ? { valid } : { valid, errors }
    }
    return content
  }
}

function hexAt(checksums: Buffer, index: number): string {
  return checksums.toString('hex', index * SHA1_BYTES, (index + 1) * SHA1_BYTES)
}
