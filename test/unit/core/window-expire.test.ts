import { expect, test } from 'vitest'
import { expireTimes } from '../../../src/core/window/expire.ts'
import type { ScannedSegment } from '../../../src/core/window/segment-scan.ts'
import { listGroups, loadIndex, refreshIndex } from '../../../src/core/window/times-index.ts'
import { addSegments, loadGroup } from '../../../src/core/window/times-store.ts'
import { archiveInfoName } from '../../../src/format/repo-path.ts'
import { segmentOfLsn } from '../../../src/format/wal-segment.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { putFile } from '../../../src/storage/whole-file.ts'

const SIZE = 16 * 1024 * 1024

test('what is known about removed segments is removed, in whole groups and in parts of a group', async () => {
  const archive = {
    storage: memoryStorage(),
    stanza: 'main',
    archiveId: '15-1',
    cipherPass: 'secret',
    signal: new AbortController().signal,
  }
  const scanned = Array.from({ length: 700 }, (_, number): ScannedSegment => {
    const segment = segmentOfLsn(BigInt(number) * BigInt(SIZE), 1, SIZE)
    return { segment, segmentSize: SIZE, times: { commits: 1, times: [number, number], points: [] } }
  })
  // As in a directory whose file system is not mounted: nothing is created.
  expect(await addSegments(archive, scanned)).toEqual([])
  expect(await listGroups(archive)).toEqual([])

  await putFile(archive.storage, archiveInfoName('main'), Buffer.from(''))
  expect(await addSegments(archive, scanned)).toHaveLength(3)
  await refreshIndex(archive, [])
  const first = '0000000100000000000000'
  const second = '0000000100000001000000'
  const third = '0000000100000002000000'
  expect([...(await loadIndex(archive))!.rows.keys()]).toEqual([first, second])
  expect((await loadIndex(archive))!.rows.get(second)).toMatchObject({ count: 256, times: [256, 511], incomplete: 0 })

  await expireTimes(archive, [
    { start: '0000000100000000', stop: '0000000100000000' },
    { start: `${second}00`, stop: `${second}0F` },
  ])
  expect(await listGroups(archive)).toEqual([second, third])
  expect((await loadGroup(archive, second))!.segments.size).toBe(240)
  expect([...(await loadIndex(archive))!.rows.keys()]).toEqual([second])
  expect((await loadIndex(archive))!.rows.get(second)).toMatchObject({ first: `${second}10`, count: 240 })
  // Another passphrase reads nothing, and is no error.
  expect(await loadGroup({ ...archive, cipherPass: 'other' }, second)).toBeUndefined()
})
