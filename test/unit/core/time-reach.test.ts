import { expect, test } from 'vitest'
import { timeReach } from '../../../src/core/window/time-reach.ts'
import type { WalPiece, WindowFacts } from '../../../src/core/window/compute.ts'
import type { WalSegment } from '../../../src/format/wal-segment.ts'

const SIZE = 16 * 1024 * 1024
const segment = (number: number, timeline = 1) =>
  `0000000${timeline}00000000${number.toString(16).toUpperCase().padStart(8, '0')}` as WalSegment
const piece = (number: number, times?: readonly [number, number], more: Partial<WalPiece> = {}): WalPiece => ({
  first: segment(number),
  last: segment(number),
  scanned: true,
  ...(times === undefined ? {} : { times }),
  ...more,
})
const facts = (...pieces: WalPiece[]): WindowFacts => ({
  segmentSize: SIZE,
  parts: [{ timeline: 1 }],
  pieces,
  backups: [],
})
/** From segment 3 to 4. */
const backup = { lsnStart: BigInt(3 * SIZE + 40), lsnStop: BigInt(4 * SIZE + 100) }
const at = (micros: number, exclusive = false) => ({ micros, exclusive })

test('a time is reached in the first segment with a later commit, and not before the last one', () => {
  const wal = facts(piece(3, [1, 10]), piece(4, [11, 20]), piece(5), piece(6, [25, 30]))
  expect(timeReach(wal, backup, at(19))).toEqual({ kind: 'reached', segment: segment(4) })
  expect(timeReach(wal, backup, at(20))).toEqual({ kind: 'reached', segment: segment(6) })
  expect(timeReach(wal, backup, at(29))).toEqual({ kind: 'reached', segment: segment(6) })
  expect(timeReach(wal, backup, at(30))).toEqual({ kind: 'beyond', last: 30, exclusive: false })
  // Recovery that is exclusive stops before a commit of the same time.
  expect(timeReach(wal, backup, at(30, true))).toEqual({ kind: 'reached', segment: segment(6) })
})

test('a clock that jumped back does not hide an earlier commit that is later than the target', () => {
  expect(timeReach(facts(piece(3), piece(4, [1, 50]), piece(5, [10, 20])), backup, at(30))).toMatchObject({
    kind: 'reached',
  })
})

test('a later commit behind missing WAL is not reached, and segments that were not scanned leave it open', () => {
  const gap = facts(piece(3), piece(4, [1, 20]), piece(6, [25, 30]))
  expect(timeReach(gap, backup, at(22))).toEqual({ kind: 'beyond', last: 20, exclusive: false })
  const unknown = facts(piece(3), piece(4, [1, 20]), piece(5, undefined, { scanned: false }))
  expect(timeReach(unknown, backup, at(22))).toEqual({ kind: 'unknown' })
  expect(timeReach(facts(piece(7, [1, 20])), backup, at(5))).toEqual({ kind: 'unknown' })
  expect(timeReach(facts(piece(3), piece(4)), backup, at(5))).toEqual({ kind: 'beyond', exclusive: false })
})

test('recovery follows the timelines of the facts', () => {
  const switched: WindowFacts = {
    ...facts(piece(3), piece(4, [1, 20]), piece(5, [21, 90])),
    parts: [{ timeline: 1, endLsn: BigInt(5 * SIZE + 8) }, { timeline: 2 }],
  }
  const second = { ...piece(5, [22, 40]), first: segment(5, 2), last: segment(5, 2) }
  const wal = { ...switched, pieces: [...switched.pieces, second] }
  expect(timeReach(wal, backup, at(30))).toEqual({ kind: 'reached', segment: segment(5, 2) })
  expect(timeReach(wal, backup, at(50))).toEqual({ kind: 'beyond', last: 40, exclusive: false })
})
