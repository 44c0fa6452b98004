import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SegmentScan } from '../../../src/core/window/segment-scan.ts'
import { parseWalTimes } from '../../../src/format/wal-times.ts'
import { parseWalSegment, type WalSegment } from '../../../src/format/wal-segment.ts'
import { crc32c } from '../../../src/postgres/crc32c.ts'
import { aSegment } from '../../support/builders/wal.ts'

const NAME = parseWalSegment('000000010000000000000001')
const MIB = 1024 * 1024

function scan(content: Uint8Array, name: WalSegment = NAME) {
  const one = new SegmentScan(name)
  one.push(content)
  return one.result()
}

/** A segment whose second page holds commits, one at each of these times (microseconds since 2000), and then one filler. */
function withCommits(times: readonly bigint[]): Buffer {
  const segment = aSegment()
  const start = BigInt(MIB)
  let at = 8192 + 24
  let previous = start + 40n
  for (const [index, time] of times.entries()) {
    const record = Buffer.alloc(40)
    record.writeUInt32LE(34, 0)
    record.writeUInt32LE(700 + index, 4)
    record.writeBigUInt64LE(previous, 8)
    record[17] = 1
    record[24] = 255
    record[25] = 8
    record.writeBigInt64LE(time, 26)
    record.writeUInt32LE(crc32c(Buffer.concat([record.subarray(24, 34), record.subarray(0, 20)])), 20)
    record.copy(segment, at)
    previous = start + BigInt(at)
    at += 40
  }
  segment.writeUInt32LE(2 * 8192 - at, at)
  segment.writeBigUInt64LE(previous, at + 8)
  segment.writeUInt16LE(0x0a00, at + 16)
  segment.writeBigUInt64LE(start + BigInt(at), 2 * 8192 + 24 + 8)
  return segment
}

const COMMITS = [5_000_000n, 3_000_000n, 9_000_000n]
const EPOCH = 946_684_800_000_000

test('the scan finds the commits of a segment, whatever the order of their times', () => {
  expect(scan(withCommits(COMMITS))).toEqual({
    segment: NAME,
    segmentSize: MIB,
    times: { commits: 3, times: [EPOCH + 3_000_000, EPOCH + 9_000_000], xids: [700, 702], points: [] },
  })
})

test('a time with a wrong checksum is not used, and ends the scan', () => {
  const segment = withCommits(COMMITS)
  segment[8192 + 24 + 80 + 30]! ^= 1
  expect(scan(segment)?.times).toEqual({ commits: 0, points: [], incomplete: true })
})

test('a record of the former content of a file, which points elsewhere, ends the scan', () => {
  const segment = withCommits(COMMITS)
  segment.writeBigUInt64LE(0x77n, 8192 + 24 + 80 + 8)
  expect(scan(segment)?.times).toMatchObject({ commits: 2, incomplete: true })
})

test('a segment of an unknown version, of another size or of random bytes is no error', () => {
  expect(scan(aSegment({ magic: 0xd0ff }))?.times).toMatchObject({ commits: 0, incomplete: true })
  expect(scan(Buffer.alloc(MIB))).toBeUndefined()
  expect(scan(Buffer.alloc(10))).toBeUndefined()
  expect(scan(aSegment().subarray(0, 100_000))?.times).toMatchObject({ incomplete: true })
})

test('no change of a segment makes the scan fail', () => {
  const segment = withCommits(COMMITS)
  const change = fc.record({ at: fc.nat(3 * 8192 - 1), value: fc.nat(255) })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      const changed = Buffer.from(segment)
      for (const { at, value } of changes) changed[at] = value
      scan(changed)
    }),
    { numRuns: 300 },
  )
})

test('a stored file that is not one of ours counts as missing', () => {
  for (const text of ['', '{', '[]', '{"version":2}', '{"version":1,"segmentSize":1048576,"segments":{"00":{}}}'])
    expect(parseWalTimes(text, NAME.slice(0, 22))).toBeUndefined()
})
