import { expect, test } from 'vitest'
import type { ScannedSegment } from '../../../src/core/window/segment-scan.ts'
import { addSegments, loadGroup, type TimesArchive } from '../../../src/core/window/times-store.ts'
import { archiveInfoName } from '../../../src/format/repo-path.ts'
import { lsnOfSegment, type WalSegment } from '../../../src/format/wal-segment.ts'
import { groupOf, type SegmentTimes } from '../../../src/format/wal-times.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { putFile } from '../../../src/storage/whole-file.ts'

const SIZE = 1024 * 1024
const BEFORE = '0000000100000000000000FF' as WalSegment
const AFTER = '000000010000000000000100' as WalSegment
/** 2026-11-29 14:02:11.123456 UTC, microseconds since 1970. */
const TIME = Date.UTC(2026, 10, 29, 14, 2, 11) * 1000 + 123_456

/** A commit of transaction 741, without origin and lists (xlogrecord.h, xact.h). */
function commitRecord(): Buffer {
  const record = Buffer.alloc(34)
  record.writeUInt32LE(34, 0)
  record.writeUInt32LE(741, 4)
  record.writeUInt8(1, 17)
  record.writeUInt8(255, 24)
  record.writeUInt8(8, 25)
  record.writeBigInt64LE(BigInt(TIME) - 946_684_800_000_000n, 26)
  return record
}

function parts(hereBytes: number): readonly [ScannedSegment, ScannedSegment] {
  const record = commitRecord()
  const lsn = lsnOfSegment(AFTER, SIZE) - BigInt(hereBytes)
  const none = { commits: 0, points: [] }
  const head: SegmentTimes = { ...none, head: { lsn, totalBytes: 34, hereBytes, bytes: record.subarray(0, hereBytes) } }
  const rest: SegmentTimes = { ...none, rest: { remainingBytes: 34 - hereBytes, bytes: record.subarray(hereBytes) } }
  return [
    { segment: BEFORE, segmentSize: SIZE, times: head },
    { segment: AFTER, segmentSize: SIZE, times: rest },
  ]
}

async function recorded(...batches: readonly (readonly ScannedSegment[])[]) {
  const { signal } = new AbortController()
  const archive: TimesArchive = { storage: memoryStorage(), stanza: 'main', archiveId: '15-1', signal }
  await putFile(archive.storage, archiveInfoName('main'), Buffer.from(''))
  for (const batch of batches) await addSegments(archive, batch)
  const load = async (segment: WalSegment) => (await loadGroup(archive, groupOf(segment)))?.segments.get(segment)
  return { before: await load(BEFORE), after: await load(AFTER) }
}

test.each([8, 24, 32])(
  'a commit with %i bytes before the border of two groups counts in the later one',
  async (bytes) => {
    const [one, two] = parts(bytes)
    const expected = {
      before: { commits: 0, points: [] },
      after: { commits: 1, times: [TIME, TIME], xids: [741, 741], points: [] },
    }
    expect(await recorded([one, two])).toEqual(expected)
    expect(await recorded([one], [two])).toEqual(expected)
    expect(await recorded([two], [one])).toEqual(expected)
  },
)
