import { asBytes, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { MOST_NAME } from './limits.ts'
import type { Value, ValueMap } from './value.ts'

/** The type of a field or message: declared once, it converts in both directions. */
export interface Schema<T> {
  /** Its type as text; a test compares those of all verbs with the ones of each protocol number. */
  readonly shape: string
  encode(value: T): Value
  /** @throws protocol if the value has another type, or an unknown or missing field */
  decode(value: Value): T
}

export type TypeOf<S> = S extends Schema<infer T> ? T : never

/** Valid Unicode. For file names and everything else that can be any bytes: `name`, `byteString`. */
export const text: Schema<string> = {
  shape: 'text',
  encode: (value) => value,
  decode: (value) => (typeof value === 'string' ? value : wrong('text', value)),
}

export const byteString: Schema<ByteString> = {
  shape: 'byteString',
  encode: (value) => Buffer.from(value, 'latin1'),
  decode: (value) => asBytes(bytesOf(value).toString('latin1')),
}

/** A file name or path. */
export const name: Schema<ByteString> = {
  shape: 'name',
  encode: byteString.encode,
  decode: (value) => {
    if (bytesOf(value).length > MOST_NAME) throw invalid(`a name has more than ${MOST_NAME} bytes`)
    return byteString.decode(value)
  },
}

/** Decoded it is a view of the message. */
export const binary: Schema<Uint8Array> = { shape: 'binary', encode: (value) => value, decode: bytesOf }

export const bool: Schema<boolean> = {
  shape: 'bool',
  encode: (value) => value,
  decode: (value) => (typeof value === 'boolean' ? value : wrong('boolean', value)),
}

/** A safe integer. */
export const integer: Schema<number> = {
  shape: 'integer',
  encode: (value) => value,
  decode: (value) => (Number.isSafeInteger(value) ? (value as number) : wrong('integer', value)),
}

/** A safe integer from `least` to `most`. */
export const integerIn = (least: number, most: number): Schema<number> => ({
  ...integer,
  decode: (value) => {
    const number = integer.decode(value)
    if (number >= least && number <= most) return number
    throw invalid(`integer from ${least} to ${most} expected, not ${number}`)
  },
})

/** From -2^63 to 2^64 - 1. */
export const int64: Schema<bigint> = {
  shape: 'int64',
  encode: (value) => value,
  decode: (value) =>
    typeof value === 'bigint' ? value : Number.isSafeInteger(value) ? BigInt(value as number) : wrong('integer', value),
}

/** Any number, for example milliseconds with a fraction. */
export const real: Schema<number> = {
  shape: 'real',
  encode: (value) => value,
  decode: (value) => (typeof value === 'number' ? value : wrong('number', value)),
}

/** Not interpreted. A bigint that is safe as a number is decoded as a number. */
export const any: Schema<Value> = { shape: 'any', encode: (value) => value, decode: (value) => value }

export function nullable<T>(of: Schema<T>): Schema<T | null> {
  return {
    shape: `${of.shape}|null`,
    encode: (value) => (value === null ? null : of.encode(value)),
    decode: (value) => (value === null ? null : of.decode(value)),
  }
}

/** @param most number of items that are accepted */
export function list<T>(of: Schema<T>, most = Infinity): Schema<readonly T[]> {
  return {
    shape: `[${of.shape}]`,
    encode: (items) => items.map((item) => of.encode(item)),
    decode: (value) => {
      if (!Array.isArray(value)) return wrong('list', value)
      if (value.length > most) throw invalid(`a list has more than ${most} items`)
      return (value as readonly Value[]).map((item) => of.decode(item))
    },
  }
}

/** One of several words, sent as a number: `choice({ file: 0, path: 1 })`. */
export function choice<const C extends Readonly<Record<string, number>>>(numbers: C): Schema<keyof C & string> {
  const words = new Map<Value, keyof C & string>(Object.entries(numbers).map(([word, number]) => [number, word]))
  return {
    shape: Object.entries(numbers)
      .map(([word, number]) => `${number}=${word}`)
      .join('|'),
    encode: (word) => numbers[word]!,
    decode: (value) => words.get(value) ?? wrong(`one of ${[...words.values()].join(', ')}`, value),
  }
}

/** A field of a record. A number is never used again with another meaning. */
export interface Field<T, O extends boolean> {
  readonly key: number
  readonly of: Schema<T>
  readonly isOptional: O
}

export function field<T>(key: number, of: Schema<T>): Field<T, false> {
  return { key, of, isOptional: false }
}

/** Not sent if undefined. */
export function optional<T>(key: number, of: Schema<T>): Field<T, true> {
  return { key, of, isOptional: true }
}

type Fields = Readonly<Record<string, Field<unknown, boolean>>>
type RecordOf<F> = {
  readonly [K in keyof F as F[K] extends Field<unknown, false> ? K : never]: F[K] extends Field<infer T, false>
    ? T
    : never
} & {
  readonly [K in keyof F as F[K] extends Field<unknown, false> ? never : K]?: F[K] extends Field<infer T, true>
    ? T | undefined
    : never
}

/** `record({ name: field(1, name), offset: optional(2, integer) })` */
export function record<const F extends Readonly<Record<string, unknown>>>(fields: F): Schema<RecordOf<F>> {
  const rows = Object.entries(fields as Fields)
    .map(([property, row]) => ({ property, ...row }))
    .sort((a, b) => a.key - b.key)
  return {
    shape: `{${rows.map(({ key, property, of, isOptional }) => `${key} ${property}${isOptional ? '?' : ''}: ${of.shape}`).join(', ')}}`,
    encode: (value) => {
      const encoded = new Map<number, Value>()
      for (const { property, key, of } of rows) {
        const item = (value as Readonly<Record<string, unknown>>)[property]
        if (item !== undefined) encoded.set(key, of.encode(item))
      }
      return encoded
    },
    decode: (value) => {
      if (!(value instanceof Map)) return wrong('record', value)
      const decoded: Record<string, unknown> = {}
      let known = 0
      for (const { property, key, of, isOptional } of rows) {
        const item = (value as ValueMap).get(key)
        if (item === undefined) {
          if (!isOptional) throw invalid(`field ${key} (${property}) is missing`)
          continue
        }
        known++
        decoded[property] = of.decode(item)
      }
      if (known < value.size) throw invalid('a field is unknown')
      return decoded as RecordOf<F>
    },
  }
}

/** A message without fields. */
export const nothing: Schema<Readonly<Record<never, never>>> = record({})

type Variants = Readonly<Record<string, readonly [number, Schema<unknown>]>>
type VariantOf<V> = {
  [K in keyof V]: V[K] extends readonly [number, Schema<infer T>] ? { readonly kind: K; readonly value: T } : never
}[keyof V]

/** One of several types: `variant({ file: [1, record(...)], bundle: [2, record(...)] })`. */
export function variant<const V extends Readonly<Record<string, readonly [number, unknown]>>>(
  variants: V,
): Schema<VariantOf<V>> {
  const rows = Object.entries(variants as unknown as Variants).map(([kind, [number, of]]) => ({ kind, number, of }))
  return {
    shape: `<${rows.map(({ number, kind, of }) => `${number} ${kind}: ${of.shape}`).join(', ')}>`,
    encode: ({ kind, value }) => {
      const row = rows.find((candidate) => candidate.kind === kind)!
      return [row.number, row.of.encode(value)]
    },
    decode: (value) => {
      const [number, content] = Array.isArray(value) && value.length === 2 ? (value as readonly Value[]) : []
      const row = rows.find((candidate) => candidate.number === number)
      if (row === undefined || content === undefined) return wrong('variant', value)
      return { kind: row.kind, value: row.of.decode(content) } as VariantOf<V>
    },
  }
}

/** A type that is sent as another one. `decode` may reject it. */
export function sentAs<T, S>(of: Schema<S>, encode: (value: T) => S, decode: (sent: S) => T): Schema<T> {
  return {
    shape: of.shape,
    encode: (value) => of.encode(encode(value)),
    decode: (value) => decode(of.decode(value)),
  }
}

function bytesOf(value: Value): Buffer {
  return Buffer.isBuffer(value) ? value : value instanceof Uint8Array ? Buffer.from(value) : wrong('byte string', value)
}

function wrong(expected: string, value: Value): never {
  const found = value === null ? 'null' : value instanceof Uint8Array ? 'byte string' : typeof value
  throw invalid(`${expected} expected, not ${found}`)
}

function invalid(reason: string): PgtsError {
  return new PgtsError('protocol', `invalid message: ${reason}`)
}
