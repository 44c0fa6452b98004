import { PgtsError } from './error.ts'

/** `16/B374D848` as a byte position. */
export function parseLsn(text: string): bigint {
  const parts = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (parts === null)
    throw new PgtsError('format', `'${text}' is not an LSN`, { hints: ['an LSN looks like 0/1200028'] })
  return (BigInt(`0x${parts[1]}`) << 32n) | BigInt(`0x${parts[2]}`)
}

/** As PostgreSQL 9.5 to 18 write it: upper case, no leading zeros. */
export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase()
}

/** Name of the segment that holds the byte at `lsn`. */
export function walFileOf(lsn: bigint, timeline: number, segmentSize: number): string {
  const size = BigInt(segmentSize)
  const perLog = 0x1_0000_0000n / size
  const segment = lsn / size
  const hex = (part: bigint) => part.toString(16).toUpperCase().padStart(8, '0')
  return hex(BigInt(timeline)) + hex(segment / perLog) + hex(segment % perLog)
}
