import { isUtf8 } from 'node:buffer'

declare const BYTES: unique symbol

interface ByteMethods {
  readonly [BYTES]?: true
  at(index: number): ByteString | undefined
  replace(pattern: string | RegExp, replacement: string): ByteString
  slice(start?: number, end?: number): ByteString
  split(separator: string | RegExp, limit?: number): ByteString[]
}

/**
 * A latin1 string in which one character is one byte: file names, and all data from a repository. Byte strings lose no
 * information, compare like bytes, and are converted to text only for output: `bytesToText` for people, `decodeUtf8` for
 * programs (SQL, JSON, object keys). A byte string in an untagged template, in `+` or in `join` is a lint error, and none
 * is accepted as a message: each would print mojibake if a name is not ASCII. The tag `bytes` builds byte strings.
 *
 * @see docs/decisions/0032-byte-strings.md
 */
export type ByteString = ByteMethods & string

/** Text for people: any string that is not a byte string. */
export type Text = string & { readonly length: number; readonly [BYTES]?: never }

/** Declares a string as a byte string: what Node read with the encoding latin1, or ASCII. */
export function asBytes(latin1: string): ByteString {
  return latin1 as ByteString
}

/** Tag of a template whose values are byte strings, ASCII or numbers: bytes`${directory}/${name}`. */
export function bytes(parts: TemplateStringsArray, ...values: readonly (string | number)[]): ByteString {
  let built = parts[0]!
  for (let i = 0; i < values.length; i++) built += String(values[i]) + parts[i + 1]!
  return asBytes(built)
}

/**
 * Converts to text for messages, log lines and reports. A name can be any bytes and may come from a forged repository,
 * so everything that could control a terminal, break a line or reorder it is escaped: control characters, line ends,
 * bidirectional controls, and bytes that are not UTF-8 (`\xff`).
 */
export function bytesToText(byteString: ByteString): string {
  return isPlain(byteString) ? byteString : escapeText(decodeShown(byteString))
}

/** As `bytesToText`, for text of several lines: line ends are kept. */
export function bytesToLines(byteString: ByteString): string {
  return printableLines(decodeShown(byteString))
}

/** Escapes control characters in text of several lines as `bytesToText` does; line ends and tabs are kept. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE_IN_LINES, escaped)
}

/**
 * Escapes control characters in the strings of JSON text: the form of pgBackRest's files contains them unescaped, which
 * is unsafe on a terminal and invalid for a JSON parser.
 */
export function printableJson(json: string): string {
  return json.replace(
    UNPRINTABLE_IN_LINES,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/**
 * Converts to text for programs without loss: a byte that is not part of a UTF-8 character becomes a lone surrogate,
 * U+DC00 plus the byte, so that `textToBytes` restores every byte.
 */
export function decodeUtf8(byteString: ByteString): string {
  if (isAscii(byteString)) return byteString
  const bytes = Buffer.from(byteString, 'latin1')
  if (isUtf8(bytes)) return bytes.toString('utf8')
  return byteString.replace(UTF8_SEQUENCE, (sequence) =>
    sequence.length === 1
      ? String.fromCharCode(STRAY + sequence.charCodeAt(0))
      : Buffer.from(sequence, 'latin1').toString('utf8'),
  )
}

/** `decodeUtf8` for external data that need not be UTF-8: configuration, arguments, environment. */
export function decodeText(bytes: Uint8Array): string {
  return decodeUtf8(asBytes(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')))
}

/** The inverse of `decodeUtf8`: a character becomes its bytes in UTF-8, a lone U+DC80 to U+DCFF its byte. */
export function textToBytes(text: string): ByteString {
  if (isAscii(text)) return asBytes(text)
  const latin1 = text
    .split(/([\udc80-\udcff])/u)
    .map((part, index) =>
      index % 2 === 1 ? String.fromCharCode(part.charCodeAt(0) - STRAY) : Buffer.from(part, 'utf8').toString('latin1'),
    )
    .join('')
  return asBytes(latin1)
}

/** True if this text contains a byte that is not part of a UTF-8 character. */
export function hasStrayBytes(text: string): boolean {
  return /[\udc80-\udcff]/u.test(text)
}

/** Added to a byte that is not part of a UTF-8 character, which makes it a lone surrogate. */
const STRAY = 0xdc00

/** Path for the functions of `node:fs` from text of `decodeText`, for example an option. */
export function textPath(text: string): string | Buffer {
  return hasStrayBytes(text) ? Buffer.from(textToBytes(text), 'latin1') : text
}

/** Path for the functions of `node:fs`, which accept text or bytes. */
export function pathOf(byteString: ByteString): string | Buffer {
  return isAscii(byteString) ? byteString : Buffer.from(byteString, 'latin1')
}

/** The directory part of an absolute path. */
export function parentOf(path: ByteString): ByteString {
  return path.slice(0, path.lastIndexOf('/')) || asBytes('/')
}

/** Byte order; never locale order. */
export function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false
  return true
}

function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code > 0x7e) return false
  }
  return true
}

/** Decodes UTF-8; other bytes become `\xNN`. */
function decodeShown(byteString: ByteString): string {
  return byteString.replace(BEYOND_ASCII, (run) =>
    run.replace(UTF8_SEQUENCE, (sequence) => (sequence.length === 1 ? hex(sequence) : decodeUtf8(asBytes(sequence)))),
  )
}

const BEYOND_ASCII = /[\x80-\xff]+/g
/** RFC 3629, without ASCII; a byte that is not part of a sequence is a character of its own. */
const UTF8_SEQUENCE =
  /[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\x80-\xff]/g

function escapeText(text: string): string {
  return text.replace(UNPRINTABLE, escaped)
}

/** C0 and C1 controls, line and paragraph separators, bidirectional controls, bytes that are not UTF-8. */
const UNPRINTABLE =
  /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|(?<![\ud800-\udbff])[\udc80-\udcff]/g
const UNPRINTABLE_IN_LINES =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|(?<![\ud800-\udbff])[\udc80-\udcff]/g

function escaped(character: string): string {
  const code = character.charCodeAt(0)
  if (code === 0x0a) return '\\n'
  if (code === 0x09) return '\\t'
  if (code === 0x0d) return '\\r'
  if (code >= STRAY && code <= 0xdcff) return hex(String.fromCharCode(code - STRAY))
  if (code >= 0xdc80 && code <= 0xdcff) return hex(String.fromCharCode(code - STRAY))
  return code < 0x80 ? hex(character) : `\\u${code.toString(16).padStart(4, '0')}`
}

function hex(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
}
