import { asBytes, type ByteString } from '../util/byte-string.ts'
import { enlarged } from '../util/bytes.ts'
import { itemsOf, type LazyList } from '../util/lazy-list.ts'

export interface Owned {
  readonly user: ByteString | false
  readonly group: ByteString | false
}

export interface ListedFile extends Owned {
  readonly name: ByteString
  /** Permission bits. */
  readonly mode: number
  readonly sizeBytes: number
  /** mtime, seconds since the epoch. */
  readonly timestamp: number
  /** Consists of data pages: verify their checksums if the cluster has checksums. */
  readonly pageChecksumApplies: boolean
  /** Read at most `sizeBytes`: recovery restores later additions from WAL. Other files are read to their end. */
  readonly sizeLimited: boolean
}

/** Bytes of a record, and where its members are. */
const RECORD = 30
const SIZE = 0
const TIME = 8
const NAME_START = 16
const NAME_LENGTH = 20
const MODE = 22
const OWNER = 24
const BITS = 28
/** In the last one. */
const PAGES = 1
const LIMITED = 2

const FIRST_RECORDS = 1024

/**
 * Files of a cluster as records of bytes: 55 bytes a file with its name, instead of 130 to 190 for an object. A backup keeps the list
 * until its end, and objects that survive let the young generation grow to 32 MB.
 */
export class ListedFiles implements LazyList<ListedFile> {
  length = 0
  #records: Buffer = Buffer.allocUnsafeSlow(FIRST_RECORDS * RECORD)
  #names: Buffer = Buffer.allocUnsafeSlow(FIRST_RECORDS * RECORD)
  #namesEnd = 0
  /** User and group; nearly all files of a cluster have the same. */
  readonly #owners: Pick<ListedFile, 'user' | 'group'>[] = []
  #last = asBytes('')
  #isSorted = true
  /** Positions of the files in order; absent: they are in order. */
  #order: Uint32Array | undefined

  add(file: ListedFile): void {
    const { name } = file
    const start = this.length * RECORD
    const nameEnd = this.#namesEnd + name.length
    if (start + RECORD > this.#records.length) this.#records = enlarged(this.#records, start, start + RECORD)
    if (nameEnd > this.#names.length) this.#names = enlarged(this.#names, this.#namesEnd, nameEnd)
    const records = this.#records
    records.writeDoubleLE(file.sizeBytes, start + SIZE)
    records.writeDoubleLE(file.timestamp, start + TIME)
    records.writeUInt32LE(this.#namesEnd, start + NAME_START)
    records.writeUInt16LE(name.length, start + NAME_LENGTH)
    records.writeUInt16LE(file.mode, start + MODE)
    records.writeUInt32LE(this.#ownerOf(file), start + OWNER)
    records[start + BITS] = (file.pageChecksumApplies ? PAGES : 0) | (file.sizeLimited ? LIMITED : 0)
    this.#names.write(name, this.#namesEnd, 'latin1')
    this.#namesEnd = nameEnd
    this.#isSorted &&= this.#last < name
    this.#last = name
    this.length++
  }

  /** Sorts by name. */
  sort(): void {
    if (this.#isSorted) return
    const positions = Uint32Array.from({ length: this.length }, (_none, position) => position)
    this.#order = positions.sort((a, b) => (this.#nameAt(a) < this.#nameAt(b) ? -1 : 1))
  }

  at(index: number): ListedFile | undefined {
    if (index >= this.length) return undefined
    const position = this.#order?.[index] ?? index
    const start = position * RECORD
    const records = this.#records
    const { user, group } = this.#owners[records.readUInt32LE(start + OWNER)]!
    const bits = records[start + BITS]!
    return {
      name: this.#nameAt(position),
      mode: records.readUInt16LE(start + MODE),
      user,
      group,
      sizeBytes: records.readDoubleLE(start + SIZE),
      timestamp: records.readDoubleLE(start + TIME),
      pageChecksumApplies: (bits & PAGES) !== 0,
      sizeLimited: (bits & LIMITED) !== 0,
    }
  }

  [Symbol.iterator](): Iterator<ListedFile> {
    return itemsOf(this)
  }

  #nameAt(position: number): ByteString {
    const start = this.#records.readUInt32LE(position * RECORD + NAME_START)
    const length = this.#records.readUInt16LE(position * RECORD + NAME_LENGTH)
    return asBytes(this.#names.toString('latin1', start, start + length))
  }

  #ownerOf({ user, group }: ListedFile): number {
    const known = this.#owners.findIndex((owner) => owner.user === user && owner.group === group)
    return known === -1 ? this.#owners.push({ user, group }) - 1 : known
  }
}
