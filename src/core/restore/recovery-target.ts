import { formatLsn, parseLsn } from '../../format/wal-segment.ts'
import { asBytes, bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { parseTimeTarget } from './time-target.ts'

/** A valid recovery target. Values that the server would misinterpret or ignore are refused before. */
export interface RecoveryTarget {
  /** As written to the settings; a byte string. */
  readonly text: ByteString
  /** For a time: seconds since the epoch. */
  readonly seconds?: number
  /** True if a time was given without a zone. */
  readonly assumedLocal?: boolean
  readonly lsn?: bigint
}

export type TargetType = 'lsn' | 'name' | 'time' | 'xid'

/**
 * @param text byte string
 * Throws `format` [029] for a time or an LSN, `option-invalid-value` [032] for a transaction id or a name.
 */
export function parseTarget(type: TargetType, text: ByteString): RecoveryTarget {
  switch (type) {
    case 'time': {
      const target = parseTimeTarget(bytesToText(text))
      return { ...target, text: asBytes(target.text) }
    }
    case 'lsn': {
      const lsn = parseLsn(bytesToText(text))
      return { text: asBytes(formatLsn(lsn)), lsn }
    }
    case 'xid':
      return { text: parseXid(text) }
    case 'name':
      return { text: parseName(text) }
  }
}

const FIRST_NORMAL_XID = 3n

/**
 * Returned in decimal: servers read a leading zero as octal, and any other text as transaction 0, which never occurs.
 * With an epoch in its upper half (pg_current_xact_id) the number has 64 bits.
 */
function parseXid(text: ByteString): ByteString {
  const xid = /^([0-9]+|0x[0-9a-f]+)$/i.test(text) ? BigInt(text) : -1n
  if (xid >= 0n && xid < 1n << 64n && (xid & 0xffff_ffffn) >= FIRST_NORMAL_XID) return bytes`${String(xid)}`
  throw new PgtsError('option-invalid-value', `invalid target '${bytesToText(text)}': not a transaction id`, {
    hints: [
      'use a number of at least 3, as shown by pg_current_xact_id() or pg_waldump',
      'use --type=name for a restore point, --type=time for a time, --type=lsn for a position in the WAL',
    ],
  })
}

/** Limit of pg_create_restore_point; servers refuse to start with a longer name. */
const MOST_NAME_BYTES = 63

function parseName(text: ByteString): ByteString {
  if (text !== '' && text.length <= MOST_NAME_BYTES) return text
  throw new PgtsError(
    'option-invalid-value',
    `invalid target '${bytesToText(text)}': the name of a restore point has 1 to 63 bytes`,
    {
      hints: ['use the name that was given to pg_create_restore_point()'],
    },
  )
}

/**
 * `current`, `latest` or a number, returned in decimal: servers read a leading zero as octal. Throws `db-mismatch`
 * [058].
 */
export function parseTargetTimeline(text: ByteString): ByteString {
  if (text === 'current' || text === 'latest') return text
  const number = /^(0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(text) ? Number(text) : NaN
  if (number >= 1 && number <= 0xffffffff) return bytes`${number}`
  throw new PgtsError('db-mismatch', `invalid target timeline '${bytesToText(text)}'`, {
    hints: ["use 'current', 'latest', or a number such as 3 or 0xA"],
  })
}

/** Returns a value of `recovery-option` as it is written; a target is parsed like `--target`. Byte strings. */
export function checkedSetting(key: string, value: ByteString): ByteString {
  // The server treats an empty value as not set.
  if (value === '') return value
  switch (key) {
    case 'recovery_target_lsn':
      return parseTarget('lsn', value).text
    case 'recovery_target_name':
      return parseTarget('name', value).text
    case 'recovery_target_xid':
      return parseTarget('xid', value).text
    case 'recovery_target_timeline':
      return parseTargetTimeline(value)
    default:
      return value
  }
}
