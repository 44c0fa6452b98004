import { createHash, randomBytes } from 'node:crypto'
import { lsnOfSegment, parseWalSegment } from '../../../src/format/wal-segment.ts'
import type { LogMethod, Logger, MessageLevel } from '../../../src/util/log.ts'

/** Facts of the cluster that synthetic segments and stanzas belong to. */
export const aSystemId = 7_123_456_789_012_345_678n

export interface SegmentFacts {
  /** Of the segment (or partial one) that it is, for its page addresses: as if segments had 1 MiB. Default: the first one. */
  readonly name?: string
  /** Default: PostgreSQL 15. */
  readonly magic?: number
  readonly flags?: number
  readonly timeline?: number
  readonly systemId?: bigint
  /** Segment size in the header, bytes. */
  readonly headerSize?: number
  /** Size of the file, bytes; default 1 MiB. */
  readonly sizeBytes?: number
}

/** A WAL segment with true pages, a record of random content on each, a quarter of it (or more) zeros so that it compresses. */
export function aSegment(facts: SegmentFacts = {}): Buffer {
  const size = facts.sizeBytes ?? MIB
  const bytes = Buffer.alloc(size)
  randomBytes(Math.min(Math.ceil((size * 3) / 4), MIB)).copy(bytes)
  const headerSize = facts.headerSize ?? size
  const start = lsnOfSegment(parseWalSegment((facts.name ?? '000000010000000000000001').slice(0, 24)), MIB)
  const address = (start / BigInt(MIB)) * BigInt(headerSize)
  for (let at = 0; at + 40 <= size; at += 8192) {
    bytes.writeUInt16LE(facts.magic ?? 0xd110, at)
    bytes.writeUInt16LE(at === 0 ? (facts.flags ?? 0x0002) : 0, at + 2)
    bytes.writeUInt32LE(facts.timeline ?? 1, at + 4)
    bytes.writeBigUInt64LE(address + BigInt(at), at + 8)
    bytes.writeUInt32LE(0, at + 16)
    bytes.writeUInt32LE(0, at + 20)
    // One record that fills the page, and points to the previous one.
    const header = at === 0 ? 40 : 24
    if (at + 64 > size) continue
    bytes.writeUInt32LE(8192 - header, at + header)
    // Of the heap: at random, every 256th would be of a transaction, with a wrong checksum.
    bytes[at + header + 17] = 10
    if (at > 0) bytes.writeBigUInt64LE(address + BigInt(at - 8192 + (at === 8192 ? 40 : 24)), at + header + 8)
  }
  if (size < 40) return bytes
  bytes.writeBigUInt64LE(facts.systemId ?? aSystemId, 24)
  bytes.writeUInt32LE(headerSize, 32)
  bytes.writeUInt32LE(8192, 36)
  return bytes
}

const MIB = 1024 * 1024

export function sha1(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex')
}

/** A logger that records: `lines` are `level: message`. */
export interface RecordedLog extends Logger {
  readonly lines: string[]
}

export function recordingLog(): RecordedLog {
  const lines: string[] = []
  const method =
    (level: MessageLevel): LogMethod =>
    (first: object | string, second?: string) => {
      lines.push(`${level}: ${typeof first === 'string' ? first : second}`)
    }
  return {
    lines,
    error: method('error'),
    warn: method('warn'),
    info: method('info'),
    detail: method('detail'),
    debug: method('debug'),
    trace: method('trace'),
    enabled: () => true,
  }
}
