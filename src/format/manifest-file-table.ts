import { asBytes, compareBytes, type ByteString } from '../util/byte-string.ts'
import { enlarged } from '../util/bytes.ts'
import { itemsOf } from '../util/lazy-list.ts'
import type { Mutable } from '../util/mutable.ts'
import type { JsonObject, JsonValue } from './canonical-json.ts'
import { BLOCK_SIZE_UNIT } from './manifest-serialise.ts'
import type { ManifestFile, ManifestFileList, Owner, OwnerName } from './manifest.ts'

/** The members of one file, as read from the manifest. Absent numbers are -1, or 0 where 0 is not valid. */
export interface FileMembers {
  user: OwnerName
  group: OwnerName
  mode: number
  size: number
  timestamp: number | undefined
  sizeOriginal: number
  repoSize: number
  /** Positions of 40 hexadecimal digits in the text of the manifest. */
  checksumAt: number
  repoChecksumAt: number
  reference: string | undefined
  bundleId: number
  bundleOffset: number
  blockUnits: number
  blockChecksumSize: number
  blockMapSize: number
  checksumPage: boolean | undefined
  pageErrors: ManifestFile['checksumPageErrors']
  extra: Map<string, JsonValue> | undefined
}

const SHA1_BYTES = 20
/** Bits of the members that a file has. */
const CHECKSUM = 1
const REPO_CHECKSUM = 2
const REPO_SIZE = 4
const BUNDLE = 8
const PAGES = 16
const VALID_PAGES = 32
const RARE = 64

/** Members that few files have. */
interface Rare {
  readonly sizeOriginalBytes?: number
  readonly checksumPageErrors?: ManifestFile['checksumPageErrors']
  readonly extra?: JsonObject
}

/**
 * The files of a manifest that was read, as columns: 120 bytes a file and its name, instead of 500 and more for an object, and nothing
 * that the garbage collector looks at. An object is made when a file is read.
 */
export class ManifestFileTable implements ManifestFileList {
  length = 0
  #names: Buffer
  /** Where each name begins, and after the last one where it ends. */
  readonly #nameStarts: Uint32Array
  readonly #bits: Uint8Array
  readonly #modes: Uint16Array
  /** A place in `#owners`. */
  readonly #ownersOf: Uint32Array
  /** A place in `#labels`. */
  readonly #references: Uint32Array
  readonly #sizes: Float64Array
  readonly #repoSizes: Float64Array
  readonly #timestamps: Float64Array
  readonly #checksums: Buffer
  readonly #repoChecksums: Buffer
  readonly #bundleIds: Float64Array
  readonly #bundleOffsets: Float64Array
  readonly #blockUnits: Uint32Array
  readonly #blockChecksumSizes: Uint8Array
  readonly #blockMapSizes: Float64Array
  readonly #rare = new Map<number, Rare>()
  readonly #owners: Owner[] = []
  readonly #labels: (string | undefined)[] = [undefined]
  #last = asBytes('')
  #isSorted = true
  /** Positions of the files in the order of their names; absent: they are in order. */
  #order: Uint32Array | undefined

  /** @param most number of files. Columns that are not used take no memory. */
  constructor(most: number) {
    this.#names = Buffer.allocUnsafeSlow(most * LIKELY_NAME)
    this.#nameStarts = new Uint32Array(most + 1)
    this.#bits = new Uint8Array(most)
    this.#modes = new Uint16Array(most)
    this.#ownersOf = new Uint32Array(most)
    this.#references = new Uint32Array(most)
    this.#sizes = new Float64Array(most)
    this.#repoSizes = new Float64Array(most)
    this.#timestamps = new Float64Array(most)
    this.#checksums = columnOfChecksums(most)
    this.#repoChecksums = columnOfChecksums(most)
    this.#bundleIds = new Float64Array(most)
    this.#bundleOffsets = new Float64Array(most)
    this.#blockUnits = new Uint32Array(most)
    this.#blockChecksumSizes = new Uint8Array(most)
    this.#blockMapSizes = new Float64Array(most)
  }

  /** @param text of the manifest, with the checksums */
  add(name: ByteString, members: FileMembers, timestamp: number, text: Buffer): void {
    const index = this.length++
    const start = this.#nameStarts[index]!
    const end = start + name.length
    if (end > this.#names.length) this.#names = enlarged(this.#names, start, end)
    this.#names.write(name, start, 'latin1')
    this.#nameStarts[index + 1] = end
    const { size, repoSize, bundleId, blockUnits, checksumPage } = members
    let bits = 0
    this.#modes[index] = members.mode
    this.#ownersOf[index] = this.#placeOfOwner(members)
    if (members.reference !== undefined) this.#references[index] = placeOf(this.#labels, members.reference)
    this.#sizes[index] = size
    this.#timestamps[index] = timestamp
    if (members.checksumAt >= 0 && size !== 0) {
      bits |= CHECKSUM
      readHex(text, members.checksumAt, this.#checksums, index)
    }
    if (members.repoChecksumAt >= 0) {
      bits |= REPO_CHECKSUM
      readHex(text, members.repoChecksumAt, this.#repoChecksums, index)
    }
    if (repoSize >= 0 && repoSize !== size) {
      bits |= REPO_SIZE
      this.#repoSizes[index] = repoSize
    }
    if (bundleId !== 0) {
      bits |= BUNDLE
      this.#bundleIds[index] = bundleId
      this.#bundleOffsets[index] = members.bundleOffset
    }
    if (blockUnits !== 0) {
      this.#blockUnits[index] = blockUnits
      this.#blockChecksumSizes[index] = members.blockChecksumSize
      this.#blockMapSizes[index] = members.blockMapSize
    }
    if (checksumPage !== undefined) bits |= checksumPage ? PAGES | VALID_PAGES : PAGES
    const rare = rareOf(members)
    if (rare !== undefined) {
      bits |= RARE
      this.#rare.set(index, rare)
    }
    this.#bits[index] = bits
    this.#isSorted &&= this.#last < name
    this.#last = name
  }

  /** Sorts by name. @returns a name that occurs twice, if there is one */
  sort(): ByteString | undefined {
    if (this.#isSorted) return undefined
    const order = Uint32Array.from({ length: this.length }, (_none, position) => position)
    this.#order = order.sort((a, b) => compareBytes(this.#nameOf(a), this.#nameOf(b)))
    for (let i = 1; i < order.length; i++)
      if (this.#nameOf(order[i]!) === this.#nameOf(order[i - 1]!)) return this.nameAt(i)
    return undefined
  }

  at(index: number): ManifestFile | undefined {
    if (index < 0 || index >= this.length) return undefined
    const at = this.#order?.[index] ?? index
    const bits = this.#bits[at]!
    const { user, group } = this.#owners[this.#ownersOf[at]!]!
    const file: Mutable<ManifestFile> = {
      name: this.#nameOf(at),
      user,
      group,
      mode: this.#modes[at]!,
      sizeBytes: this.#sizes[at]!,
      timestamp: this.#timestamps[at]!,
    }
    if ((bits & CHECKSUM) !== 0) file.checksum = hexOf(this.#checksums, at)
    if ((bits & REPO_CHECKSUM) !== 0) file.repoChecksum = hexOf(this.#repoChecksums, at)
    if ((bits & REPO_SIZE) !== 0) file.repoSizeBytes = this.#repoSizes[at]!
    const reference = this.#labels[this.#references[at]!]
    if (reference !== undefined) file.reference = reference
    if ((bits & BUNDLE) !== 0) {
      file.bundleId = this.#bundleIds[at]!
      file.bundleOffset = this.#bundleOffsets[at]!
    }
    const blockUnits = this.#blockUnits[at]!
    if (blockUnits !== 0) {
      file.blockSize = blockUnits * BLOCK_SIZE_UNIT
      file.blockChecksumSize = this.#blockChecksumSizes[at]!
      if (this.#blockMapSizes[at] !== 0) file.blockMapSize = this.#blockMapSizes[at]!
    }
    if ((bits & PAGES) !== 0) file.checksumPage = (bits & VALID_PAGES) !== 0
    if ((bits & RARE) !== 0) Object.assign(file, this.#rare.get(at))
    return file
  }

  nameAt(index: number): ByteString {
    return this.#nameOf(this.#order?.[index] ?? index)
  }

  [Symbol.iterator](): Iterator<ManifestFile> {
    return itemsOf(this)
  }

  #nameOf(position: number): ByteString {
    return asBytes(this.#names.toString('latin1', this.#nameStarts[position], this.#nameStarts[position + 1]))
  }

  #placeOfOwner({ user, group }: Owner): number {
    const known = this.#owners.findIndex((owner) => owner.user === user && owner.group === group)
    return known === -1 ? this.#owners.push({ user, group }) - 1 : known
  }
}

/** Bytes of a name, on average: `pg_data/base/16384/1234567_fsm`. */
const LIKELY_NAME = 32

function columnOfChecksums(files: number): Buffer {
  return Buffer.allocUnsafeSlow(files * SHA1_BYTES)
}

/** The position of a value in a list of few values, where it is added if necessary. */
function placeOf<T>(list: T[], value: T): number {
  const known = list.lastIndexOf(value)
  return known === -1 ? list.push(value) - 1 : known
}

function rareOf({ size, sizeOriginal, checksumPage, pageErrors, extra }: FileMembers): Rare | undefined {
  const isResized = sizeOriginal >= 0 && sizeOriginal !== size
  const hasErrors = checksumPage !== undefined && pageErrors !== undefined
  if (!isResized && !hasErrors && extra === undefined) return undefined
  const rare: Mutable<Rare> = {}
  if (isResized) rare.sizeOriginalBytes = sizeOriginal
  if (hasErrors) rare.checksumPageErrors = pageErrors
  if (extra !== undefined) rare.extra = extra
  return rare
}

function readHex(text: Uint8Array, start: number, column: Uint8Array, index: number): void {
  let at = start
  const end = (index + 1) * SHA1_BYTES
  for (let to = index * SHA1_BYTES; to < end; to++) {
    column[to] = (valueOfHex(text[at]!) << 4) | valueOfHex(text[at + 1]!)
    at += 2
  }
}

/** Digits are 0x30 to 0x39; letters, of either case, end in 1 to 6. */
function valueOfHex(digit: number): number {
  return (digit & 0x0f) + (digit >> 6) * 9
}

function hexOf(column: Buffer, position: number): string {
  return column.toString('hex', position * SHA1_BYTES, (position + 1) * SHA1_BYTES)
}
