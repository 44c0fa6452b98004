import { randomBytes } from 'node:crypto'
import { truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { beforeEach, describe, expect, test } from 'vitest'
import { backupFiles } from '../../../../src/core/backup/copy-file.ts'
import { type CopiedFile } from '../../../../src/core/backup/copy-job.ts'
import { type CopyFilesJob } from '../../../../src/core/backup/copy-job.ts'
import { type CopyFileJob } from '../../../../src/core/backup/copy-job.ts'
import type { WorkerEnv } from '../../../../src/core/worker-env.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { forwarding } from '../../../../src/storage/wrappers.ts'
import { readAll } from '../../../../src/util/bytes.ts'
import { sha1 } from '../../../support/builders/manifest.ts'
import { makeTestDir } from '../../../support/processes/test-user.ts'
import { workerEnvWith, repositoryWith } from '../../../support/builders/repository.ts'

const BUFFER = 64 * 1024
const SMALL = randomBytes(10_000)
const LARGE = randomBytes(5 * BUFFER + 123)
const signal = new AbortController().signal

let dir: string
let storage: StorageDriver
let env: WorkerEnv

beforeEach(() => {
  dir = makeTestDir('copy')
  storage = memoryStorage()
  env = workerEnvWith(repositoryWith(storage), BUFFER)
})

function job(name: string, content: Buffer, more: Partial<CopyFileJob> = {}): CopyFileJob {
  writeFileSync(join(dir, name), content)
  return {
    index: 0,
    name,
    pgName: join(dir, name),
    repoName: `backup/${name}`,
    sizeBytes: content.length,
    sizeLimited: true,
    control: false,
    ...more,
  }
}

const known = (content: Buffer, first = false) => ({ priorContent: { checksum: sha1(content), first } })

function aJob(files: readonly CopyFileJob[], more: Partial<CopyFilesJob> = {}): CopyFilesJob {
  const codec = { type: 'none' as const, level: 0 }
  return { repoKey: 1, files, compression: codec, pages: { size: 8192, headerCheck: true }, ...more }
}

function run(files: readonly CopyFileJob[], more: Partial<CopyFilesJob> = {}): Promise<CopiedFile[]> {
  return backupFiles(aJob(files, more), env, signal)
}

const BUNDLE = { bundle: { id: 7, repoName: 'backup/bundle/7', raw: false } }

async function namesStored(): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of storage.list('', { recursive: true })) names.push(name)
  return names.sort()
}
const content = async (name: string) => readAll(await storage.read(name))

describe.each([
  ['smaller than a buffer', SMALL],
  ['of several buffers', LARGE],
  ['of one buffer exactly', LARGE.subarray(0, BUFFER)],
])('a file %s', (_, bytes) => {
  test.each([false, true])(
    'with the content of the prior backup is not stored again (hashed first: %s)',
    async (first) => {
      const [copied] = await run([job('a', bytes, known(bytes, first))])
      expect(copied).toEqual({ outcome: 'unchanged' })
      expect(await namesStored()).toEqual([])
    },
  )

  test.each([false, true])('with changed content is stored (hashed first: %s)', async (first) => {
    const other = Buffer.from(bytes)
    other[17]! ^= 1
    const [copied] = await run([job('a', bytes, known(other, first))])
    expect(copied).toMatchObject({ outcome: 'copied', sizeBytes: bytes.length, checksum: sha1(bytes) })
    expect((await content('backup/a')).equals(bytes)).toBe(true)
  })

  test('that has grown is stored with its present content when it is read to its end', async () => {
    const grown = Buffer.concat([bytes, Buffer.from('more')])
    const file = { ...job('a', grown, known(bytes)), sizeBytes: bytes.length, sizeLimited: false }
    expect(await run([file])).toMatchObject([{ outcome: 'copied', sizeBytes: grown.length, checksum: sha1(grown) }])
    expect((await content('backup/a')).equals(grown)).toBe(true)
  })

  test('that PostgreSQL extends during the backup is read up to its listed size', async () => {
    const file = { ...job('a', Buffer.concat([bytes, SMALL]), known(bytes)), sizeBytes: bytes.length }
    expect(await run([file])).toEqual([{ outcome: 'unchanged' }])
  })
})

describe('a bundle', () => {
  test('holds the files to store one after the other, and nothing else', async () => {
    const files = [
      job('first', SMALL),
      job('same', LARGE.subarray(0, 9000), known(LARGE.subarray(0, 9000))),
      job('emptied', SMALL),
      job('gone', SMALL),
      job('second', LARGE),
    ]
    truncateSync(join(dir, 'emptied'), 0)
    unlinkSync(join(dir, 'gone'))
    const copied = await run(files, BUNDLE)
    expect(copied.map(({ outcome }) => outcome)).toEqual(['copied', 'unchanged', 'emptied', 'vanished', 'copied'])
    expect(copied[0]).toMatchObject({ bundle: { id: 7, offset: 0 } })
    expect(copied[4]).toMatchObject({ bundle: { id: 7, offset: SMALL.length }, repoSizeBytes: LARGE.length })
    expect((await content('backup/bundle/7')).equals(Buffer.concat([SMALL, LARGE]))).toBe(true)
  })

  test('is not created when no file has to be stored', async () => {
    await run([job('same', SMALL, known(SMALL))], BUNDLE)
    expect(await namesStored()).toEqual([])
  })

  test('a file that became empty is stored when it is not bundled', async () => {
    const file = job('a', SMALL)
    truncateSync(join(dir, 'a'), 0)
    expect(await run([file])).toMatchObject([{ outcome: 'copied', sizeBytes: 0 }])
    expect(await namesStored()).toEqual(['backup/a'])
  })
})

describe('a file of an interrupted backup', () => {
  const resumed = (bytes: Buffer) => ({
    resumed: { checksum: sha1(bytes), repoSizeBytes: bytes.length, repoChecksum: sha1(bytes) },
  })
  async function left(bytes: Buffer): Promise<void> {
    await using file = await storage.create('backup/a')
    await file.sink.write(bytes)
    await file.commit()
  }

  test('is used when its checksum is right', async () => {
    await left(LARGE)
    expect(await run([job('a', LARGE, resumed(LARGE))])).toEqual([{ outcome: 'resumed' }])
  })

  test.each([
    ['truncated', LARGE.subarray(0, 1000)],
    ['altered', Buffer.concat([LARGE.subarray(0, 1000), SMALL, LARGE.subarray(11_000)])],
  ])('is replaced when it was %s, with a warning', async (_, damaged) => {
    await left(damaged)
    const [copied] = await run([job('a', LARGE, resumed(LARGE))])
    expect(copied).toMatchObject({ outcome: 'copied', warning: expect.stringMatching(/is corrupt/) as string })
    expect((await content('backup/a')).equals(LARGE)).toBe(true)
  })

  test('is replaced when the file in the cluster has changed', async () => {
    await left(LARGE)
    const now = Buffer.concat([LARGE.subarray(1), Buffer.from('x')])
    const [copied] = await run([job('a', now, resumed(LARGE))])
    expect((copied as { warning?: string }).warning).toBeUndefined()
    expect((await content('backup/a')).equals(now)).toBe(true)
  })

  test.each([
    ['the prior backup has the present content', known(SMALL), 'unchanged'],
    [
      'the prior backup has the present content, which is known only after the end of the file',
      known(LARGE),
      'unchanged',
    ],
  ])('is removed when %s', async (_, more, outcome) => {
    await left(Buffer.from('of another day'))
    const now = more.priorContent.checksum === sha1(SMALL) ? SMALL : LARGE
    const file = job('a', now, { ...more, ...resumed(Buffer.from('of another day')) })
    expect(await run([file])).toEqual([{ outcome }])
    expect(await namesStored()).toEqual([])
  })

  test('is removed when the file in the cluster vanished', async () => {
    await left(SMALL)
    const file = job('a', SMALL, resumed(SMALL))
    unlinkSync(join(dir, 'a'))
    expect(await run([file])).toEqual([{ outcome: 'vanished' }])
    expect(await namesStored()).toEqual([])
  })
})

describe('block incremental copy', () => {
  const shape = { blockSize: 8192, checksumSize: 6 }
  const superBlocks = { sizeBytes: 32768, reference: 0 }

  async function firstTime(): Promise<NonNullable<CopyFileJob['blocks']>> {
    const [copied] = await run([job('a', LARGE, { blocks: shape })], { superBlocks })
    if (copied?.outcome !== 'copied' || copied.blocks === undefined) throw new Error('no blocks were stored')
    return {
      ...shape,
      prior: {
        ...shape,
        repoName: 'backup/a',
        offset: 0,
        repoSizeBytes: copied.repoSizeBytes,
        mapSizeBytes: copied.blocks.mapSizeBytes,
        sizeBytes: LARGE.length,
        referenceCount: 1,
      },
    }
  }
  const again = { superBlocks: { ...superBlocks, reference: 1 } }

  test('stores only changed blocks; a file without changed blocks keeps its reference', async () => {
    const blocks = await firstTime()
    const repoName = 'backup/next/a'
    expect(await run([job('a', LARGE, { blocks, repoName, ...known(LARGE) })], again)).toEqual([
      { outcome: 'unchanged' },
    ])
    const edited = Buffer.from(LARGE)
    edited[100_000]! ^= 1
    const [copied] = await run([job('a', edited, { blocks, repoName, ...known(LARGE) })], again)
    expect(copied).toMatchObject({ outcome: 'copied', checksum: sha1(edited), sizeBytes: edited.length })
    expect((await content(repoName)).length).toBeLessThan(10_000)
  })

  test('stores the whole file when no block is new and the prior checksum is unknown', async () => {
    const blocks = await firstTime()
    const [copied] = await run([job('a', LARGE, { blocks, repoName: 'backup/next/a' })], again)
    expect(copied).toMatchObject({ outcome: 'copied', checksum: sha1(LARGE) })
    expect((await content('backup/next/a')).length).toBeGreaterThan(LARGE.length)
  })

  test('stores the whole file with a warning when the prior block map cannot be read', async () => {
    const blocks = await firstTime()
    await using file = await storage.create('backup/a')
    await file.sink.write(Buffer.alloc(blocks.prior!.repoSizeBytes, 0xff))
    await file.commit()
    const [copied] = await run([job('a', LARGE, { blocks, repoName: 'backup/next/a' })], again)
    expect(copied).toMatchObject({
      outcome: 'copied',
      checksum: sha1(LARGE),
      warning: expect.stringMatching(/block map.*full backup/s) as string,
    })
  })

  test('stores nothing of a file that became empty', async () => {
    const file = job('a', LARGE, { blocks: shape })
    truncateSync(join(dir, 'a'), 0)
    expect(await run([file], { superBlocks })).toEqual([{ outcome: 'emptied' }])
    expect(await namesStored()).toEqual([])
  })
})

test('concurrent jobs of a thread compress large files one after the other, beside small ones', async () => {
  const order: string[] = []
  const slow: StorageDriver = forwarding(storage, {
    async create(name, options) {
      const file = await storage.create(name, options)
      const write = async (chunk: Uint8Array) => {
        order.push(name)
        await setImmediate()
        await file.sink.write(chunk)
      }
      return {
        ...file,
        sink: { write },
        commit: (how) => file.commit(how),
        [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
      }
    },
  })
  // Lanes share everything except the buffer.
  const lane = () => ({ ...workerEnvWith(repositoryWith(slow), BUFFER), turns: env.turns })
  const contents = { a: randomBytes(5 << 20), b: randomBytes(4 << 20), small: randomBytes(3 << 20) }
  const jobs = Object.entries(contents).map(([name, content]) => job(name, content))
  await Promise.all(jobs.map((one) => backupFiles(aJob([one]), lane(), signal)))

  const of = (name: string) => order.flatMap((stored, at) => (stored === `backup/${name}` ? [at] : []))
  expect(of('a').at(-1)).toBeLessThan(of('b')[0]!)
  expect(of('small').at(-1)).toBeLessThan(of('a').at(-1)!)
  for (const [name, content] of Object.entries(contents))
    expect((await readAll(await storage.read(`backup/${name}`))).equals(content), name).toBe(true)
})
