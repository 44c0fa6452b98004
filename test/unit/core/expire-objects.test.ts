import { expect, test } from 'vitest'
import { expireRepository } from '../../../src/core/expire/run.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { objectStorage } from '../../../src/storage/object/storage.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { memoryObjects } from '../../support/stores/object-client.ts'
import {
  fillRepository,
  namesOf,
  segment,
  segments,
  type TestRepository,
  repositoryWith,
} from '../../support/builders/repository.ts'
import { recordingLogger } from '../../support/builders/restore-context.ts'

// The same retention on a disk-like storage and on an object store: both keep the same files, with few requests.
const site: TestRepository = {
  backups: [
    { label: '20260101-000000F', wal: [segment(2), segment(3)] },
    { label: '20260101-000000F_20260102-000000D', wal: [segment(12), segment(12)] },
    { label: '20260201-000000F', wal: [segment(700), segment(701)] },
    { label: '20260301-000000F', wal: [segment(1500), segment(1501)] },
  ],
  wal: { '15-1': [...segments(1, 1600), '00000001.history'] },
}

const expire = (storage: StorageDriver, log = recordingLogger()) =>
  expireRepository({
    repository: repositoryWith(storage),
    stanza: 'main',
    policy: { fullType: 'count', full: 1, archiveType: 'full', historyDays: 0 },
    choice: {},
    nowMs: Date.now(),
    dryRun: false,
    refusePageErrors: true,
    linkLatest: true,
    log,
    signal: new AbortController().signal,
  })

test('expire keeps the same files in an object store as on disk, and removes in batches', async () => {
  const objects = memoryObjects()
  const [far, near] = [objectStorage(objects, { path: '/repo' }), memoryStorage()]
  await fillRepository(far, site)
  await fillRepository(near, site)
  const before = objects.requests.length
  objects.delayMs = 1
  const [farReport, nearReport] = [await expire(far), await expire(near)]
  expect(farReport).toEqual(nearReport)
  expect((await namesOf(far)).sort()).toEqual((await namesOf(near)).sort())
  const requests = objects.requests.slice(before)
  expect(
    requests.filter(({ kind }) => kind === 'remove').flatMap(({ name }) => name.split(',')).length,
  ).toBeGreaterThan(1499)
  expect(requests.length).toBeLessThan(45)
  // Requests that are known to be needed at the beginning are sent together.
  expect(objects.mostInFlight).toBeGreaterThanOrEqual(5)
})

test('a batch that fails for one file is an error that names the file, and its WAL is not reported as removed', async () => {
  const objects = memoryObjects()
  const storage = objectStorage(objects, { path: '/' })
  await fillRepository(storage, site)
  const kept = [...objects.objects.keys()].find((name) => name.includes(segment(20)))!
  objects.kept.add(kept)
  await expect(expire(storage)).rejects.toMatchObject({ code: 'file-remove', message: expect.stringContaining(kept) })
  objects.kept.clear()
  await expire(storage)
  expect(objects.objects.has(kept)).toBe(false)
})

test('unfinished uploads are aborted after days, newer ones are kept, and a denied listing is no error', async () => {
  const objects = memoryObjects()
  const storage = objectStorage(objects, { path: '/repo' })
  await fillRepository(storage, site)
  const begun = [4, 0].map(async (days) => {
    objects.uploadsBegunMs = Date.now() - days * 24 * 3_600_000
    await objects.upload(`repo/backup/main/x/${days}`, { kind: 'data' })
  })
  await Promise.all(begun)
  expect(objects.openUploads).toBe(2)
  objects.fault = ({ kind }) => (kind === 'abort' ? { error: new PgtsError('access', 'forbidden') } : undefined)
  await expire(storage)
  expect(objects.openUploads).toBe(2)
  objects.fault = () => undefined
  const log = recordingLogger()
  await expire(storage, log)
  expect(objects.openUploads).toBe(1)
  expect(log.lines.join('\n')).toContain('aborted 1 incomplete uploads')
})
