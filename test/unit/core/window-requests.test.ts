import { expect, test } from 'vitest'
import { archiveLayout } from '../../../src/core/info/archive-range.ts'
import type { ScannedSegment } from '../../../src/core/window/segment-scan.ts'
import { RecordedTimes } from '../../../src/core/window/recorded.ts'
import { rebuildTimes } from '../../../src/core/window/rebuild.ts'
import { recoverableWindow } from '../../../src/core/window/read.ts'
import { listGroups, refreshIndex } from '../../../src/core/window/times-index.ts'
import { expireTimes } from '../../../src/core/window/expire.ts'
import { addSegments, type TimesArchive } from '../../../src/core/window/times-store.ts'
import type { BackupEntry } from '../../../src/format/backup-info.ts'
import { archiveFileName, archiveInfoName, walTimesIndexName, walTimesName } from '../../../src/format/repo-path.ts'
import { archivedSegmentName, segmentOfLsn } from '../../../src/format/wal-segment.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { putFile } from '../../../src/storage/whole-file.ts'
import { forwarding } from '../../../src/storage/wrappers.ts'
import { archiveInfoOf, repositoryWith } from '../../support/builders/repository.ts'

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

/** Names the requests that read. */
function countedStorage(storage: StorageDriver, requests: string[]): StorageDriver {
  return forwarding(storage, {
    list: (prefix, options) => {
      requests.push(`list ${prefix}`)
      return storage.list(prefix, options)
    },
    read: (name, options) => {
      requests.push(`read ${name}`)
      return storage.read(name, options)
    },
  })
}

/** What info reads of it, and the number of its requests. */
async function windowOf(archive: TimesArchive) {
  const requests: string[] = []
  const { storage, signal } = archive
  const counted = countedStorage(storage, requests)
  const backup = {
    archiveStart: segmentAt(0),
    lsnStart: '0/28',
    lsnStop: '0/100',
    timestampStop: 10,
    optionArchiveCopy: false,
  } as unknown as BackupEntry
  const layout = await archiveLayout(counted, 'main', '15-1', signal)
  const request = { ...archive, storage: counted, layout, backups: [backup], mostListings: 8, mostReads: 32 }
  const window = await recoverableWindow(request)
  return { window, requests: requests.length }
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

/** Looks for segments that are not recorded. */
async function rebuild({ storage, stanza, signal }: TimesArchive, settledMs?: number) {
  const requests: string[] = []
  let scans = 0
  const recorded = rebuildTimes({
    repository: repositoryWith(countedStorage(storage, requests)),
    stanza,
    archiveInfo: archiveInfoOf(),
    settledMs,
    openExecutor: () => {
      scans++
      throw new Error('a segment is read')
    },
    mostSegments: 256,
    deadlineMs: Infinity,
    nowMs: () => 0,
    signal,
  })
  return { recorded: await recorded.catch((error: unknown) => String(error)), requests, scans }
}

test('looking for segments that are not recorded reads the index once, and lists one directory', async () => {
  const archive = await anArchive(600)
  expect(await rebuild(archive)).toEqual({
    recorded: 0,
    scans: 0,
    requests: [
      ...[`read ${walTimesIndexName('main', '15-1')}`, 'list archive/main/15-1'],
      `read ${walTimesName('main', '15-1', '0000000100000002000000')}`,
      'list archive/main/15-1/0000000100000002',
    ],
  })
})

test('segments that a process on this host has archived just now are left to it', async () => {
  const archive = await anArchive(600)
  const stored = archivedSegmentName(segmentAt(600), '0'.repeat(40), 'zst')
  await putFile(archive.storage, archiveFileName('main', '15-1', stored), Buffer.from(''))
  expect(await rebuild(archive)).toMatchObject({ recorded: 'Error: a segment is read', scans: 1 })
  expect(await rebuild(archive, Date.now() - 30_000)).toMatchObject({ recorded: 0, scans: 0 })
})

test('forgetting removed segments lists the groups and reads the index once', async () => {
  const archive = await anArchive(600)
  const requests: string[] = []
  const removed = [{ start: segmentAt(0), stop: segmentAt(300) }]
  await expireTimes({ ...archive, storage: countedStorage(archive.storage, requests) }, removed)
  expect(requests.filter((request) => request.startsWith('list'))).toHaveLength(1)
  expect(requests.filter((request) => request.endsWith('index.json'))).toHaveLength(1)
})
