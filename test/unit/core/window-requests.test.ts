import { expect, test } from 'vitest'
import { archiveLayout } from '../../../src/core/info/archive-range.ts'
import type { ScannedSegment } from '../../../src/core/window/segment-scan.ts'
import { RecordedTimes } from '../../../src/core/window/recorded.ts'
import { recoverableWindow } from '../../../src/core/window/read.ts'
import { listGroups, refreshIndex } from '../../../src/core/window/times-index.ts'
import { addSegments, type TimesArchive } from '../../../src/core/window/times-store.ts'
import type { BackupEntry } from '../../../src/format/backup-info.ts'
import { archiveFileName, archiveInfoName, walTimesIndexName, walTimesName } from '../../../src/format/repo-path.ts'
import { archivedSegmentName, segmentOfLsn } from '../../../src/format/wal-segment.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { putFile } from '../../../src/storage/whole-file.ts'
import { forwarding } from '../../../src/storage/wrappers.ts'

const SIZE = 16 * 1024 * 1024
const segmentAt = (number: number) => segmentOfLsn(BigInt(number) * BigInt(SIZE), 1, SIZE)

/** An archive of an object store with so many segments, whose commit times are recorded: one a second. */
async function anArchive(segments: number): Promise<TimesArchive> {
  const storage = Object.assign(memoryStorage(), { parallel: 8 })
  const archive = { storage, stanza: 'main', archiveId: '15-1', signal: new AbortController().signal }
  await putFile(storage, archiveInfoName('main'), Buffer.from(''))
  const scanned = Array.from({ length: segments }, (_, number): ScannedSegment => {
    const time = number * 1_000_000
    return { segment: segmentAt(number), segmentSize: SIZE, times: { commits: 1, times: [time, time], points: [] } }
  })
  await addSegments(archive, scanned)
  await refreshIndex(archive, [])
  for (let number = 0; number < segments; number++) {
    const stored = archivedSegmentName(segmentAt(number), '0'.repeat(40), 'zst')
    await putFile(storage, archiveFileName('main', '15-1', stored), Buffer.from(''))
  }
  return archive
}

/** What info reads of it, and the number of its requests. */
async function windowOf(archive: TimesArchive) {
  let requests = 0
  const { storage, signal } = archive
  const counted = forwarding(storage, {
    list: (prefix, options) => {
      requests++
      return storage.list(prefix, options)
    },
    read: (name, options) => {
      requests++
      return storage.read(name, options)
    },
  })
  const backup = {
    archiveStart: segmentAt(0),
    lsnStart: '0/28',
    lsnStop: '0/100',
    timestampStop: 10,
    optionArchiveCopy: false,
  } as unknown as BackupEntry
  const layout = await archiveLayout(counted, 'main', '15-1', signal)
  const request = { ...archive, storage: counted, layout, backups: [backup], mostListings: 8, mostReads: 32 }
  return { window: await recoverableWindow(request), requests }
}

test('info needs as many requests for an archive of 10,000 segments as for one of 1,000', async () => {
  const [small, large] = await Promise.all([windowOf(await anArchive(1000)), windowOf(await anArchive(10_000))])
  expect(small.window).toMatchObject({ from: 11_000_000, to: 999_000_000, gaps: [], unscanned: 0 })
  expect(large.window).toMatchObject({ from: 11_000_000, to: 9_999_000_000, gaps: [], unscanned: 0 })
  // The directories, the first and the last of them, the index, and the newest group.
  expect(large.requests).toBe(5)
  expect(small.requests).toBe(5)
})

test('without its index the newest groups are read, and the index is complete after it is written again', async () => {
  const archive = await anArchive(600)
  const before = (await windowOf(archive)).window
  await archive.storage.remove(walTimesIndexName('main', '15-1'))
  expect((await windowOf(archive)).window).toEqual(before)
  await refreshIndex(archive, [], 1)
  expect((await windowOf(archive)).window).toEqual(before)
  const known = await RecordedTimes.load(archive)
  const directories = ['0000000100000000', '0000000100000001', '0000000100000002']
  expect(directories.map((name) => known.hasWhole(name))).toEqual([false, true, false])
})

test('segments of a lost group are missing, and others are not', async () => {
  const archive = await anArchive(600)
  const [first = ''] = await listGroups(archive)
  await archive.storage.remove(walTimesName('main', '15-1', first))
  await refreshIndex(archive, [first])
  const known = await RecordedTimes.load(archive)
  const all = Array.from({ length: 600 }, (_, number) => segmentAt(number))
  expect([...(await known.missing(all, false))]).toEqual(all.slice(0, 256))
  expect((await windowOf(archive)).window).toMatchObject({ to: 599_000_000, gaps: [], unscanned: 256 })
})
