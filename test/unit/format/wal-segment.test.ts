import { describe, expect, test } from 'vitest'
import * as wal from '../../../src/format/wal-segment.ts'

const MiB = 1024 * 1024
const segment = wal.parseWalSegment

describe('segment arithmetic', () => {
  test.each([
    ['000000010000000000000012', 16 * MiB, '000000010000000000000013'],
    ['0000000100000000000000FF', 16 * MiB, '000000010000000100000000'],
    ['000000010000000000000FFF', MiB, '000000010000000100000000'],
    ['000000020000000A00000003', 1024 * MiB, '000000020000000B00000000'],
    ['0000000A00000000000000FE', 16 * MiB, '0000000A00000000000000FF'],
  ])('%s at %d is followed by %s', (from, size, to) => {
    expect(wal.nextWalSegment(segment(from), size)).toBe(to)
  })
  test.each([
    ['0/1200028', 1, 16 * MiB, '000000010000000000000001'],
    ['0/FF000000', 3, 16 * MiB, '0000000300000000000000FF'],
    ['1/0', 1, 16 * MiB, '000000010000000100000000'],
    ['2/7FFFFFFF', 1, 64 * MiB, '00000001000000020000001F'],
    ['FFFFFFFF/FFFFFFFF', 0xffffffff, MiB, 'FFFFFFFFFFFFFFFF00000FFF'],
  ])('LSN %s on timeline %d with %d bytes lies in %s', (lsn, timeline, size, name) => {
    expect(wal.segmentOfLsn(wal.parseLsn(lsn), timeline, size)).toBe(name)
  })
  test.each(Array.from({ length: 11 }, (_, power) => 2 ** power))('segments of %d MiB follow each other', (size) => {
    const bytes = size * MiB
    const perLog = 4096 / size
    const last = `0000000100000002${(perLog - 1).toString(16).toUpperCase().padStart(8, '0')}`
    expect(wal.segmentOfLsn(wal.parseLsn('2/FFFFFFFF'), 1, bytes)).toBe(last)
    expect(wal.nextWalSegment(segment(last), bytes)).toBe('000000010000000300000000')
    expect(wal.lsnOfSegment(segment(last), bytes)).toBe(3n * 2n ** 32n - BigInt(bytes))
    const all = [...wal.segmentsBetween(segment('000000010000000100000000'), segment(last), bytes)]
    expect(all).toHaveLength(2 * perLog)
    expect(new Set(all).size).toBe(2 * perLog)
    expect(all).toEqual([...all].sort())
    for (const one of all.slice(0, 3)) expect(wal.segmentOfLsn(wal.lsnOfSegment(one, bytes), 1, bytes)).toBe(one)
    // One more than fits into a log does not exist.
    const beyond = `0000000100000002${perLog.toString(16).toUpperCase().padStart(8, '0')}`
    expect(() => wal.lsnOfSegment(segment(beyond), bytes)).toThrow(/does not exist/)
  })
  test('a range crosses the log boundary and includes both ends', () => {
    const range = [...wal.segmentRange(wal.parseLsn('0/FE000028'), wal.parseLsn('1/1000000'), 1, 16 * MiB)]
    expect(range).toEqual([
      '0000000100000000000000FE',
      '0000000100000000000000FF',
      '000000010000000100000000',
      '000000010000000100000001',
    ])
    expect([...wal.segmentsBetween(range[0]!, range[3]!, 16 * MiB)]).toEqual(range)
  })
  test('invalid segment names and sizes are refused', () => {
    expect(() => [...wal.segmentRange(2n, 1n, 1, 16 * MiB)]).toThrow(expect.objectContaining({ code: 'assert' }))
    expect(() => wal.segmentOfLsn(0n, 1, 3 * MiB)).toThrow(/power of two/)
    expect(() => wal.nextWalSegment(segment('000000010000000000000100'), 16 * MiB)).toThrow(/does not exist/)
    expect(() => segment('00000001000000000000001g')).toThrow(/not the name of a WAL segment/)
  })
})

test('LSNs are 64-bit and print as PostgreSQL prints them', () => {
  expect(wal.parseLsn('16/B374D848')).toBe(0x16b374d848n)
  expect(wal.formatLsn(0x16b374d848n)).toBe('16/B374D848')
  expect(wal.formatLsn(0n)).toBe('0/0')
  for (const text of ['', '0', '0/', '/0', '0/123456789', 'x/0', '0/0 ']) {
    expect(() => wal.parseLsn(text)).toThrow(expect.objectContaining({ code: 'format' }))
  }
})

describe('names', () => {
  const sha1 = 'a'.repeat(40)
  test.each([
    [`000000010000000000000012-${sha1}`, { partial: false, compressType: 'none' }],
    [`000000010000000000000012-${sha1}.gz`, { partial: false, compressType: 'gz' }],
    [`000000010000000000000012.partial-${sha1}.zst`, { partial: true, compressType: 'zst' }],
    [`000000010000000000000012-${sha1}.bz2`, { partial: false, compressType: 'bz2' }],
  ])('%s', (name, expected) => {
    expect(wal.parseArchivedSegment(name)).toEqual({ segment: '000000010000000000000012', checksum: sha1, ...expected })
  })
  test.each([
    `000000010000000000000012`,
    `000000010000000000000012-${sha1}.xz`,
    `000000010000000000000012-${sha1}.gz.pgbackrest.tmp`,
    `000000010000000000000012-${sha1.toUpperCase()}`,
    `000000010000000000000012.00000028.backup`,
    `00000002.history`,
  ])('%s is not an archived segment', (name) => {
    expect(wal.parseArchivedSegment(name)).toBeUndefined()
  })
  test('file kinds of the archive are recognised by name', () => {
    expect(wal.isSegmentOrPartial('000000010000000000000012.partial')).toBe(true)
    expect(wal.isWalSegment('000000010000000000000012.partial')).toBe(false)
    expect(wal.isTimelineHistoryFile('0000000A.history')).toBe(true)
    expect(wal.isTimelineHistoryFile('0000000a.history')).toBe(false)
    expect(wal.isBackupHistoryFile('000000010000000000000012.00000028.backup')).toBe(true)
    expect(wal.timelineHistoryFile(26)).toBe('0000001A.history')
    expect(wal.archivedSegmentName('000000010000000000000012.partial', sha1, 'lz4')).toBe(
      `000000010000000000000012.partial-${sha1}.lz4`,
    )
  })
})

describe('timeline history', () => {
  test('lists ancestors with their switch points', () => {
    const text =
      '1\t0/16000000\tno recovery target specified\n\n# comment\n2\t0/1700050\tbefore 2026-11-22 06:25:13+00\n'
    expect(wal.parseTimelineHistory(text)).toEqual([
      { timeline: 1, switchLsn: 0x16000000n, reason: 'no recovery target specified' },
      { timeline: 2, switchLsn: 0x1700050n, reason: 'before 2026-11-22 06:25:13+00' },
    ])
    expect(wal.parseTimelineHistory('')).toEqual([])
    expect(wal.parseTimelineHistory('1\tFFFFFFFF/FFFFFFFF\tx')[0]?.switchLsn).toBe(0xffffffffffffffffn)
  })
  test.each(['x', '1', '1\t0', '2\t0/1\ta\n1\t0/2\tb', '1\t0/1\n1\t0/2'])('%j is refused', (text) => {
    expect(() => wal.parseTimelineHistory(text)).toThrow(expect.objectContaining({ code: 'format' }))
  })
})
