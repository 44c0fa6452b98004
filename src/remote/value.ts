import { isUtf8 } from 'node:buffer'
import { enlarged } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { MOST_DEPTH, MOST_MESSAGE, MOST_VALUES } from './limits.ts'

/**
 * Values of the protocol: a subset of CBOR (RFC 8949) in which each value has exactly one encoding. Keys of maps are
 * integers from 0 to 255, in ascending order. A bigint that is safe as a number is decoded as a number.
 */
export type Value = null | boolean | number | bigint | string | Uint8Array | readonly Value[] | ValueMap

/** Fields of a message by their numbers. */
export type ValueMap = ReadonlyMap<number, Value>

/** The first three bits of a value. */
const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, simple: 7 } as const
const FALSE = 0xf4
const TRUE = 0xf5
const NULL = 0xf6
const FLOAT64 = 0xfb
/** An object counts as this many values, because it needs that much more memory. */
const OBJECT_COST = 8

/** @throws protocol if the value is too large for a message; assert if it is not a value */
export function encodeValue(value: Value): Buffer {
  const writer = new Writer()
  writer.value(value, 0)
  return writer.bytes()
}

/** Most values are small: they are written here, and copied when their size is known. */
const SCRATCH: Buffer = Buffer.allocUnsafeSlow(16 * 1024)

class Writer {
  #buffer = SCRATCH
  #used = 0

  bytes(): Buffer {
    const bytes = this.#buffer.subarray(0, this.#used)
    return this.#buffer === SCRATCH ? Buffer.from(bytes) : bytes
  }

  value(value: Value, depth: number): void {
    if (value === null) this.#byte(NULL)
    else if (typeof value === 'boolean') this.#byte(value ? TRUE : FALSE)
    else if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'bigint') this.#integer(value)
    else if (typeof value === 'string') this.#text(value)
    else if (value instanceof Uint8Array) this.#bytes(MAJOR.bytes, value)
    else this.#container(value, depth + 1)
  }

  #container(value: readonly Value[] | ValueMap, depth: number): void {
    if (depth > MOST_DEPTH) throw new PgtsError('assert', 'a value of the protocol is nested too deeply')
    if (value instanceof Map) {
      this.#head(MAJOR.map, value.size)
      let last = -1
      for (const [key, item] of value as ValueMap) {
        if (!Number.isInteger(key) || key <= last || key > 255)
          throw new PgtsError('assert', `the key ${key} of a field is not valid after ${last}`)
        last = key
        this.#head(MAJOR.unsigned, key)
        this.value(item, depth)
      }
      return
    }
    const items = value as readonly Value[]
    this.#head(MAJOR.array, items.length)
    for (const item of items) this.value(item, depth)
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      if (value >= 0) this.#head(MAJOR.unsigned, value)
      else this.#head(MAJOR.negative, -1 - value)
      return
    }
    this.#room(9)
    this.#buffer[this.#used++] = FLOAT64
    this.#used = this.#buffer.writeDoubleBE(Number.isNaN(value) ? NaN : value, this.#used)
  }

  #integer(value: bigint): void {
    if (value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER))
      return this.#number(Number(value))
    if (value >= 2n ** 64n || value < -(2n ** 63n)) throw new PgtsError('assert', `${value} has more than 64 bits`)
    this.#room(9)
    this.#buffer[this.#used++] = ((value < 0n ? MAJOR.negative : MAJOR.unsigned) << 5) | 27
    this.#used = this.#buffer.writeBigUInt64BE(value < 0n ? -1n - value : value, this.#used)
  }

  #text(value: string): void {
    const bytes = Buffer.from(value, 'utf8')
    if (/[\ud800-\udfff]/u.test(value)) throw new PgtsError('assert', 'a text of the protocol is not Unicode')
    this.#bytes(MAJOR.text, bytes)
  }

  #bytes(major: number, bytes: Uint8Array): void {
    this.#head(major, bytes.length)
    this.#room(bytes.length)
    this.#buffer.set(bytes, this.#used)
    this.#used += bytes.length
  }

  /** @param argument a safe integer that is not negative */
  #head(major: number, argument: number): void {
    this.#room(9)
    const first = major << 5
    if (argument < 24) this.#buffer[this.#used++] = first | argument
    else if (argument < 0x100) {
      this.#buffer[this.#used++] = first | 24
      this.#buffer[this.#used++] = argument
    } else if (argument < 0x10000) {
      this.#buffer[this.#used++] = first | 25
      this.#used = this.#buffer.writeUInt16BE(argument, this.#used)
    } else if (argument < 0x100000000) {
      this.#buffer[this.#used++] = first | 26
      this.#used = this.#buffer.writeUInt32BE(argument, this.#used)
    } else {
      this.#buffer[this.#used++] = first | 27
      this.#used = this.#buffer.writeBigUInt64BE(BigInt(argument), this.#used)
    }
  }

  #byte(byte: number): void {
    this.#room(1)
    this.#buffer[this.#used++] = byte
  }

  #room(more: number): void {
    const needed = this.#used + more
    if (needed <= this.#buffer.length) return
    if (needed > MOST_MESSAGE + 64) throw tooLarge()
    this.#buffer = enlarged(this.#buffer, this.#used, needed)
  }
}

export function tooLarge(): PgtsError {
  return new PgtsError('protocol', `a message is larger than ${MOST_MESSAGE} bytes`)
}

/**
 * The value of these bytes, which must be exactly one. Byte strings are views of them.
 *
 * @throws protocol if they are not a value, or exceed a limit
 */
export function decodeValue(bytes: Uint8Array): Value {
  const reader = new ValueReader(bytes)
  const value = reader.next()
  if (!reader.atEnd) throw invalid('bytes follow it')
  return value
}

/** Reads values that follow each other. The limits hold for all of them together. */
export class ValueReader {
  readonly #bytes: Buffer
  #at = 0
  #left = MOST_VALUES

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  /** @throws protocol */
  next(): Value {
    return this.#value(0)
  }

  #value(depth: number): Value {
    const first = this.#byte()
    const major = first >> 5
    this.#count(major === MAJOR.unsigned || major === MAJOR.negative || major === MAJOR.simple ? 1 : OBJECT_COST)
    switch (major) {
      case MAJOR.unsigned:
        return this.#argument(first)
      case MAJOR.negative:
        return negative(this.#argument(first))
      case MAJOR.bytes:
        return this.#take(this.#length(first))
      case MAJOR.text:
        return this.#text(this.#length(first))
      case MAJOR.array:
        return this.#array(this.#length(first), depth + 1)
      case MAJOR.map:
        return this.#map(this.#length(first), depth + 1)
      default:
        return this.#simple(first)
    }
  }

  #array(length: number, depth: number): Value[] {
    if (depth > MOST_DEPTH) throw invalid('it is nested too deeply')
    const items: Value[] = []
    for (let i = 0; i < length; i++) items.push(this.#value(depth))
    return items
  }

  #map(length: number, depth: number): ValueMap {
    if (depth > MOST_DEPTH) throw invalid('it is nested too deeply')
    const fields = new Map<number, Value>()
    let last = -1
    for (let i = 0; i < length; i++) {
      const first = this.#byte()
      const key = first >> 5 === MAJOR.unsigned ? Number(this.#argument(first)) : -1
      if (key <= last || key > 255) throw invalid('the key of a field is not valid')
      last = key
      fields.set(key, this.#value(depth))
    }
    return fields
  }

  #text(length: number): string {
    const bytes = this.#take(length)
    if (!isUtf8(bytes)) throw invalid('a text is not UTF-8')
    return bytes.toString('utf8')
  }

  #simple(first: number): Value {
    if (first === NULL) return null
    if (first === TRUE) return true
    if (first === FALSE) return false
    if (first !== FLOAT64) throw invalid(`0x${first.toString(16)} does not begin a value`)
    const bytes = this.#take(8)
    const value = bytes.readDoubleBE()
    const isInteger = Number.isSafeInteger(value) && !Object.is(value, -0)
    if (isInteger || (Number.isNaN(value) && bytes.readBigUInt64BE() !== 0x7ff8000000000000n))
      throw invalid('a number is not in its shortest form')
    return value
  }

  /** Number of bytes or items. Each needs a byte at least, so that no memory is taken for those that are missing. */
  #length(first: number): number {
    const length = this.#argument(first)
    if (typeof length === 'bigint' || length > this.#bytes.length - this.#at) throw invalid('it is truncated')
    return length
  }

  #argument(first: number): number | bigint {
    const form = first & 0x1f
    if (form < 24) return form
    if (form > 27) throw invalid(`0x${first.toString(16)} does not begin a value`)
    const value = this.#integer(1 << (form - 24))
    if (value < SMALLEST[form - 24]!) throw invalid('a number is not in its shortest form')
    return value
  }

  #integer(sizeBytes: number): number | bigint {
    const bytes = this.#take(sizeBytes)
    if (sizeBytes < 8) return bytes.readUIntBE(0, sizeBytes)
    const value = bytes.readBigUInt64BE()
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw invalid('it is truncated')
    return byte
  }

  #take(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw invalid('it is truncated')
    const bytes = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return bytes
  }

  #count(values: number): void {
    this.#left -= values
    if (this.#left < 0) throw invalid(`it has more than ${MOST_VALUES} values`)
  }
}

/** The smallest number that needs 1, 2, 4 and 8 bytes. */
const SMALLEST = [24, 0x100, 0x10000, 0x100000000] as const

function negative(argument: number | bigint): number | bigint {
  if (typeof argument === 'number' && argument < Number.MAX_SAFE_INTEGER) return -1 - argument
  const value = -1n - BigInt(argument)
  if (value < -(2n ** 63n)) throw invalid('a number has more than 64 bits')
  return value
}

function invalid(reason: string): PgtsError {
  return new PgtsError('protocol', `invalid value in a message: ${reason}`)
}
