import { asBytes, bytesToText, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { parseJson } from './canonical-json.ts'
import { isBackupLabel } from './backup-label.ts'
import type { ReadSection } from './info-file.ts'
import { COMMA, isDigit, isHexDigit, OPEN_BRACE, QUOTE, skipJson, skipJsonSpace } from './json-bytes.ts'
import { fileKeyAt, type FileKey } from './manifest-file-keys.ts'
import { TIME_MAX, U32_MAX } from './json-members.ts'
import type { FileMembers, ManifestFileTable } from './manifest-file-table.ts'
import { BLOCK_SIZE_UNIT, DEFAULT_BLOCK_CHECKSUM_SIZE } from './manifest-serialise.ts'
import type { ManifestFile, Owner, OwnerName } from './manifest.ts'

/** Permission bits, as pgBackRest writes them: setuid, setgid and sticky bits are never restored. */
export const MODE_MASK = 0o777

/** 1 GiB is the size of a relation segment, and larger than any block size that pgBackRest chooses. */
const BLOCK_UNITS_MAX = 2 ** 30 / BLOCK_SIZE_UNIT
/** A block checksum has at least 6 of the 16 bytes of its hash. */
const BLOCK_CHECKSUM_SIZES = { min: 6, max: 16 }

/**
 * Reads the lines of `[target:file]` directly from the bytes of the manifest. There may be a million lines, so no
 * general parser is used, and only strings that are part of the result are created.
 *
 * The envelope has verified that every value is valid JSON; here the members of a file are checked.
 */
export class ManifestFileReader {
  readonly #bytes: Buffer
  readonly #interned = new Map<string, ByteString>()
  #name = asBytes('')
  #lastLabel = ''
  #stop = 0

  constructor(
    readonly section: ReadSection,
    readonly standard: Owner & { readonly mode: number },
    readonly what: string,
  ) {
    this.#bytes = section.bytes
  }

  /** Reads one line into the table. @returns the name of the file */
  read(index: number, table: ManifestFileTable): ByteString {
    const { section, standard } = this
    this.#name = section.keyAt(index)
    const members = blankMembers(standard)
    this.#readMembers(members, section.valueStart(index), section.valueEnd(index))
    const { size, timestamp } = members
    if (members.blockMapSize !== 0 && members.blockUnits === 0) throw this.#wrong('has a block map but no block size')
    if (size < 0) throw this.#wrong("has no 'size'")
    if (timestamp === undefined) throw this.#wrong("has no 'timestamp'")
    table.add(this.#name, members, timestamp, this.#bytes)
    return this.#name
  }

  #readMembers(members: FileMembers, from: number, end: number): void {
    const bytes = this.#bytes
    let at = skipJsonSpace(bytes, from, end)
    if (bytes[at] !== OPEN_BRACE) throw this.#wrong('is not an object')
    for (;;) {
      at = skipJsonSpace(bytes, at + 1, end)
      if (bytes[at] !== QUOTE) break
      const keyStart = at + 1
      at = bytes.indexOf(QUOTE, keyStart)
      const keyEnd = at
      at = skipJsonSpace(bytes, at + 1, end)
      const start = skipJsonSpace(bytes, at + 1, end)
      const key = fileKeyAt(bytes, keyStart, keyEnd)
      if (key !== undefined) ManifestFileReader.#readMember[key](this, members, start, end)
      else (members.extra ??= new Map()).set(this.#text(keyStart, keyEnd), parseJson(this.#value(start, end)))
      at = skipJsonSpace(bytes, this.#stop, end)
      if (bytes[at] !== COMMA) break
    }
  }

  static readonly #readMember: Readonly<Record<FileKey, ReadMember>> = {
    bi: (reader, into, start, end) => (into.blockUnits = reader.#within(start, end, 1, BLOCK_UNITS_MAX)),
    bic: (reader, into, start, end) =>
      (into.blockChecksumSize = reader.#within(start, end, BLOCK_CHECKSUM_SIZES.min, BLOCK_CHECKSUM_SIZES.max)),
    bim: (reader, into, start, end) => (into.blockMapSize = reader.#within(start, end, 1, Number.MAX_SAFE_INTEGER)),
    bni: (reader, into, start, end) => (into.bundleId = reader.#within(start, end, 1, Number.MAX_SAFE_INTEGER)),
    bno: (reader, into, start, end) => (into.bundleOffset = reader.#integer(start, end)),
    checksum: (reader, into, start, end) => (into.checksumAt = reader.#checksum(start, end)),
    'checksum-page': (reader, into, start, end) => (into.checksumPage = reader.#boolean(start, end)),
    'checksum-page-error': (reader, into, start, end) => (into.pageErrors = reader.#pageErrors(start, end)),
    group: (reader, into, start, end) => (into.group = reader.#owner(start, end)),
    mode: (reader, into, start, end) => (into.mode = reader.#mode(start, end)),
    rck: (reader, into, start, end) => (into.repoChecksumAt = reader.#checksum(start, end)),
    reference: (reader, into, start, end) => (into.reference = reader.#label(start, end)),
    'repo-size': (reader, into, start, end) => (into.repoSize = reader.#integer(start, end)),
    size: (reader, into, start, end) => (into.size = reader.#integer(start, end)),
    szo: (reader, into, start, end) => (into.sizeOriginal = reader.#integer(start, end)),
    timestamp: (reader, into, start, end) => (into.timestamp = reader.#within(start, end, -TIME_MAX, TIME_MAX)),
    user: (reader, into, start, end) => (into.user = reader.#owner(start, end)),
  }

  // Each of these reads the value at `start` and leaves the position after it in `#stop`.

  #within(start: number, end: number, min: number, max: number): number {
    const value = this.#integer(start, end, min < 0)
    if (value < min || value > max) throw this.#wrong('has a number out of range')
    return value
  }

  #integer(start: number, end: number, signed = false): number {
    const bytes = this.#bytes
    const negative = bytes[start] === 0x2d
    const first = negative ? start + 1 : start
    let value = 0
    let at = first
    for (; at < end; at++) {
      const byte = bytes[at] as number
      if (!isDigit(byte)) break
      value = value * 10 + (byte - 0x30)
    }
    if (at === first) throw this.#wrong('has a value that is not a number')
    if (value > Number.MAX_SAFE_INTEGER || (negative && !signed)) throw this.#wrong('has a number out of range')
    this.#stop = at
    return negative ? -value : value
  }

  /** @returns the position of its digits */
  #checksum(start: number, end: number): number {
    const bytes = this.#bytes
    const last = start + 41
    if (bytes[start] !== QUOTE || last >= end || bytes[last] !== QUOTE) throw this.#wrong('has an invalid checksum')
    for (let at = start + 1; at < last; at++) {
      if (!isHexDigit(bytes[at] as number)) throw this.#wrong('has an invalid checksum')
    }
    this.#stop = last + 1
    return start + 1
  }

  #boolean(start: number, end: number): boolean {
    const byte = this.#bytes[start]
    if (byte !== 0x74 && byte !== 0x66) throw this.#wrong('has a value that is not true or false')
    this.#stop = skipJson(this.#bytes, start, end)
    return byte === 0x74
  }

  #owner(start: number, end: number): OwnerName {
    if (this.#bytes[start] !== 0x66) return this.#shared(start, end)
    this.#boolean(start, end)
    return false
  }

  #label(start: number, end: number): string {
    const label = this.#shared(start, end)
    if (label !== this.#lastLabel && !isBackupLabel(label))
      throw this.#wrong('has a reference that is not a backup label')
    this.#lastLabel = label
    return label
  }

  /** Owners and labels repeat, so their strings are shared. */
  #shared(start: number, end: number): ByteString {
    const text = asBytes(this.#string(start, end))
    const known = this.#interned.get(text)
    if (known !== undefined) return known
    this.#interned.set(text, text)
    return text
  }

  #mode(start: number, end: number): number {
    const text = this.#string(start, end)
    if (!/^[0-7]{1,4}$/.test(text)) throw this.#wrong('has an invalid mode')
    return parseInt(text, 8) & MODE_MASK
  }

  #string(start: number, end: number): string {
    if (this.#bytes[start] !== QUOTE) throw this.#wrong('has a value that is not a string')
    const text = this.#value(start, end)
    return text.includes('\\') ? (parseJson(text) as string) : text.slice(1, -1)
  }

  #pageErrors(start: number, end: number): ManifestFile['checksumPageErrors'] {
    const list = parseJson(this.#value(start, end))
    const isBlock = (value: unknown) =>
      Number.isInteger(value) && (value as number) >= 0 && (value as number) <= U32_MAX
    const isRange = (value: unknown) => Array.isArray(value) && value.length === 2 && value.every(isBlock)
    if (Array.isArray(list) && list.every((item) => isBlock(item) || isRange(item))) {
      return list as NonNullable<ManifestFile['checksumPageErrors']>
    }
    throw this.#wrong('has an invalid list of page errors')
  }

  /** The text of any value. */
  #value(start: number, end: number): string {
    this.#stop = skipJson(this.#bytes, start, end)
    return this.#text(start, this.#stop)
  }

  #text(start: number, end: number): string {
    return this.#bytes.toString('latin1', start, end)
  }

  #wrong(problem: string): PgtsError {
    return new PgtsError('format', `${this.what}: file '${bytesToText(this.#name)}' ${problem}`)
  }
}

type ReadMember = (reader: ManifestFileReader, into: FileMembers, start: number, end: number) => void

function blankMembers({ user, group, mode }: Owner & { readonly mode: number }): FileMembers {
  return {
    user,
    group,
    mode,
    size: -1,
    timestamp: undefined,
    sizeOriginal: -1,
    repoSize: -1,
    checksumAt: -1,
    repoChecksumAt: -1,
    reference: undefined,
    bundleId: 0,
    bundleOffset: 0,
    blockUnits: 0,
    blockChecksumSize: DEFAULT_BLOCK_CHECKSUM_SIZE,
    blockMapSize: 0,
    checksumPage: undefined,
    pageErrors: undefined,
    extra: undefined,
  }
}
