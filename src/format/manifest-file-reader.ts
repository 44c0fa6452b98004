import { PgtsError } from '../util/error.ts'
import { parseJson, type JsonObject, type JsonValue } from './canonical-json.ts'
import type { ReadSection } from './info-file.ts'
import { BACKSLASH, COMMA, isDigit, isHexDigit, OPEN_BRACE, QUOTE, skipJson, skipJsonSpace } from './json-bytes.ts'
import { BLOCK_SIZE_UNIT, DEFAULT_BLOCK_CHECKSUM_SIZE } from './manifest-serialise.ts'
import type { ManifestFile, Owner, OwnerName } from './manifest.ts'

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
      const stop = skipJson(bytes, start, end)
      switch (keyOf(bytes, keyStart, keyEnd)) {
        case 'bi':
          blockUnits = this.#integer(start, stop)
          break
        case 'bic':
          blockChecksumSize = this.#integer(start, stop)
          break
        case 'bim':
          blockMapSize = this.#integer(start, stop)
          break
        case 'bni':
          bundleId = this.#integer(start, stop)
          break
        case 'bno':
          bundleOffset = this.#integer(start, stop)
          break
        case 'checksum':
          checksum = this.#checksum(start, stop)
          break
        case 'checksum-page':
          checksumPage = this.#boolean(start)
          break
        case 'checksum-page-error':
          pageErrors = this.#pageErrors(start, stop)
          break
        case 'group':
          group = this.#owner(start, stop)
          break
        case 'mode':
          mode = this.#mode(start, stop)
          break
        case 'rck':
          repoChecksum = this.#checksum(start, stop)
          break
        case 'reference':
          reference = this.#shared(start, stop)
          break
        case 'repo-size':
          repoSize = this.#integer(start, stop)
          break
        case 'size':
          size = this.#integer(start, stop)
          break
        case 'szo':
          sizeOriginal = this.#integer(start, stop)
          break
        case 'timestamp':
          timestamp = this.#integer(start, stop, true)
          break
        case 'user':
          user = this.#owner(start, stop)
          break
        default:
          extra ??= new Map()
          extra.set(this.#text(keyStart, keyEnd), parseJson(this.#text(start, stop)))
      }
      at = skipJsonSpace(bytes, stop, end)
      if (bytes[at] !== COMMA) break
    }
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

  #integer(start: number, stop: number, signed = false): number {
    const bytes = this.#bytes
    const negative = bytes[start] === 0x2d
    let value = 0
    let at = negative ? start + 1 : start
    // At most 16 digits are exact in a double; no size of ours comes near.
    if (stop - at > 16 || at === stop || (negative && !signed)) throw this.#wrong('has a number out of range')
    for (; at < stop; at++) {
      const byte = bytes[at] as number
      if (!isDigit(byte)) throw this.#wrong('has something else where a number should be')
      value = value * 10 + (byte - 0x30)
    }
    if (value > Number.MAX_SAFE_INTEGER) throw this.#wrong('has a number out of range')
    return negative ? -value : value
  }

  #checksum(start: number, stop: number): string {
    const bytes = this.#bytes
    if (stop - start !== 42 || bytes[start] !== QUOTE) throw this.#wrong('has an invalid checksum')
    for (let at = start + 1; at < stop - 1; at++) {
      if (!isHexDigit(bytes[at] as number)) throw this.#wrong('has an invalid checksum')
    }
    return this.#text(start + 1, stop - 1)
  }

  #boolean(start: number): boolean {
    const byte = this.#bytes[start]
    if (byte !== 0x74 && byte !== 0x66) throw this.#wrong('has something else where true or false should be')
    return byte === 0x74
  }

  #owner(start: number, stop: number): OwnerName {
    return this.#bytes[start] === 0x66 ? false : this.#shared(start, stop)
  }

  /** Owners and labels: the same few strings again and again. */
  #shared(start: number, stop: number): string {
    const text = this.#string(start, stop)
    const known = this.#interned.get(text)
    if (known !== undefined) return known
    this.#interned.set(text, text)
    return text
  }

  #mode(start: number, stop: number): number {
    const text = this.#string(start, stop)
    if (!/^[0-7]{1,4}$/.test(text)) throw this.#wrong('has an invalid mode')
    return parseInt(text, 8)
  }

  #string(start: number, stop: number): string {
    const bytes = this.#bytes
    if (bytes[start] !== QUOTE) throw this.#wrong('has something else where a string should be')
    for (let at = start; at < stop; at++) {
      if (bytes[at] === BACKSLASH) return parseJson(this.#text(start, stop)) as string
    }
    return this.#text(start + 1, stop - 1)
  }

  #pageErrors(start: number, stop: number): ManifestFile['checksumPageErrors'] {
    const list = parseJson(this.#text(start, stop))
    const isBlock = (value: unknown) => typeof value === 'number' && value >= 0
    const isRange = (value: unknown) => Array.isArray(value) && value.length === 2 && value.every(isBlock)
    if (Array.isArray(list) && list.every((item) => isBlock(item) || isRange(item))) {
      return list as NonNullable<ManifestFile['checksumPageErrors']>
    }
    throw this.#wrong('has an invalid list of page errors')
  }

  #text(start: number, end: number): string {
    return this.#bytes.toString('latin1', start, end)
  }

  #wrong(problem: string): PgtsError {
    return new PgtsError('format', `${this.what}: file '${this.#name}' ${problem}`)
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
