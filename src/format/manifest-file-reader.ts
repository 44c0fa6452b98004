import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { parseJson, type JsonObject, type JsonValue } from './canonical-json.ts'
import { isBackupLabel } from './backup-label.ts'
import type { ReadSection } from './info-file.ts'
import { COMMA, isDigit, isHexDigit, OPEN_BRACE, QUOTE, skipJson, skipJsonSpace } from './json-bytes.ts'
import { TIME_MAX, U32_MAX } from './json-members.ts'
import { BLOCK_SIZE_UNIT, DEFAULT_BLOCK_CHECKSUM_SIZE } from './manifest-serialise.ts'
import type { ManifestFile, Owner, OwnerName } from './manifest.ts'

/** Permission bits, as pgBackRest writes them: setuid, setgid and sticky are never restored. */
export const MODE_MASK = 0o777

/** A block of 1 GiB is as large as a segment of a relation, and larger than any that pgBackRest chooses. */
const BLOCK_UNITS_MAX = 2 ** 30 / BLOCK_SIZE_UNIT
/** Of 16 bytes of xxHash at least 6 are kept. */
const BLOCK_CHECKSUM_SIZES = { min: 6, max: 16 }

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * Reads the lines of `[target:file]` straight from the bytes of the manifest. There may be a million of them, so no
 * general parser runs, and no string is made except those that stay in the result.
 *
 * The envelope has proven that every value is valid JSON; what is checked here is that it is a file.
 */
export class ManifestFileReader {
  readonly #bytes: Buffer
  readonly #interned = new Map<string, string>()
  #name = ''
  #lastLabel = ''
  #stop = 0

  constructor(
    readonly section: ReadSection,
    readonly standard: Owner & { readonly mode: number },
    readonly what: string,
  ) {
    this.#bytes = section.bytes
  }

  read(index: number): ManifestFile {
    const { section, standard } = this
    const bytes = this.#bytes
    const end = section.valueEnd(index)
    this.#name = section.keyAt(index)
    let { user, group, mode } = standard
    let size = -1
    let timestamp: number | undefined
    let sizeOriginal = -1
    let repoSize = -1
    let checksum: string | undefined
    let repoChecksum: string | undefined
    let reference: string | undefined
    let bundleId = 0
    let bundleOffset = 0
    let blockUnits = 0
    let blockChecksumSize = DEFAULT_BLOCK_CHECKSUM_SIZE
    let blockMapSize = 0
    let checksumPage: boolean | undefined
    let pageErrors: ManifestFile['checksumPageErrors']
    let extra: Map<string, JsonValue> | undefined

    let at = skipJsonSpace(bytes, section.valueStart(index), end)
    if (bytes[at] !== OPEN_BRACE) throw this.#wrong('is not an object')
    for (;;) {
      at = skipJsonSpace(bytes, at + 1, end)
      if (bytes[at] !== QUOTE) break
      const keyStart = at + 1
      at = bytes.indexOf(QUOTE, keyStart)
      const keyEnd = at
      at = skipJsonSpace(bytes, at + 1, end)
      const start = skipJsonSpace(bytes, at + 1, end)
      switch (keyOf(bytes, keyStart, keyEnd)) {
        case 'bi':
          blockUnits = this.#within(start, end, 1, BLOCK_UNITS_MAX)
          break
        case 'bic':
          blockChecksumSize = this.#within(start, end, BLOCK_CHECKSUM_SIZES.min, BLOCK_CHECKSUM_SIZES.max)
          break
        case 'bim':
          blockMapSize = this.#within(start, end, 1, Number.MAX_SAFE_INTEGER)
          break
        case 'bni':
          bundleId = this.#within(start, end, 1, Number.MAX_SAFE_INTEGER)
          break
        case 'bno':
          bundleOffset = this.#integer(start, end)
          break
        case 'checksum':
          checksum = this.#checksum(start, end)
          break
        case 'checksum-page':
          checksumPage = this.#boolean(start, end)
          break
        case 'checksum-page-error':
          pageErrors = this.#pageErrors(start, end)
          break
        case 'group':
          group = this.#owner(start, end)
          break
        case 'mode':
          mode = this.#mode(start, end)
          break
        case 'rck':
          repoChecksum = this.#checksum(start, end)
          break
        case 'reference':
          reference = this.#label(start, end)
          break
        case 'repo-size':
          repoSize = this.#integer(start, end)
          break
        case 'size':
          size = this.#integer(start, end)
          break
        case 'szo':
          sizeOriginal = this.#integer(start, end)
          break
        case 'timestamp':
          timestamp = this.#within(start, end, -TIME_MAX, TIME_MAX)
          break
        case 'user':
          user = this.#owner(start, end)
          break
        default:
          extra ??= new Map()
          extra.set(this.#text(keyStart, keyEnd), parseJson(this.#value(start, end)))
      }
      at = skipJsonSpace(bytes, this.#stop, end)
      if (bytes[at] !== COMMA) break
    }
    if (blockMapSize !== 0 && blockUnits === 0) throw this.#wrong('has a block map but no block size')
    if (size < 0) throw this.#wrong("has no 'size'")
    if (timestamp === undefined) throw this.#wrong("has no 'timestamp'")

    const file: Mutable<ManifestFile> = { name: this.#name, user, group, mode, sizeBytes: size, timestamp }
    if (checksum !== undefined && size !== 0) file.checksum = checksum
    if (repoChecksum !== undefined) file.repoChecksum = repoChecksum
    if (repoSize >= 0 && repoSize !== size) file.repoSizeBytes = repoSize
    if (sizeOriginal >= 0 && sizeOriginal !== size) file.sizeOriginalBytes = sizeOriginal
    if (reference !== undefined) file.reference = reference
    if (bundleId !== 0) {
      file.bundleId = bundleId
      file.bundleOffset = bundleOffset
    }
    if (blockUnits !== 0) {
      file.blockSize = blockUnits * BLOCK_SIZE_UNIT
      file.blockChecksumSize = blockChecksumSize
      if (blockMapSize !== 0) file.blockMapSize = blockMapSize
    }
    if (checksumPage !== undefined) {
      file.checksumPage = checksumPage
      if (pageErrors !== undefined) file.checksumPageErrors = pageErrors
    }
    if (extra !== undefined) file.extra = extra as JsonObject
    return file
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
    if (at === first) throw this.#wrong('has something else where a number should be')
    if (value > Number.MAX_SAFE_INTEGER || (negative && !signed)) throw this.#wrong('has a number out of range')
    this.#stop = at
    return negative ? -value : value
  }

  #checksum(start: number, end: number): string {
    const bytes = this.#bytes
    const last = start + 41
    if (bytes[start] !== QUOTE || last >= end || bytes[last] !== QUOTE) throw this.#wrong('has an invalid checksum')
    for (let at = start + 1; at < last; at++) {
      if (!isHexDigit(bytes[at] as number)) throw this.#wrong('has an invalid checksum')
    }
    this.#stop = last + 1
    return this.#text(start + 1, last)
  }

  #boolean(start: number, end: number): boolean {
    const byte = this.#bytes[start]
    if (byte !== 0x74 && byte !== 0x66) throw this.#wrong('has something else where true or false should be')
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
      throw this.#wrong('refers to something that is not a backup label')
    this.#lastLabel = label
    return label
  }

  /** Owners and labels: the same few strings again and again. */
  #shared(start: number, end: number): string {
    const text = this.#string(start, end)
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
    if (this.#bytes[start] !== QUOTE) throw this.#wrong('has something else where a string should be')
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

  /** The text of a value of any kind. */
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

const KEYS = [
  'bi',
  'bic',
  'bim',
  'bni',
  'bno',
  'checksum',
  'checksum-page',
  'checksum-page-error',
  'group',
  'mode',
  'rck',
  'reference',
  'repo-size',
  'size',
  'szo',
  'timestamp',
  'user',
] as const

type FileKey = (typeof KEYS)[number]

/** Length, middle and last letter tell the names apart; the rest is compared, for there may be unknown ones. */
const KEY_BY_SIGNATURE: (readonly [FileKey, Uint8Array] | undefined)[] = []
for (const key of KEYS) {
  const bytes = Buffer.from(key)
  const slot = signature(bytes, 0, bytes.length)
  if (KEY_BY_SIGNATURE[slot] !== undefined) throw new PgtsError('assert', `${key} has the signature of another key`)
  KEY_BY_SIGNATURE[slot] = [key, bytes]
}

function signature(bytes: Uint8Array, start: number, end: number): number {
  const middle = bytes[(start + end) >> 1] as number
  return ((end - start) & 31) * 1024 + (middle & 31) * 32 + ((bytes[end - 1] as number) & 31)
}

function keyOf(bytes: Uint8Array, start: number, end: number): FileKey | undefined {
  const known = KEY_BY_SIGNATURE[signature(bytes, start, end)]
  if (known === undefined || known[1].length !== end - start) return undefined
  for (let i = known[1].length - 1; i >= 0; i--) if (bytes[start + i] !== known[1][i]) return undefined
  return known[0]
}
