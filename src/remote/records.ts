import { bytesToLines, textToBytes } from '../util/byte-string.ts'
import type { RemoteLog } from './connection.ts'
import { byteString, choice, field, integer, optional, record } from './fields.ts'
import { MOST_LOG, MOST_LOGS_A_SECOND } from './limits.ts'
import { encodeValue, type Value } from './value.ts'

const schema = record({
  level: field(1, choice({ error: 1, warn: 2, info: 3, detail: 4, debug: 5, trace: 6 })),
  message: field(2, byteString),
  process: optional(3, integer),
})
/** Level, number of the worker and the lengths of the fields. */
const OVERHEAD = 64

export function encodeLog({ level, message, process }: RemoteLog): Buffer {
  return encodeValue(schema.encode({ level, message: textToBytes(message).slice(0, MOST_LOG - OVERHEAD), process }))
}

export function decodeLog(value: Value): RemoteLog {
  const { level, message, process } = schema.decode(value)
  return { level, message: bytesToLines(message), process }
}

/** Counts the records of a second, in either direction. */
export class LogLimit {
  #second = 0
  #records = 0
  #dropped = 0

  /** False: the record is dropped. */
  admit(): boolean {
    const second = Math.floor(performance.now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#records = 0
    }
    if (++this.#records <= MOST_LOGS_A_SECOND) return true
    this.#dropped++
    return false
  }

  /** The number of dropped records since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped
    this.#dropped = 0
    return dropped
  }
}
