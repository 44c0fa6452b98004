import { PgtsError } from '../util/error.ts'

/**
 * Unsigned LEB128: 7 bits per byte, lowest group first, the high bit marks that more bytes follow. Implemented with
 * numbers, not shifts: a value above 2^53 does not occur in a repository and is refused.
 */
const MAX_BYTES = 10

export class VarintReader {
  readonly #bytes: Uint8Array
  #at = 0

  /** @param what name of the data, for messages */
  constructor(
    bytes: Uint8Array,
    readonly what: string,
  ) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  next(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < MAX_BYTES; i++, scale *= 128) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) throw this.wrong('it ends too early')
      this.#at++
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break
        return value
      }
    }
    throw this.wrong('a number in it is out of range')
  }

  /** A view of the next bytes. */
  take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw this.wrong('it ends too early')
    return this.#bytes.subarray(this.#at, (this.#at += length))
  }

  wrong(problem: string): PgtsError {
    return new PgtsError('format', `${this.what} is corrupt: ${problem}`)
  }
}

export class VarintWriter {
  #bytes = Buffer.allocUnsafe(4096)
  #length = 0

  /** @param value a safe integer, 0 or more */
  put(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new PgtsError('assert', `cannot write the number ${value} as a varint`)
    this.#reserve(MAX_BYTES)
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.#bytes[this.#length++] = (rest % 128) | 0x80
    this.#bytes[this.#length++] = rest
  }

  putBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  result(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + length))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

/** Maps small numbers of either sign to small numbers: 0, -1, 1, -2 become 0, 1, 2, 3. */
export function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}
