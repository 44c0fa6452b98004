/** Limits of the protocol, docs/decisions/0051-wire-protocol.md. The other end may be broken or hostile. */

/** Bytes of one payload. */
export const MOST_PAYLOAD = 262_144
/** Bytes of one message, and of all messages of an end that are unfinished or unanswered. */
export const MOST_MESSAGE = 64 * 1024 * 1024
export const MOST_UNANSWERED = 128 * 1024 * 1024
/** Open streams of an end. */
export const MOST_STREAMS = 256
/** Arrays and maps inside each other, and values of one message; see `decodeValue` for what counts as several. */
export const MOST_DEPTH = 16
export const MOST_VALUES = 4_000_000
/** Bytes of a file name. */
export const MOST_NAME = 4096
/** Credit: what a body may send at once, the most that it may send ahead, and what all bodies share beyond the first part. */
export const FIRST_CREDIT = MOST_PAYLOAD
export const MOST_CREDIT = 2 * 1024 * 1024
export const SHARED_CREDIT = 16 * 1024 * 1024
/** Bytes of a line of the greeting. */
export const MOST_GREETING = 1024
/** Bytes of a log record, and records a second. */
export const MOST_LOG = 8192
export const MOST_LOGS_A_SECOND = 1000
/** Time without a frame after which an end sends PING. */
export const PING_AFTER_MS = 30_000
/** Time that the other end has to finish after BYE. */
export const LEAVE_AFTER_MS = 10_000
