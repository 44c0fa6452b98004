import { expect, test } from 'vitest'
import type { CopyFileJob, CopyFilesJob } from '../../../../src/core/backup/copy-job.ts'
import { JobNames } from '../../../../src/core/serve/job-names.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { getFile, putFile } from '../../../../src/storage/whole-file.ts'
import { asBytes } from '../../../../src/util/byte-string.ts'

const REFUSED = { code: 'access', exitCode: 105 }
const NEW = 'backup/main/20260102-030405F/pg_data/base/1/2.gz'
const LEFT = 'backup/main/20260102-030405F/pg_data/base/1/3.gz'
const PRIOR = 'backup/main/20260101-030405F/bundle/1'
const OTHER = 'backup/main/backup.info'

const file = (more: Partial<CopyFileJob>): CopyFileJob => ({
  index: 0,
  name: asBytes('pg_data/base/1/2'),
  pgName: '/pg/base/1/2',
  sizeBytes: 8192,
  sizeLimited: true,
  control: false,
  ...more,
})

const job = (more: Partial<CopyFilesJob>): CopyFilesJob => ({
  repoKey: 1,
  files: [],
  compression: { type: 'gz', level: 6 },
  pages: { size: 8192, headerCheck: true },
  ...more,
})

const prior = {
  repoName: asBytes(PRIOR),
  offset: 0,
  repoSizeBytes: 9,
  mapSizeBytes: 3,
  sizeBytes: 8192,
  referenceCount: 1,
}
const shape = { blockSize: 8192, checksumSize: 6 }
const single = job({
  files: [
    file({ repoName: NEW, blocks: { ...shape, prior: { ...shape, ...prior } } }),
    file({ repoName: LEFT, resumed: { checksum: 'a', repoSizeBytes: 1, repoChecksum: 'b' } }),
  ],
})

async function repository() {
  const inner = memoryStorage()
  for (const name of [LEFT, PRIOR, OTHER]) await putFile(inner, name, Buffer.from(name))
  return { inner, names: new JobNames(inner) }
}

test('a job can create its files, read what it compares with, and replace what an interrupted backup left', async () => {
  const { inner, names } = await repository()
  using _held = names.hold(single)
  const { storage } = names
  await putFile(storage, NEW, Buffer.from('new'))
  expect((await getFile(inner, NEW)).toString()).toBe('new')
  expect((await getFile(storage, PRIOR)).toString()).toBe(PRIOR)
  expect((await getFile(storage, LEFT)).toString()).toBe(LEFT)
  await storage.remove(LEFT)
  expect(await inner.stat(LEFT)).toBeUndefined()
})

test('a job with a bundle can create the bundle only', async () => {
  const { names } = await repository()
  const bundle = 'backup/main/20260102-030405F/bundle/7'
  using _held = names.hold(job({ files: [file({})], bundle: { id: 7, repoName: bundle, raw: true } }))
  await putFile(names.storage, bundle, Buffer.from('x'))
  await expect(putFile(names.storage, NEW, Buffer.from('x'))).rejects.toMatchObject(REFUSED)
  await expect(names.storage.read(bundle)).rejects.toMatchObject(REFUSED)
})

test.each([
  ['reading another file', (storage) => storage.read(OTHER)],
  ['reading a file that it creates', (storage) => storage.read(NEW)],
  ['creating another file', (storage) => storage.create(OTHER)],
  ['creating over the prior backup', (storage) => storage.create(PRIOR)],
  ['removing a file of the prior backup', (storage) => storage.remove(PRIOR)],
  ['removing its new file', (storage) => storage.remove(NEW)],
  ['removing everything', (storage) => storage.removeTree('backup')],
  ['listing', async (storage) => storage.list('')[Symbol.asyncIterator]().next()],
  ['examining a file', (storage) => storage.stat(NEW)],
  ['syncing', (storage) => storage.sync('')],
] as [string, (storage: JobNames['storage']) => Promise<unknown>][])('%s is refused', async (_, operation) => {
  const { inner, names } = await repository()
  const before = [...inner.files.keys()]
  using _held = names.hold(single)
  await expect(operation(names.storage)).rejects.toMatchObject(REFUSED)
  expect([...inner.files.keys()]).toEqual(before)
})

test('after the end of a job its names are refused, also for the commit of a file that it began', async () => {
  const { inner, names } = await repository()
  const held = names.hold(single)
  await using late = await names.storage.create(NEW)
  await late.sink.write(Buffer.from('late'))
  held[Symbol.dispose]()
  await expect(late.commit()).rejects.toMatchObject(REFUSED)
  await expect(names.storage.read(PRIOR)).rejects.toMatchObject(REFUSED)
  expect(await inner.stat(NEW)).toBeUndefined()
})

test('the names of several jobs are allowed until each of them ends', async () => {
  const { names } = await repository()
  using _first = names.hold(single)
  {
    using _second = names.hold(single)
  }
  expect((await getFile(names.storage, PRIOR)).toString()).toBe(PRIOR)
})
