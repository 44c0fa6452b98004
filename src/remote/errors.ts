import { asBytes, bytesToLines, textToBytes, type ByteString } from '../util/byte-string.ts'
import { EXIT_CODES, PgtsError, toPlainError, type ErrorCode } from '../util/error.ts'
import { bool, byteString, field, integer, list, optional, record, text } from './fields.ts'
import type { Value } from './value.ts'

const MOST_TEXT = 64 * 1024
const MOST_HINTS = 16

const schema = record({
  exitCode: field(1, integer),
  code: field(2, text),
  message: field(3, byteString),
  hints: field(4, list(byteString, MOST_HINTS)),
  denied: optional(5, bool),
})

/** Fields of ERROR. The stack is not sent. */
export function encodeError(error: unknown): Value {
  const { code, message, hints, denied } = toPlainError(error)
  return schema.encode({
    exitCode: EXIT_CODES[code],
    code,
    message: textToBytes(message).slice(0, MOST_TEXT),
    hints: hints.slice(0, MOST_HINTS).map((hint) => textToBytes(hint).slice(0, MOST_TEXT)),
    denied,
  })
}

/** @param display of the connection, which the message names */
export function decodeError(value: Value, display: string): PgtsError {
  const { exitCode, code, message, hints, denied } = schema.decode(value)
  return new PgtsError(codeOf(code, exitCode), `raised from ${display}: ${bytesToLines(message)}`, {
    hints: hints.map(bytesToLines),
    denied,
  })
}

/** A later release may have codes that this one does not know. */
function codeOf(code: string, exitCode: number): ErrorCode {
  if (Object.hasOwn(EXIT_CODES, code)) return code as ErrorCode
  const found = Object.entries(EXIT_CODES).find(([, candidate]) => candidate === exitCode)
  return (found?.[0] as ErrorCode | undefined) ?? 'unknown'
}

/** The first bytes of what another program sent, as text for a message. */
export function shownBytes(bytes: Uint8Array, most = 80): ByteString {
  return asBytes(Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, most)).toString('latin1'))
}
