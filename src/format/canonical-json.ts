import { PgtsError } from '../util/error.ts'
import { compareBytes } from '../util/byte-string.ts'

/**
 * The JSON of repository format 5: integers only, exact to 64 bits, keys in byte order, only the escapes of
 * `quoteJson`. All text is byte strings (latin1): one character is one byte.
 */
export type JsonValue = null | boolean | number | bigint | string | readonly JsonValue[] | JsonObject

/** A Map, because an object would move numeric keys to the front. */
export type JsonObject = ReadonlyMap<string, JsonValue>

/**
 * Parses one complete value. Whitespace, `\/`, `\uXXXX` and repeated keys (the last wins) are accepted; fractions,
 * exponents and text after the value are not. An integer that a double cannot represent becomes a bigint.
 *
 * @throws PgtsError json-format
 */
export function parseJson(text: string): JsonValue {
  const reader = new Reader(text)
  const value = reader.value(0)
  reader.skipSpace()
  if (reader.at !== text.length) throw reader.wrong('characters after the value')
  return value
}

/** Compact text; keys of a Map are sorted by bytes. `undefined` members are omitted. */
export function serialiseJson(value: JsonValue): string {
  switch (typeof value) {
    case 'string':
      return quoteJson(value)
    case 'number':
      return integerText(value)
    case 'bigint':
    case 'boolean':
      return String(value)
  }
  if (value === null) return 'null'
  if (value instanceof Map) {
    const members = [...(value as JsonObject)].sort(([a], [b]) => compareBytes(a, b))
    return `{${members.map(([key, member]) => `"${plainKey(key)}":${serialiseJson(member)}`).join(',')}}`
  }
  return `[${(value as readonly JsonValue[]).map(serialiseJson).join(',')}]`
}

/** A JSON string. Only `" \ \n \r \t \b \f` are escaped; all other bytes are written unchanged. */
export function quoteJson(text: string): string {
  return needsEscape.test(text) ? `"${text.replace(toEscape, (char) => ESCAPES[char] as string)}"` : `"${text}"`
}

/** Decimal text of an integer; a fraction, NaN or a number beyond 2^53 (rounded already) is a bug of the caller. */
export function integerText(value: number): string {
  if (!Number.isSafeInteger(value)) throw new PgtsError('assert', `${value} is not an exact integer`)
  return String(value)
}

/** Member names are never escaped in this format, so a name that would need it cannot be written. */
function plainKey(key: string): string {
  if (needsEscape.test(key)) {
    throw new PgtsError('json-format', `the name ${JSON.stringify(key)} cannot be a JSON member of this format`, {
      hints: ['remove quotes, backslashes and control characters'],
    })
  }
  return key
}

const needsEscape = /["\\\n\r\t\b\f]/
const toEscape = /["\\\n\r\t\b\f]/g
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
}
const UNESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  n: '\n',
  r: '\r',
  t: '\t',
  b: '\b',
  f: '\f',
}

/** Deeper than any value of the format; prevents hostile input from exhausting the stack. */
const MAX_DEPTH = 32

const I64_MIN = -(2n ** 63n)
const U64_MAX = 2n ** 64n - 1n

class Reader {
  at = 0
  constructor(readonly text: string) {}

  value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) throw this.wrong('nested too deeply')
    this.skipSpace()
    const char = this.text[this.at]
    switch (char) {
      case '{':
        return this.#object(depth)
      case '[':
        return this.#array(depth)
      case '"':
        return this.#string()
      case 't':
        return this.#word('true', true)
      case 'f':
        return this.#word('false', false)
      case 'n':
        return this.#word('null', null)
    }
    return this.#integer()
  }

  skipSpace(): void {
    while (isSpace(this.text.charCodeAt(this.at))) this.at++
  }

  wrong(what: string): PgtsError {
    return new PgtsError('json-format', `invalid JSON: ${what} at character ${this.at + 1}`)
  }

  #object(depth: number): JsonObject {
    const members = new Map<string, JsonValue>()
    this.at++
    this.skipSpace()
    if (this.#take('}')) return members
    for (;;) {
      this.skipSpace()
      const key = this.#key()
      this.skipSpace()
      if (!this.#take(':')) throw this.wrong("expected ':'")
      members.set(key, this.value(depth + 1))
      this.skipSpace()
      if (this.#take('}')) return members
      if (!this.#take(',')) throw this.wrong("expected ',' or '}'")
    }
  }

  #array(depth: number): JsonValue[] {
    const items: JsonValue[] = []
    this.at++
    this.skipSpace()
    if (this.#take(']')) return items
    for (;;) {
      items.push(this.value(depth + 1))
      this.skipSpace()
      if (this.#take(']')) return items
      if (!this.#take(',')) throw this.wrong("expected ',' or ']'")
    }
  }

  #key(): string {
    if (this.text[this.at] !== '"') throw this.wrong('expected a member name')
    const end = this.text.indexOf('"', this.at + 1)
    const key = this.text.slice(this.at + 1, end)
    if (end < 0) throw this.wrong('unfinished member name')
    if (key.includes('\\')) throw this.wrong('escape in a member name')
    this.at = end + 1
    return key
  }

  #string(): string {
    const start = ++this.at
    let result = ''
    let plain = start
    for (; this.at < this.text.length; this.at++) {
      const char = this.text[this.at]
      if (char === '"') return result + this.text.slice(plain, this.at++)
      if (char !== '\\') continue
      result += this.text.slice(plain, this.at) + this.#escape()
      plain = this.at + 1
    }
    throw this.wrong('unfinished string')
  }

  /** Called at the backslash; ends at the last character of the escape. */
  #escape(): string {
    const letter = this.text[++this.at] ?? ''
    const plain = UNESCAPES[letter]
    if (plain !== undefined) return plain
    const hex = /^[0-9a-fA-F]{4}$/.exec(this.text.slice(this.at + 1, this.at + 5))
    if (letter !== 'u' || hex === null) throw this.wrong('unknown escape')
    this.at += 4
    return Buffer.from(String.fromCharCode(parseInt(hex[0], 16)), 'utf8').toString('latin1')
  }

  #integer(): number | bigint {
    const start = this.at
    if (this.text[this.at] === '-') this.at++
    const digits = this.at
    while (isDigit(this.text.charCodeAt(this.at))) this.at++
    if (this.at === digits) throw this.wrong('expected a value')
    const next = this.text[this.at]
    if (next === '.' || next === 'e' || next === 'E') throw this.wrong('only integers are allowed')
    const text = this.text.slice(start, this.at)
    const value = Number(text)
    if (Number.isSafeInteger(value)) return value + 0
    const big = this.at - digits > 20 ? U64_MAX + 1n : BigInt(text)
    if (big < I64_MIN || big > U64_MAX) throw this.wrong('integer beyond 64 bits')
    return big
  }

  #word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) throw this.wrong('expected a value')
    this.at += word.length
    return value
  }

  #take(char: string): boolean {
    if (this.text[this.at] !== char) return false
    this.at++
    return true
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}
