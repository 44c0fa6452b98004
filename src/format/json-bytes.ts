/**
 * Validates JSON in the bytes of a file without creating strings: for files with a million values. `parseJson` accepts
 * the same, except for integers beyond 64 bits.
 */

/** True if the text from `start` to `end` is one complete value, with only whitespace around it. */
export function isJson(bytes: Uint8Array, start: number, end: number): boolean {
  const after = skipJson(bytes, skipJsonSpace(bytes, start, end), end, 0)
  return after >= 0 && skipJsonSpace(bytes, after, end) === end
}

/** Position after the value that begins at `at`, or -1 if it is invalid. */
export function skipJson(bytes: Uint8Array, at: number, end: number, depth = 0): number {
  if (at >= end || depth > MAX_DEPTH) return -1
  switch (bytes[at]) {
    case OPEN_BRACE:
      return skipObject(bytes, at, end, depth)
    case OPEN_BRACKET:
      return skipArray(bytes, at, end, depth)
    case QUOTE:
      return skipString(bytes, at, end)
    case 0x74:
      return skipWord(bytes, at, end, TRUE)
    case 0x66:
      return skipWord(bytes, at, end, FALSE)
    case 0x6e:
      return skipWord(bytes, at, end, NULL)
  }
  return skipInteger(bytes, at, end)
}

export function skipJsonSpace(bytes: Uint8Array, at: number, end: number): number {
  while (at < end) {
    const byte = bytes[at]
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d && byte !== 0x0a) break
    at++
  }
  return at
}

export const QUOTE = 0x22
export const BACKSLASH = 0x5c
export const COLON = 0x3a
export const COMMA = 0x2c
export const OPEN_BRACE = 0x7b
export const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

/** The same limit as in canonical-json.ts, for the same reason. */
const MAX_DEPTH = 32

const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const NULL = Buffer.from('null')
const ESCAPE_LETTERS = new Set(Buffer.from('"\\/nrtbf'))

function skipObject(bytes: Uint8Array, at: number, end: number, depth: number): number {
  at = skipJsonSpace(bytes, at + 1, end)
  if (bytes[at] === CLOSE_BRACE && at < end) return at + 1
  for (;;) {
    at = skipKey(bytes, at, end)
    if (at < 0) return -1
    at = skipJsonSpace(bytes, at, end)
    if (at >= end || bytes[at] !== COLON) return -1
    at = skipJson(bytes, skipJsonSpace(bytes, at + 1, end), end, depth + 1)
    if (at < 0) return -1
    at = skipJsonSpace(bytes, at, end)
    if (at >= end) return -1
    if (bytes[at] === CLOSE_BRACE) return at + 1
    if (bytes[at] !== COMMA) return -1
    at = skipJsonSpace(bytes, at + 1, end)
  }
}

function skipArray(bytes: Uint8Array, at: number, end: number, depth: number): number {
  at = skipJsonSpace(bytes, at + 1, end)
  if (bytes[at] === CLOSE_BRACKET && at < end) return at + 1
  for (;;) {
    at = skipJson(bytes, at, end, depth + 1)
    if (at < 0) return -1
    at = skipJsonSpace(bytes, at, end)
    if (at >= end) return -1
    if (bytes[at] === CLOSE_BRACKET) return at + 1
    if (bytes[at] !== COMMA) return -1
    at = skipJsonSpace(bytes, at + 1, end)
  }
}

/** A member name: a string without escapes. */
function skipKey(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end || bytes[at] !== QUOTE) return -1
  for (at++; at < end; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) return at + 1
    if (byte === BACKSLASH || byte === 0) return -1
  }
  return -1
}

function skipString(bytes: Uint8Array, at: number, end: number): number {
  for (at++; at < end; at++) {
    const byte = bytes[at] as number
    if (byte === QUOTE) return at + 1
    if (byte === 0) return -1
    if (byte !== BACKSLASH) continue
    const letter = bytes[++at] ?? 0
    if (ESCAPE_LETTERS.has(letter)) continue
    if (letter !== 0x75) return -1
    for (const last = at + 4; at < last; at++) if (!isHexDigit(bytes[at + 1] ?? 0)) return -1
  }
  return -1
}

function skipInteger(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] === 0x2d) at++
  const first = at
  while (at < end && isDigit(bytes[at] as number)) at++
  return at === first ? -1 : at
}

function skipWord(bytes: Uint8Array, at: number, end: number, word: Uint8Array): number {
  if (at + word.length > end) return -1
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) return -1
  return at + word.length
}

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}

export function isHexDigit(byte: number): boolean {
  return isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66)
}
