import { expect, test } from 'vitest'
import { timeWindow, type WalPiece, type WindowBackup, type WindowFacts } from '../../../src/core/window/compute.ts'
import { windowText } from '../../../src/cli/render/info-window-text.ts'
import { segmentOfLsn, type WalSegment } from '../../../src/format/wal-segment.ts'

const SIZE = 16 * 1024 * 1024
const HOUR = 3_600_000_000
/** 2026-11-28 00:00:00 UTC */
const DAY = 1_795_824_000_000_000

const name = (number: number, timeline = 1): WalSegment => segmentOfLsn(BigInt(number) * BigInt(SIZE), timeline, SIZE)

/** A segment for each hour: its commits are in the first half of the hour. */
const piece = (number: number, timeline = 1): WalPiece => ({
  first: name(number, timeline),
  last: name(number, timeline),
  times: [DAY + number * HOUR, DAY + number * HOUR + HOUR / 2],
  scanned: true,
})

const pieces = (from: number, to: number, timeline = 1) =>
  Array.from({ length: to - from + 1 }, (_, index) => piece(from + index, timeline))

const backup = (number: number, timeline = 1): WindowBackup => ({
  timeline,
  lsnStart: BigInt(number) * BigInt(SIZE) + 40n,
  lsnStop: BigInt(number) * BigInt(SIZE) + 400n,
  timestampStop: (DAY + number * HOUR + HOUR / 4) / 1_000_000,
  archiveCopy: false,
})

const windowOf = (facts: Partial<WindowFacts>) =>
  timeWindow({ segmentSize: SIZE, parts: [{ timeline: 1 }], pieces: [], backups: [], ...facts })

const hour = (number: number) => DAY + number * HOUR

test('the window begins after the oldest backup and ends at the last commit', () => {
  expect(windowOf({ pieces: pieces(2, 20), backups: [backup(5), backup(9)] })).toEqual({
    from: hour(5) + HOUR / 4 + 1_000_000,
    to: hour(20) + HOUR / 2,
    gaps: [],
    unscanned: 0,
  })
})

test('missing segments are a gap from the last commit before them to the end of the next backup', () => {
  const window = windowOf({ pieces: [...pieces(5, 10), ...pieces(13, 20)], backups: [backup(5), backup(15)] })
  expect(window).toMatchObject({ to: hour(20) + HOUR / 2 })
  expect(window?.gaps).toEqual([
    {
      from: hour(10) + HOUR / 2,
      to: hour(15) + HOUR / 4 + 1_000_000,
      first: name(11),
      last: name(12),
      missing: 2,
    },
  ])
})

test('WAL after a gap without a later backup is out of reach', () => {
  const window = windowOf({ pieces: [...pieces(5, 10), ...pieces(12, 14)], backups: [backup(5)] })
  expect(window).toMatchObject({ to: hour(10) + HOUR / 2 })
  expect(window?.gaps).toEqual([
    { from: hour(10) + HOUR / 2, to: hour(14) + HOUR / 2, first: name(11), last: name(11), missing: 1 },
  ])
})

test('a backup whose own WAL is missing is not part of the window', () => {
  expect(windowOf({ pieces: pieces(6, 9), backups: [backup(5)] })).toBeUndefined()
  expect(windowOf({ pieces: pieces(6, 9), backups: [backup(5), backup(7)] })).toMatchObject({
    from: hour(7) + HOUR / 4 + 1_000_000,
  })
})

test('after a switch only the segments of the new timeline count', () => {
  const parts = [{ timeline: 1, endLsn: BigInt(10 * SIZE) + 900n }, { timeline: 2 }]
  // The old timeline went on to segment 12, which recovery does not read.
  const window = windowOf({ parts, pieces: [...pieces(5, 12), ...pieces(10, 11, 2)], backups: [backup(5)] })
  expect(window).toMatchObject({ to: hour(11) + HOUR / 2, gaps: [] })
  // Without the first segment of the new timeline recovery ends before it.
  const cut = windowOf({ parts, pieces: [...pieces(5, 12), piece(11, 2)], backups: [backup(5)] })
  expect(cut?.gaps).toMatchObject([{ first: name(10, 2), last: name(10, 2), missing: 1 }])
})

test('the window of a backup without later commits has no end, and clocks that jump do not shorten a window', () => {
  const idle = { ...piece(6), times: undefined } as unknown as WalPiece
  const { times: _, ...none } = idle
  expect(windowOf({ pieces: [none], backups: [backup(6)] })).not.toHaveProperty('to')
  const jumped: WalPiece = { ...piece(8), times: [hour(1), hour(2)] }
  expect(windowOf({ pieces: [...pieces(5, 7), jumped], backups: [backup(5)] })).toMatchObject({
    to: hour(7) + HOUR / 2,
  })
})

test('segments that were not scanned are counted, and are no gap', () => {
  const unknown: WalPiece = { first: name(7), last: name(9), scanned: false }
  expect(windowOf({ pieces: [...pieces(5, 6), unknown, piece(10)], backups: [backup(5)] })).toMatchObject({
    to: hour(10) + HOUR / 2,
    gaps: [],
    unscanned: 3,
  })
})

test('the drawn window fits 80 columns in every time zone', () => {
  const window = windowOf({ pieces: [...pieces(5, 10), ...pieces(13, 20)], backups: [backup(5), backup(15)] })!
  const before = process.env['TZ']
  try {
    for (const TZ of ['UTC', 'Asia/Kathmandu']) {
      process.env['TZ'] = TZ
      const text = windowText({ archiveId: '15-1', timeline: 1, ...window }, 'repo12')
      for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
      if (TZ === 'UTC') {
        expect(text).toBe(
          [
            '        recovery window (repo12, timeline 1):',
            '            2026-11-28 05:15:01+00 to 2026-11-28 20:29:59+00',
            `            |${'='.repeat(22)}${'.'.repeat(20)}${'='.repeat(22)}|`,
            '            gap: 2026-11-28 10:29:59+00 to 2026-11-28 15:15:00+00',
            '              missing: 00000001000000000000000B to 00000001000000000000000C',
            '',
          ].join('\n'),
        )
      }
    }
  } finally {
    if (before === undefined) delete process.env['TZ']
    else process.env['TZ'] = before
  }
})
