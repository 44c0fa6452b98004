import { createHash, randomBytes } from 'node:crypto'
import type { LogMethod, Logger, MessageLevel } from '../../src/util/log.ts'

/** Facts of the cluster that synthetic segments and stanzas belong to. */
export const aSystemId = 7_123_456_789_012_345_678n

export interface SegmentFacts {
  /** Default: PostgreSQL 15. */
  readonly magic?: number
  readonly flags?: number
  readonly timeline?: number
  readonly systemId?: bigint
  /** What the header claims, bytes. */
  readonly headerSize?: number
  /** What the file has, bytes; default 1 MiB. */
  readonly sizeBytes?: number
}

/** A WAL segment with a true header and random content, a quarter of it zeros so that it compresses. */
export function aSegment(facts: SegmentFacts = {}): Buffer {
  const size = facts.sizeBytes ?? 1024 * 1024
  const bytes = Buffer.concat([randomBytes(Math.ceil((size * 3) / 4)), Buffer.alloc(size)]).subarray(0, size)
  if (size < 40) return bytes
  bytes.writeUInt16LE(facts.magic ?? 0xd110, 0)
  bytes.writeUInt16LE(facts.flags ?? 0x0002, 2)
  bytes.writeUInt32LE(facts.timeline ?? 1, 4)
  bytes.writeBigUInt64LE(0x1000000n, 8)
  bytes.writeUInt32LE(0, 16)
  bytes.writeUInt32LE(0, 20)
  bytes.writeBigUInt64LE(facts.systemId ?? aSystemId, 24)
  bytes.writeUInt32LE(facts.headerSize ?? size, 32)
  bytes.writeUInt32LE(8192, 36)
  return bytes
}

export function sha1(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex')
}

/** A logger that remembers: `lines` are `level: message`. */
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
