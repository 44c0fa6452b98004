import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { crc32c } from '../../../src/postgres/crc32c.ts'
import { WalPageWalk, type WalFault } from '../../../src/postgres/wal-pages.ts'

const SIZE = 1024 * 1024
const START = 0xfff00000n
const SWITCH = 24

interface Shape {
  readonly pageSize?: number
  /** Lengths of the records, in order; 24 is a switch record. */
  readonly records: readonly number[]
  /** Length of the record that continues from the previous segment, and its last bytes. */
  readonly begun?: Buffer
  /** Of a page, by its index. */
  readonly timelineOf?: (page: number) => number
}

/** The bytes of a switch record. */
function aSwitch(previous = 0n): Buffer {
  const record = Buffer.alloc(SWITCH)
  record.writeUInt32LE(SWITCH, 0)
  record.writeBigUInt64LE(previous, 8)
  record[16] = 0x40
  record.writeUInt32LE(crc32c(record.subarray(0, 20)), 20)
  return record
}

/** A segment with records as PostgreSQL writes them, otherwise zeros. `ends`: offset after the last record. */
function aSegment({ pageSize = 8192, records, begun, timelineOf = () => 1 }: Shape): { bytes: Buffer; ends: number } {
  const bytes = Buffer.alloc(SIZE)
  let at = 0
  const put = (data: Buffer): void => {
    for (let done = 0; done < data.length;) {
      if (at >= SIZE) return
      if (at % pageSize === 0) header(data.length - done, done > 0 || data === begun)
      const room = pageSize - (at % pageSize)
      const length = Math.min(room, data.length - done)
      data.copy(bytes, at, done, done + length)
      at += length
      done += length
    }
    at = Math.min(SIZE, Math.ceil(at / 8) * 8)
  }
  const header = (left: number, continued: boolean): void => {
    const first = at === 0
    bytes.writeUInt16LE(0xd110, at)
    bytes.writeUInt16LE((first ? 2 : 0) | (continued ? 1 : 0), at + 2)
    bytes.writeUInt32LE(timelineOf(at / pageSize), at + 4)
    bytes.writeBigUInt64LE(START + BigInt(at), at + 8)
    bytes.writeUInt32LE(continued ? left : 0, at + 16)
    if (first) {
      bytes.writeBigUInt64LE(7n, 24)
      bytes.writeUInt32LE(SIZE, 32)
      bytes.writeUInt32LE(pageSize, 36)
    }
    at += first ? 40 : 24
  }
  if (begun !== undefined) put(begun)
  for (const length of records) {
    if (length === SWITCH) {
      put(aSwitch())
      continue
    }
    const record = Buffer.alloc(length, 0xaa)
    record.writeUInt32LE(length, 0)
    put(record)
  }
  return { bytes, ends: at }
}

function walk(
  bytes: Uint8Array,
  options: { timeline?: number; chunk?: number; first?: boolean } = {},
): WalFault | undefined {
  const pages = new WalPageWalk({
    startLsn: () => START,
    timeline: options.timeline ?? 1,
    firstHeaderOnly: options.first === true ? true : undefined,
  })
  const size = options.chunk ?? bytes.length
  const buffer = Buffer.alloc(size)
  for (let at = 0; at < bytes.length; at += size) {
    buffer.fill(0xff)
    const piece = bytes.subarray(at, at + size)
    buffer.set(piece)
    pages.push(buffer.subarray(0, piece.length))
  }
  return pages.fault
}

/** A record that ends `left` bytes before the end of page 1. */
const upTo = (left: number) => 8192 - 40 + (8192 - 24) - left

describe('a WAL segment that ends early', () => {
  test.each([400, 24, 16, 8])('is accepted with a switch record %i bytes before the end of a page', (left) => {
    const { bytes } = aSegment({ records: [upTo(left), SWITCH] })
    for (const chunk of [SIZE, 8192, 1000, 65536]) expect(walk(bytes, { chunk })).toBeUndefined()
    // Old content of a recycled file after it is ignored.
    bytes.fill(0x55, 3 * 8192)
    expect(walk(bytes)).toBeUndefined()
  })

  test.each([400, 24, 16, 8])('is refused when the switch record is damaged (%i)', (left) => {
    const { bytes, ends } = aSegment({ records: [upTo(left), SWITCH] })
    bytes[ends - 1] = (bytes[ends - 1] as number) ^ 1
    expect(walk(bytes)).toMatchObject({ zeros: true, what: 'the page has no header, only zeros' })
    expect(walk(bytes, { chunk: 3000 })).toEqual(walk(bytes))
  })

  test('is refused without a switch record: zeros, or pages of another segment', () => {
    const { bytes } = aSegment({ records: [upTo(400)] })
    expect(walk(bytes)).toMatchObject({ offset: 2 * 8192, lsn: START + 16384n, zeros: true })
    aSegment({ records: [SIZE] }).bytes.copy(bytes, 16384, 0, 8192)
    expect(walk(bytes)?.what).toBe('the page has address 0/FFF00000 where 0/FFF04000 belongs')
  })

  test.each([8, 16])(
    'is accepted when the switch record began in the file before, with %i bytes in this one',
    (length) => {
      const { bytes } = aSegment({ begun: aSwitch().subarray(24 - length), records: [] })
      expect(walk(bytes)).toBeUndefined()
      const other = aSegment({ begun: Buffer.alloc(length, 0x11), records: [] })
      expect(walk(other.bytes)).toBeDefined()
    },
  )

  test('is accepted with empty pages after the switch record (10), and refused without that record', () => {
    for (const [records, passes] of [
      [[1000, SWITCH], true],
      [[1000], false],
    ] as const) {
      const { bytes } = aSegment({ records })
      const empty = aSegment({ records: [SIZE] }).bytes
      for (let at = 8192; at < SIZE; at += 8192) {
        empty.copy(bytes, at, at, at + 24)
        bytes.writeUInt16LE(0, at + 2)
        bytes.writeUInt32LE(0, at + 16)
      }
      expect(walk(bytes) === undefined).toBe(passes)
      expect(walk(bytes, { chunk: 20_000 })).toEqual(walk(bytes))
    }
  })

  test('is refused when its last page is not full', () => {
    const { bytes, ends } = aSegment({ records: [SIZE - 128 * 24 - 16 - 4000, 1000] })
    expect(ends).toBeGreaterThan(SIZE - 8192)
    expect(walk(bytes)).toMatchObject({ offset: ends, what: 'the records end', zeros: true })
  })
})

describe('timelines of a WAL segment', () => {
  const mixed = (timelineOf: (page: number) => number) => aSegment({ records: [SIZE], timelineOf }).bytes

  test('older ones are accepted first, later or decreasing ones are refused', () => {
    expect(
      walk(
        mixed((page) => (page < 5 ? 1 : 3)),
        { timeline: 3 },
      ),
    ).toBeUndefined()
    expect(
      walk(
        mixed(() => 2),
        { timeline: 3 },
      ),
    ).toBeUndefined()
    expect(
      walk(
        mixed(() => 4),
        { timeline: 3 },
      )?.what,
    ).toContain('later than timeline 3')
    expect(
      walk(
        mixed((page) => (page === 7 ? 1 : 2)),
        { timeline: 3 },
      ),
    ).toMatchObject({ offset: 7 * 8192 })
  })
})

test('a record without its end is accepted when the next page has the flag for it', () => {
  const { bytes } = aSegment({ records: [SIZE] })
  const page = 20 * 8192
  bytes.writeUInt16LE(0x0008, page + 2)
  bytes.writeUInt32LE(0, page + 16)
  expect(walk(bytes)).toBeUndefined()
  bytes.writeUInt16LE(0, page + 2)
  expect(walk(bytes)).toMatchObject({ offset: page })
})

test('only the first header of a partial segment is checked', () => {
  const { bytes } = aSegment({ records: [100] })
  bytes.fill(0x55, 8192)
  expect(walk(bytes)).toBeDefined()
  expect(walk(bytes, { first: true })).toBeUndefined()
  bytes.writeUInt32LE(9, 4)
  expect(walk(bytes, { first: true })).toBeDefined()
})

test('segments with records, pages and chunks of any size are accepted', () => {
  const lengths = fc.array(fc.oneof(fc.integer({ min: 25, max: 300 }), fc.integer({ min: 25, max: 60_000 })), {
    minLength: 1,
    maxLength: 100,
  })
  fc.assert(
    fc.property(
      lengths,
      fc.constantFrom(1024, 8192, 65536),
      fc.integer({ min: 500, max: 200_000 }),
      fc.boolean(),
      (records, pageSize, chunk, full) => {
        const { bytes } = aSegment({ pageSize, records: [...records, full ? SIZE : SWITCH] })
        expect(walk(bytes)).toBeUndefined()
        expect(walk(bytes, { chunk })).toBeUndefined()
      },
    ),
    { numRuns: 40 },
  )
})
