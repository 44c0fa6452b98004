import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  archiveFileName,
  archiveInfoName,
  backupInfoName,
  bundleName,
  copyName,
  manifestHistoryName,
  manifestName,
} from '../../../../src/format/repo-path.ts'
import { kindOf } from '../../../../src/storage/object/kind.ts'
import { partBytes } from '../../../../src/storage/object/part-size.ts'
import { objectStorage } from '../../../../src/storage/object/storage.ts'
import { getFile, putFile, removeFiles } from '../../../../src/storage/whole-file.ts'
import { readAll } from '../../../../src/util/bytes.ts'
import { PgtsError } from '../../../../src/util/error.ts'
import { memoryObjects, type MemoryObjectsOptions } from '../../../support/stores/object-client.ts'

const MIB = 1024 * 1024

function setup(options: MemoryObjectsOptions = {}, budgetBytes?: number) {
  const objects = memoryObjects(options)
  const storage = objectStorage(objects, { path: '/repo', budgetBytes })
  return { objects, storage }
}
const sha1 = (bytes: Uint8Array) => createHash('sha1').update(bytes).digest('hex')
/** Incompressible bytes that are generated quickly. */
const noise = (bytes: number) =>
  Buffer.concat(Array<Buffer>(Math.ceil(bytes / MIB)).fill(randomBytes(MIB))).subarray(0, bytes)

describe('writing', () => {
  test('uploads a small or empty file with one request', async () => {
    const { objects, storage } = setup()
    await putFile(storage, 'a/b', Buffer.alloc(5 * MIB, 1))
    await putFile(storage, 'a/c', Buffer.alloc(0))
    expect(objects.requests).toEqual([
      { kind: 'put', name: 'repo/a/b' },
      { kind: 'put', name: 'repo/a/c' },
    ])
  })

  test('uploads a large file in parallel parts, visible only when complete', async () => {
    const { objects, storage } = setup()
    objects.delayMs = 5
    const content = noise(32 * MIB + 17)
    const file = await storage.create('large')
    for (let at = 0; at < content.length; at += 100_001) await file.sink.write(content.subarray(at, at + 100_001))
    expect(objects.count('part')).toBeGreaterThan(3)
    expect(objects.mostInFlight).toBeGreaterThan(1)
    expect(objects.objects.size).toBe(0)
    await file.commit()
    expect(objects.objects.get('repo/large')?.bytes.equals(content)).toBe(true)
    expect([objects.count('begin'), objects.count('part'), objects.count('complete')]).toEqual([1, 7, 1])
    expect(objects.openUploads).toBe(0)
  })

  test('uploads no more parts at once than the store allows', async () => {
    const { objects, storage } = setup({ limits: { parallelParts: 1 } })
    objects.delayMs = 2
    await putFile(storage, 'large', noise(21 * MIB))
    expect(objects.mostInFlight).toBe(1)
    expect((await getFile(storage, 'large')).length).toBe(21 * MIB)
  })

  test('several large files share the memory for parts without deadlock', async () => {
    const { objects, storage } = setup({}, 6 * MIB)
    objects.delayMs = 2
    const contents = Array.from({ length: 4 }, (_, i) => noise(17 * MIB + i))
    await Promise.all(contents.map((content, i) => putFile(storage, `f${i}`, content)))
    // All begin at the same time, but the budget allows one part of 5 MiB at a time over all files.
    expect(objects.mostInFlight).toBeLessThanOrEqual(contents.length + 1)
    for (const [i, content] of contents.entries()) expect(sha1(await getFile(storage, `f${i}`))).toBe(sha1(content))
  })

  test('a part that fails permanently fails the file and leaves no parts', async () => {
    const { objects, storage } = setup()
    const refused = new PgtsError('access', 'forbidden')
    let met = 0
    objects.fault = ({ kind, part }) => (kind === 'part' && part === 2 ? (met++, { error: refused }) : undefined)
    await expect(putFile(storage, 'large', noise(30 * MIB))).rejects.toBe(refused)
    expect(met).toBe(1)
    expect([objects.openUploads, objects.objects.size, objects.count('abort')]).toEqual([0, 0, 1])
  })

  test('a failed completion leaves no parts', async () => {
    const { objects, storage } = setup()
    let met = 0
    objects.fault = ({ kind }) => (kind === 'complete' ? (met++, { error: new PgtsError('service', 'no') }) : undefined)
    await expect(putFile(storage, 'large', noise(6 * MIB))).rejects.toThrow('no')
    expect([met, objects.openUploads, objects.objects.size]).toEqual([1, 0, 0])
  })

  test('aborts an upload that is discarded while parts are in flight', async () => {
    const { objects, storage } = setup()
    objects.fault = ({ kind }) => (kind === 'part' ? { stall: true } : undefined)
    {
      await using file = await storage.create('large')
      await file.sink.write(noise(11 * MIB))
      expect(objects.openUploads).toBe(1)
    }
    expect([objects.openUploads, objects.objects.size]).toEqual([0, 0])
  })
})

describe('the size of parts', () => {
  const limits = (more: object) => ({
    partBytes: { min: 5 * MIB, max: 5 * 1024 * MIB },
    maxParts: 10_000,
    parallelParts: 4,
    removeBatch: 1000,
    ...more,
  })

  test.each([
    ['s3', limits({}), 4 * 1024 ** 4],
    ['azure', limits({ partBytes: { min: 1, max: 4000 * MIB }, maxParts: 50_000 }), 4 * 1024 ** 4],
    ['few parts', limits({ maxParts: 1000 }), 3 * 1024 ** 4],
    [
      'gcs',
      limits({ partBytes: { min: 256 * 1024, max: 1024 * MIB, multipleOf: 256 * 1024 }, maxParts: 1e9 }),
      1024 ** 4,
    ],
  ])('%s: all parts together hold a file of any size', (_name, store, wantedBytes) => {
    let total = 0
    let before = 0
    const { multipleOf = 1, min, max } = store.partBytes as { min: number; max: number; multipleOf?: number }
    for (let number = 1; number <= Math.min(store.maxParts, 20_000); number++) {
      const bytes = partBytes(number, store)
      if (bytes < Math.max(before, min) || bytes > max || bytes % multipleOf !== 0)
        throw new Error(`part ${number} has ${bytes} bytes after one of ${before}`)
      total += before = bytes
    }
    expect(total).toBeGreaterThan(wantedBytes)
  })

  test('the first gigabytes are uploaded in parts of one size', () => {
    const sizes = new Set(Array.from({ length: 600 }, (_, i) => partBytes(i + 1, limits({}))))
    expect([...sizes]).toEqual([5 * MIB])
  })
})

describe('reading', () => {
  test('reads a small file with one request', async () => {
    const { objects, storage } = setup()
    await putFile(storage, 'a', Buffer.from('x'))
    await getFile(storage, 'a')
    expect(objects.count('get')).toBe(1)
    expect(objects.count('head')).toBe(0)
  })

  test('reads a long range in parallel pieces', async () => {
    const { objects, storage } = setup()
    const content = noise(40 * MIB)
    objects.objects.set('repo/a', { bytes: content, mtimeMs: 1 })
    objects.delayMs = 5
    const got = await readAll(await storage.read('a', { offset: 3, length: content.length - 3 }))
    expect(got.equals(content.subarray(3))).toBe(true)
    expect(objects.count('get')).toBe(20)
    expect(objects.mostInFlight).toBeGreaterThan(2)
  })

  test('reads pieces one after the other without free memory', async () => {
    const { objects, storage } = setup({}, 1)
    const content = noise(20 * MIB)
    objects.objects.set('repo/a', { bytes: content, mtimeMs: 1 })
    const sources = await Promise.all([0, 1, 2].map(() => storage.read('a', { length: content.length })))
    const got = await Promise.all(sources.map((source) => readAll(source)))
    for (const bytes of got) expect(bytes.equals(content)).toBe(true)
  })

  test('closing in the middle ends pending requests and frees their memory', async () => {
    const { objects, storage } = setup({}, 8 * MIB)
    objects.objects.set('repo/a', { bytes: noise(24 * MIB), mtimeMs: 1 })
    let gets = 0
    objects.fault = ({ kind }) =>
      kind !== 'get' ? undefined : gets++ === 0 ? { bodyAfter: MIB, then: 'stall' } : { stall: true }
    {
      await using _source = await storage.read('a', { length: 24 * MIB })
    }
    expect(gets).toBeGreaterThan(1)
    objects.fault = () => undefined
    objects.delayMs = 2
    expect((await readAll(await storage.read('a', { length: 24 * MIB }))).length).toBe(24 * MIB)
    expect(objects.mostInFlight).toBeGreaterThan(1)
  })

  test('a missing piece at the end is an error', async () => {
    const { objects, storage } = setup()
    objects.objects.set('repo/a', { bytes: noise(9 * MIB), mtimeMs: 1 })
    await expect(storage.read('a', { length: 10 * MIB }).then(readAll)).rejects.toMatchObject({ code: 'file-read' })
    await expect(storage.read('a', { length: 30 * MIB }).then(readAll)).rejects.toMatchObject({ code: 'file-read' })
  })
})

describe('listing and removing', () => {
  test('an object that is not a repository file is skipped, and removed with its tree', async () => {
    const { objects, storage } = setup()
    for (const name of ['repo/a/', 'repo/a/b', 'repo/a//c', 'repo/a/d//e', 'other/x', 'repo'])
      objects.objects.set(name, { bytes: Buffer.alloc(1), mtimeMs: 1 })
    const names = async (recursive: boolean) => {
      const all: string[] = []
      for await (const { name, kind } of storage.list('a', { recursive })) all.push(`${kind} ${name}`)
      return all
    }
    expect(await names(false)).toEqual(['file a/b', 'path a/d'])
    expect(await names(true)).toEqual(['file a/b'])
    await storage.removeTree('a')
    expect([...objects.objects.keys()]).toEqual(['other/x', 'repo'])
  })

  test('removes a tree in parallel batches, each name once', async () => {
    const { objects, storage } = setup({ pageSize: 100, limits: { removeBatch: 100 } })
    objects.delayMs = 1
    for (let i = 0; i < 1500; i++) objects.objects.set(`repo/t/${i % 5}/${i}`, { bytes: Buffer.alloc(0), mtimeMs: 1 })
    objects.objects.set('repo/t2/kept', { bytes: Buffer.alloc(0), mtimeMs: 1 })
    await storage.removeTree('t')
    expect([...objects.objects.keys()]).toEqual(['repo/t2/kept'])
    const removed = objects.requests.filter(({ kind }) => kind === 'remove').flatMap(({ name }) => name.split(','))
    expect(removed.length).toBe(new Set(removed).size)
    expect(objects.count('remove')).toBeLessThanOrEqual(20)
    expect(objects.mostInFlight).toBeGreaterThan(2)
  })

  test('a name that the store keeps is an error after everything else was removed', async () => {
    const { objects, storage } = setup({ pageSize: 10, limits: { removeBatch: 10 } })
    for (let i = 0; i < 95; i++) objects.objects.set(`repo/t/${i}`, { bytes: Buffer.alloc(0), mtimeMs: 1 })
    for (let i = 20; i < 27; i++) objects.kept.add(`repo/t/${i}`)
    await expect(storage.removeTree('t')).rejects.toMatchObject({
      code: 'file-remove',
      message: expect.stringMatching(
        /did not remove 7 of 95 objects\nrepo\/t\/2\d: AccessDenied\n(.*\n){4}and 2 more$/,
      ),
      hints: [expect.stringContaining('object lock'), expect.any(String)],
    })
    expect(objects.objects.size).toBe(7)
  })

  test('a removal is denied only when every remaining name was denied', async () => {
    const { objects, storage } = setup()
    const left = [{ name: 'repo/a', reason: 'AccessDenied', denied: true }]
    objects.removeBatch = async () => left
    await expect(storage.remove('a')).rejects.toMatchObject({ code: 'file-remove', denied: true })
    left.push({ name: 'repo/b', reason: 'InternalError', denied: false })
    await expect(storage.removeFiles!(['a', 'b'])).rejects.toMatchObject({ code: 'file-remove', denied: false })
  })

  test('a denied abort of an upload does not replace the original error', async () => {
    const { objects, storage } = setup({ limits: { partBytes: { min: 10, max: 1000 } } })
    const upload = objects.upload.bind(objects)
    let aborts = 0
    objects.upload = async (...args) => ({
      ...(await upload(...args)),
      abort: async () => {
        aborts++
        throw new PgtsError('access', 'may not abort')
      },
    })
    const discarded = async () => {
      await using file = await storage.create('x')
      await file.sink.write(Buffer.alloc(12 * 1024 * 1024))
      throw new PgtsError('file-read', 'the source failed')
    }
    await expect(discarded()).rejects.toMatchObject({ message: 'the source failed' })
    expect(aborts).toBe(1)
  })

  test('removes many files with few requests', async () => {
    const { objects, storage } = setup()
    const names = Array.from({ length: 999 }, (_, i) => `a/${i}`)
    await removeFiles(storage, names)
    await removeFiles(storage, [])
    expect(objects.requests).toHaveLength(4)
    await expect(removeFiles(storage, ['../a'])).rejects.toMatchObject({ code: 'assert' })
  })
})

test('the purpose of a file is derived from its name', () => {
  const label = '20260102-030405F'
  for (const name of [backupInfoName('main'), archiveInfoName('main')]) {
    expect([kindOf(name), kindOf(copyName(name))]).toEqual(['info', 'info'])
  }
  for (const name of [
    manifestName('main', label),
    copyName(manifestName('main', label)),
    manifestHistoryName('main', label),
  ])
    expect(kindOf(name)).toBe('manifest')
  expect(kindOf(archiveFileName('main', '15-1', '00000002.history'))).toBe('wal')
  expect(kindOf(archiveFileName('main', '15-1', `000000010000000000000001-${'a'.repeat(40)}.zst`))).toBe('wal')
  expect(kindOf(bundleName('main', label, 1))).toBe('data')
  expect(kindOf(`backup/main/${label}/pg_data/backup.manifest.old`)).toBe('data')
})
