import { asBytes, type ByteString } from '../util/byte-string.ts'
import { crcOfMore } from './crc32c.ts'

/**
 * Records of the WAL at which recovery can stop. Layouts are the same from PostgreSQL 10 to 18; numbers are
 * little-endian.
 *
 * @see PostgreSQL, src/include/access/xlogrecord.h, xact.h; src/backend/access/rmgrdesc/xactdesc.c
 */
export interface RecoveryStop {
  /**
   * `commit` and `abort` end a transaction, also a prepared one: recovery compares their times with a target time. A
   * target name is compared with restore points only.
   */
  readonly kind: 'commit' | 'abort' | 'restore-point'
  /** Microseconds since 1970, UTC; a safe integer. */
  readonly time: number
  /** Transaction that ends; undefined for a restore point, and if a prepared one is not named in the given bytes. */
  readonly xid?: number
  /** Name of a restore point. */
  readonly name?: ByteString
}

/** Length u32, xid u32, previous record u64, info u8, resource manager u8, padding, CRC-32C u32. */
export const RECORD_HEADER_BYTES = 24
export const XLOG_MANAGER = 0
export const TRANSACTION_MANAGER = 1
export const SWITCH_INFO = 0x40

const RESTORE_POINT_INFO = 0x70
const COMMIT = 0x00
const ABORT = 0x20
const COMMIT_PREPARED = 0x30
const ABORT_PREPARED = 0x40
const HAS_FLAGS = 0x80

/** Marks before the main data. */
const ORIGIN = 253
const TOP_TRANSACTION = 252
export const SHORT_MAIN_DATA = 255
const LONG_MAIN_DATA = 254

/** Microseconds from 1970 to 2000, the epoch of PostgreSQL. */
export const EPOCH = 946_684_800_000_000
const RESTORE_POINT_NAME_BYTES = 64

/** True for records that `decodeStop` understands. */
export function isStop(info: number, manager: number): boolean {
  if (manager === XLOG_MANAGER) return (info & 0xf0) === RESTORE_POINT_INFO
  if (manager !== TRANSACTION_MANAGER) return false
  const kind = info & 0x70
  return kind === COMMIT || kind === ABORT || kind === COMMIT_PREPARED || kind === ABORT_PREPARED
}

/** Number of bytes that always contain the time, or the time and the name. */
export const STOP_BYTES = RECORD_HEADER_BYTES + 3 + 5 + 5 + 8 + RESTORE_POINT_NAME_BYTES

/**
 * @param bytes the record, or at least its first `STOP_BYTES`
 * @param major version of PostgreSQL
 * @returns undefined if it is not understood
 */
export function decodeStop(bytes: Uint8Array, major: number): RecoveryStop | undefined {
  const data = mainDataOf(bytes)
  if (data === undefined || data + 8 > bytes.length) return undefined
  const time = (u32(bytes, data + 4) | 0) * 2 ** 32 + u32(bytes, data) + EPOCH
  // Also refuses times that a number cannot hold exactly.
  if (!Number.isSafeInteger(time) || time < 0) return undefined
  const info = bytes[16]!
  if (bytes[17] === XLOG_MANAGER) {
    const end = data + 8 + RESTORE_POINT_NAME_BYTES
    if (end > bytes.length) return undefined
    const name = Buffer.from(bytes.subarray(data + 8, end)).toString('latin1')
    return { kind: 'restore-point', time, name: asBytes(name.slice(0, `${name}\0`.indexOf('\0'))) }
  }
  const kind = info & 0x70
  const isPrepared = kind === COMMIT_PREPARED || kind === ABORT_PREPARED
  const xid = isPrepared ? preparedXid(bytes, info, data + 8, major) : u32(bytes, 4)
  return { kind: kind === COMMIT || kind === COMMIT_PREPARED ? 'commit' : 'abort', time, xid }
}

/** Offset of the main data; undefined: the record has other parts. */
function mainDataOf(bytes: Uint8Array): number | undefined {
  let at = RECORD_HEADER_BYTES
  while (at < bytes.length) {
    const mark = bytes[at]
    if (mark === SHORT_MAIN_DATA) return at + 2
    if (mark === LONG_MAIN_DATA) return at + 5
    if (mark === ORIGIN) at += 3
    else if (mark === TOP_TRANSACTION) at += 5
    else return undefined
  }
  return undefined
}

const DATABASE = 1 << 0
const SUBTRANSACTIONS = 1 << 1
const RELATION_FILES = 1 << 2
const INVALIDATIONS = 1 << 3
const TWO_PHASE = 1 << 4
const DROPPED_STATISTICS = 1 << 8

/** The transaction of COMMIT PREPARED and ROLLBACK PREPARED is stored behind lists, each with its number of entries. */
function preparedXid(bytes: Uint8Array, info: number, from: number, major: number): number | undefined {
  if ((info & HAS_FLAGS) === 0 || from + 4 > bytes.length) return undefined
  const flags = u32(bytes, from)
  if ((flags & TWO_PHASE) === 0) return undefined
  let at = from + 4 + ((flags & DATABASE) === 0 ? 0 : 8)
  const lists = [
    [SUBTRANSACTIONS, 4],
    [RELATION_FILES, 12],
    [DROPPED_STATISTICS, major >= 18 ? 16 : 12],
    [INVALIDATIONS, 16],
  ] as const
  for (const [bit, entryBytes] of lists) {
    if ((flags & bit) === 0) continue
    if (at + 4 > bytes.length) return undefined
    at += 4 + u32(bytes, at) * entryBytes
  }
  return at + 4 > bytes.length ? undefined : u32(bytes, at)
}

/** @param record all its bytes */
export function hasRightCrc(record: Uint8Array): boolean {
  const state = crcOfMore(0xffffffff, record, RECORD_HEADER_BYTES, record.length)
  return (crcOfMore(state, record, 0, 20) ^ 0xffffffff) >>> 0 === u32(record, 20)
}

/** Without a DataView, whose creation costs more than the reading of a few numbers. */
function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}
