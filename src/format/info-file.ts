import { createHash } from 'node:crypto'
import { asBytes, compareBytes, type ByteString } from '../util/byte-string.ts'
import { enlarged } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { parseJson, quoteJson } from './canonical-json.ts'
import { isJson } from './json-bytes.ts'

/**
 * The envelope of archive.info, backup.info and backup.manifest: sections with lines `key=<JSON>`, and a SHA-1 over
 * them (docs/format/info-files.md). Keys and values are byte strings.
 */
export const REPOSITORY_FORMAT = 5

/** A key and the text of its JSON value, as in the file. */
export type InfoEntry = readonly [key: string, value: string]

/** A section to write. */
export interface InfoSection {
  readonly name: string
  readonly entries: Iterable<InfoEntry>
}

const FIRST_LINES = 16

/** A section that was read: positions in the file, converted to strings on request. */
export class ReadSection implements InfoSection {
  /** Three for each line. */
  #positions = new Uint32Array(3 * FIRST_LINES)
  #used = 0
  constructor(
    readonly name: string,
    readonly bytes: Buffer,
  ) {}

  get length(): number {
    return this.#used / 3
  }
  get entries(): Iterable<readonly [key: ByteString, value: string]> {
    return { [Symbol.iterator]: () => this.#entries() }
  }
  keyAt(index: number): ByteString {
    return asBytes(this.bytes.toString('latin1', this.#positions[index * 3], this.valueStart(index) - 1))
  }
  valueAt(index: number): string {
    return this.bytes.toString('latin1', this.valueStart(index), this.valueEnd(index))
  }
  valueStart(index: number): number {
    return this.#positions[index * 3 + 1] as number
  }
  valueEnd(index: number): number {
    return this.#positions[index * 3 + 2] as number
  }
  /** @internal for the reader below */
  add(keyStart: number, valueStart: number, end: number): void {
    if (this.#used === this.#positions.length) {
      const longer = new Uint32Array(2 * this.#used)
      longer.set(this.#positions)
      this.#positions = longer
    }
    this.#positions[this.#used++] = keyStart
    this.#positions[this.#used++] = valueStart
    this.#positions[this.#used++] = end
  }
  *#entries(): Generator<readonly [key: ByteString, value: string]> {
    for (let i = 0; i < this.length; i++) yield [this.keyAt(i), this.valueAt(i)]
  }
}

export interface InfoFile {
  readonly backrestVersion: string
  /** All sections by name, in file order; `[backrest]` is omitted unless it has unknown keys. */
  readonly sections: ReadonlyMap<string, ReadSection>
}

/**
 * Reads the envelope and verifies the checksum over the bytes. Every value is one valid JSON value.
 *
 * @param what name of the file, for messages
 * @throws PgtsError checksum (truncated, changed, or not an info file), format (unsupported format), crypto (encrypted)
 */
export function parseInfoFile(bytes: Buffer, what = 'info file'): InfoFile {
  if (bytes.length === 0) throw new PgtsError('checksum', `${what} is empty`)
  if (bytes.toString('latin1', 0, 8) === 'Salted__') {
    throw new PgtsError('crypto', `${what} is encrypted, but no cipher is configured for this repository`, {
      hints: ['set repo-cipher-type and repo-cipher-pass to the values with which the stanza was created'],
    })
  }
  const sections = new Map<string, ReadSection>()
  const digest = new InfoDigest()
  const envelope = { format: undefined, version: undefined, checksum: undefined } as Record<string, string | undefined>
  let section: ReadSection | undefined
  let line = 0
  for (let start = 0, end = 0; start < bytes.length; start = end + 1) {
    end = bytes.indexOf(0x0a, start)
    if (end < 0) end = bytes.length
    line++
    if (end === start) continue
    if (bytes[start] === 0x5b && bytes[end - 1] === 0x5d) {
      const name = bytes.toString('latin1', start + 1, end - 1)
      if (name === '') throw wrongLine(what, line, 'the section has no name')
      section = sections.get(name) ?? new ReadSection(name, bytes)
      sections.set(name, section)
      continue
    }
    if (section === undefined) throw wrongLine(what, line, 'a key comes before the first section')
    const equals = splitLine(bytes, start, end)
    if (equals < 0) throw wrongLine(what, line, "there is no '=' followed by a JSON value")
    if (equals === start) throw wrongLine(what, line, 'the key is empty')

    if (section.name === 'backrest') {
      const key = bytes.toString('latin1', start, equals)
      const known = key.startsWith('backrest-') ? key.slice(9) : ''
      if (known in envelope) {
        envelope[known] = bytes.toString('latin1', equals + 1, end)
        if (known === 'format') requireFormat(envelope[known], what)
      } else section.add(start, equals + 1, end)
      if (known === 'checksum') continue
    } else section.add(start, equals + 1, end)
    digest.add(section.name, bytes, start, equals, end)
  }
  requireChecksum(envelope.checksum, digest.hex(), what)
  requireFormat(envelope.format, what)
  if (sections.get('backrest')?.length === 0) sections.delete('backrest')
  const version = envelope.version === undefined ? '' : parseJson(envelope.version)
  if (typeof version !== 'string') throw new PgtsError('format', `${what}: backrest-version is not a string`)
  return { backrestVersion: version, sections }
}

/** Finds the first `=` that is followed by one complete JSON value: keys may contain `=`. */
function splitLine(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at++) if (bytes[at] === 0x3d && isJson(bytes, at + 1, end)) return at
  return -1
}

function requireFormat(value: string | undefined, what: string): void {
  if (value !== undefined && value.trim() === String(REPOSITORY_FORMAT)) return
  if (value === undefined) throw new PgtsError('format', `${what} has no repository format`)
  throw new OtherFormatError(what, /^[\x20-\x7e]*$/.test(value) ? value : 'an invalid value')
}

/** A file that another release wrote, in a format that pgts does not know. The wording is that of pgBackRest. */
export class OtherFormatError extends PgtsError {
  /** @param found as in the file */
  constructor(what: string, found: string) {
    super('format', `${what}: expected format ${REPOSITORY_FORMAT} but found ${found}`, {
      hints: ['a newer program wrote it: use that program (for format 6, pgBackRest 2.60 or later)'],
    })
  }
}

function requireChecksum(value: string | undefined, actual: string, what: string): void {
  if (value === undefined) {
    throw new PgtsError('checksum', `${what} has no checksum: it is truncated or not an info file`)
  }
  const expected = parseJson(value)
  if (expected === actual) return
  // This line itself may be corrupt, and random bytes must not be printed.
  const recorded = typeof expected === 'string' && /^[0-9a-f]{40}$/.test(expected) ? expected : 'an invalid value'
  throw new PgtsError('checksum', `${what} is corrupt: its checksum is ${actual}, but it records ${recorded}`, {
    hints: ['do not edit info files: restore the file from its copy'],
  })
}

function wrongLine(what: string, line: number, problem: string): PgtsError {
  return new PgtsError('format', `${what} cannot be read: line ${line}: ${problem}`)
}

/**
 * The text of a file. Sections are sorted by bytes, empty ones omitted; entries keep the given order. Everything is
 * written as a byte string, so for the same values the bytes are those of pgBackRest.
 *
 * @param likelyBytes memory is reserved for; a longer text is copied once or more
 * @throws PgtsError format if a key contains a line break, which the format cannot represent
 */
export function serialiseInfoFile(
  sections: Iterable<InfoSection>,
  backrestVersion: string,
  likelyBytes = BLOCK_SIZE,
): Buffer {
  const own: InfoSection = {
    name: 'backrest',
    entries: [
      ['backrest-format', String(REPOSITORY_FORMAT)],
      ['backrest-version', quoteJson(backrestVersion)],
    ],
  }
  const writer = new InfoWriter(likelyBytes)
  const ordered = [own, ...sections].sort((a, b) => compareBytes(a.name, b.name))
  for (const section of ordered) for (const [key, value] of section.entries) writer.put(section.name, key, value)
  return writer.finish()
}

/** Converts lines to bytes in blocks, so that a million lines need neither one huge string nor a million buffers. */
class InfoWriter {
  readonly #hash = createHash('sha1')
  #bytes: Buffer
  #used = 0
  #section = ''
  #text = ''
  #hashed = '{'

  constructor(likelyBytes: number) {
    this.#bytes = Buffer.allocUnsafeSlow(likelyBytes)
  }

  put(section: string, key: string, value: string): void {
    if (key === '' || key.includes('\n') || key.includes('\0')) {
      throw new PgtsError('format', `the name ${JSON.stringify(key)} cannot be written in the repository format`, {
        hints: ['rename the file or database: names with a line break are not supported'],
      })
    }
    if (section !== this.#section) {
      this.#text += this.#section === '' ? `[${section}]\n` : `\n[${section}]\n`
      this.#hashed += `${this.#section === '' ? '' : '},'}"${section}":{`
      this.#section = section
    } else this.#hashed += ','
    this.#text += `${key}=${value}\n`
    this.#hashed += `${quoteJson(key)}:${value}`
    if (this.#text.length > BLOCK_SIZE) this.#flush()
  }

  finish(): Buffer {
    this.#hashed += '}}'
    this.#flush()
    this.#write(`\n[backrest]\nbackrest-checksum="${this.#hash.digest('hex')}"\n`)
    return this.#bytes.subarray(0, this.#used)
  }

  #flush(): void {
    this.#write(this.#text)
    this.#hash.update(this.#hashed, 'latin1')
    this.#text = ''
    this.#hashed = ''
  }

  #write(text: string): void {
    const end = this.#used + text.length
    if (end > this.#bytes.length) this.#bytes = enlarged(this.#bytes, this.#used, end)
    this.#bytes.write(text, this.#used, 'latin1')
    this.#used = end
  }
}

/** The checksum of a file: SHA-1 of its lines as if they were one JSON object. */
class InfoDigest {
  readonly #hash = createHash('sha1')
  readonly #block = Buffer.allocUnsafe(BLOCK_SIZE)
  #used = 0
  #section = ''

  constructor() {
    this.#text('{')
  }

  add(section: string, bytes: Buffer, keyStart: number, equals: number, end: number): void {
    if (section !== this.#section) {
      this.#text(`${this.#section === '' ? '' : '},'}"${section}":{`)
      this.#section = section
    } else this.#text(',')
    if (needsNoEscape(bytes, keyStart, equals)) {
      this.#text('"')
      this.#bytes(bytes, keyStart, equals)
      this.#text('":')
    } else this.#text(`${quoteJson(bytes.toString('latin1', keyStart, equals))}:`)
    this.#bytes(bytes, equals + 1, end)
  }

  hex(): string {
    this.#text('}}')
    this.#flush()
    return this.#hash.digest('hex')
  }

  #text(text: string): void {
    if (this.#used + text.length > BLOCK_SIZE) this.#flush()
    if (text.length > BLOCK_SIZE) this.#hash.update(text, 'latin1')
    else if (text.length > 8) this.#used += this.#block.write(text, this.#used, 'latin1')
    else for (let i = 0; i < text.length; i++) this.#block[this.#used++] = text.charCodeAt(i)
  }

  #bytes(bytes: Buffer, start: number, end: number): void {
    if (this.#used + end - start > BLOCK_SIZE) this.#flush()
    if (end - start > BLOCK_SIZE) this.#hash.update(bytes.subarray(start, end))
    else this.#used += bytes.copy(this.#block, this.#used, start, end)
  }

  #flush(): void {
    this.#hash.update(this.#block.subarray(0, this.#used))
    this.#used = 0
  }
}

const BLOCK_SIZE = 64 * 1024

function needsNoEscape(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number
    if (byte === 0x22 || byte === 0x5c || (byte >= 0x08 && byte <= 0x0d && byte !== 0x0b)) return false
  }
  return true
}
