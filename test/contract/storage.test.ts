import { isUtf8 } from 'node:buffer'
import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, beforeEach, describe, expect, test, test as plainTest } from 'vitest'
import type { StorageDriver, StoredFile } from '../../src/storage/driver.ts'
import { memoryStorage } from '../../src/storage/memory.ts'
import type { ObjectClient } from '../../src/storage/object/client.ts'
import { retrying } from '../../src/storage/object/retry.ts'
import { objectStorage } from '../../src/storage/object/storage.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { openStorage } from '../../src/storage/registry.ts'
import { getFile, putFile } from '../../src/storage/whole-file.ts'
import { readOnly, scoped } from '../../src/storage/wrappers.ts'
import { readAll } from '../../src/util/bytes.ts'
import { systemClock } from '../../src/util/clock.ts'
import { PgtsError } from '../../src/util/error.ts'
import { silentLogger } from '../../src/util/log.ts'
import { memoryObjects } from '../support/stores/object-client.ts'
import { tlsChannels } from '../support/hosts/tls-channels.ts'
import { overConnection } from '../support/hosts/over-connection.ts'
import { endSsh, overSsh } from '../support/hosts/over-ssh.ts'
import { overPort } from '../support/workers/storage-over-port.ts'
import { type Bucket, objectStores, type StoreUnderTest, titleOf } from '../support/stores/object-stores.ts'

// As cli/main does, so that modes are exact.
const umask = process.umask(0)
const scratch = mkdtempSync(join(tmpdir(), 'pgts-storage-'))
afterAll(async () => {
  await endSsh()
  process.umask(umask)
  rmSync(scratch, { recursive: true, force: true })
})

let roots = 0
const newRoot = () => join(scratch, `repo-${++roots}`)
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')
const bytes = (value: string) => Buffer.from(value, 'latin1')

async function names(files: AsyncIterable<StoredFile>): Promise<string[]> {
  const all: string[] = []
  for await (const file of files) all.push(`${file.kind} ${file.name}`)
  return all.sort()
}

/** Write small files, several at the same time. */
async function putAll(storage: StorageDriver, count: number, nameOf: (i: number) => string): Promise<void> {
  let next = 0
  const some = async () => {
    while (next < count) await putFile(storage, nameOf(next++), bytes('x'))
  }
  await Promise.all(Array.from({ length: 16 }, some))
}

interface Tested {
  readonly title: string
  readonly open: () => StorageDriver | Promise<StorageDriver>
  readonly leftOut?: boolean
  /** Names are text, as in object stores: names that are not UTF-8 are refused. */
  readonly textNames?: boolean
  /** Further characters that a name must not contain. */
  readonly forbidden?: RegExp
}

/** As the program opens it, below a path of its own. */
function objectsOf(client: ObjectClient): StorageDriver {
  const policy = { retries: 2, totalMs: 60_000, timeoutMs: 30_000 }
  const path = `/repo/${++roots}`
  return objectStorage(retrying(client, { policy, log: silentLogger, clock: systemClock }), { path })
}

/** A storage that another thread has open, with an own one for some operations. */
function otherThreads(open: (id: string) => StorageDriver): StorageDriver {
  const id = `repo-${++roots}`
  return overPort(open(id), async () => open(id)).storage
}

const buckets = new Map<StoreUnderTest, Promise<Bucket>>()
function bucketOf(store: StoreUnderTest): Promise<Bucket> {
  const bucket = buckets.get(store) ?? store.bucket()
  buckets.set(store, bucket)
  return bucket
}

const FORBIDDEN = { s3: /^$/, azure: /[\0-\x1f\\]/, gcs: /[\r\n]/ }

const drivers: Tested[] = [
  { title: 'memory', open: () => memoryStorage() },
  { title: 'posix', open: () => posixStorage(newRoot()) },
  // Small pages and parts, so that there are several.
  { title: 'objects', open: () => objectsOf(memoryObjects({ pageSize: 7, limits: { removeBatch: 5 } })) },
  { title: 'memory of another thread', open: () => otherThreads((id) => memoryStorage(id)) },
  { title: 'posix of another thread', open: () => otherThreads((id) => posixStorage(join(scratch, id))) },
  { title: 'memory of another host', open: () => overConnection(memoryStorage()) },
  { title: 'posix of another host', open: () => overConnection(posixStorage(newRoot())) },
  { title: 'posix of another host by TLS', open: () => overConnection(posixStorage(newRoot()), {}, tlsChannels) },
  // It starts Node for each test.
  ...(process.env['PGTS_TEST_HOSTS'] === 'all' ? [{ title: 'posix of another host by SSH', open: overSsh }] : []),
  {
    title: 'objects of another host',
    open: () => overConnection(objectsOf(memoryObjects({ pageSize: 7, limits: { removeBatch: 5 } }))),
  },
  { title: 'scoped memory', open: () => scoped(memoryStorage(), 'a/b') },
  { title: 'scoped posix', open: () => scoped(posixStorage(newRoot()), 'a/b') },
  ...objectStores.map((store) => ({
    title: titleOf(store),
    leftOut: store.missing !== undefined,
    open: async () => objectsOf(await (await bucketOf(store)).client()),
    textNames: true,
    forbidden: FORBIDDEN[store.name],
  })),
]

describe.each(drivers)('storage: $title', ({ open, leftOut = false, textNames = false, forbidden = /^$/ }) => {
  const test = plainTest.skipIf(leftOut)
  let storage: StorageDriver
  beforeEach(async () => {
    if (leftOut) return undefined
    storage = await open()
    return () => storage[Symbol.asyncDispose]()
  })

  test('reading a file that does not exist reports its full name in the words that monitoring tools match', async () => {
    const message = `unable to open missing file '${storage.display}/backup/main/absent' for read`
    for (const range of [{}, { offset: 4, length: 3 }, { length: 0 }, { length: 8 * 1024 * 1024 }]) {
      const error = await storage.read('backup/main/absent', range).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'file-missing', message })
    }
  })

  test('a file appears complete when commit resolves, not before', async () => {
    const file = await storage.create('backup/main/backup.info')
    await file.sink.write(bytes('first '))
    await file.sink.write(bytes('second'))
    expect(await storage.stat('backup/main/backup.info')).toBeUndefined()
    await expect(storage.read('backup/main/backup.info')).rejects.toMatchObject({ code: 'file-missing' })
    await file.commit()
    expect(await storage.stat('backup/main/backup.info')).toMatchObject({
      name: 'backup/main/backup.info',
      kind: 'file',
      sizeBytes: 12,
    })
    expect(text(await getFile(storage, 'backup/main/backup.info'))).toBe('first second')
    expect(await names(storage.list('backup/main'))).toEqual(['file backup/main/backup.info'])
  })

  test('the earlier file stays until the new one is committed', async () => {
    await putFile(storage, 'info', bytes('old'))
    const file = await storage.create('info')
    await file.sink.write(bytes('new and longer'))
    expect(text(await getFile(storage, 'info'))).toBe('old')
    await file.commit()
    expect(text(await getFile(storage, 'info'))).toBe('new and longer')
  })

  test('a pending file without commit leaves nothing', async () => {
    for (const options of [{}, { unreferenced: true }]) {
      {
        await using file = await storage.create('a/b', options)
        await file.sink.write(bytes('half'))
      }
      expect(await storage.stat('a/b')).toBeUndefined()
      expect(await names(storage.list('', { recursive: true }))).toEqual([])
    }
  })

  test('a committed file stays when its block ends', async () => {
    {
      await using file = await storage.create('a')
      await file.commit()
    }
    expect(await storage.stat('a')).toMatchObject({ sizeBytes: 0 })
    expect((await getFile(storage, 'a')).length).toBe(0)
  })

  test('writing after commit fails as an assertion', async () => {
    const file = await storage.create('a')
    await file.commit()
    await expect((async () => file.sink.write(bytes('x')))()).rejects.toMatchObject({ code: 'assert' })
    await expect(file.commit()).rejects.toMatchObject({ code: 'assert' })
  })

  test('files with deferred sync exist after sync', async () => {
    for (const name of ['b/1/a', 'b/1/c', 'b/2/d']) {
      await using file = await storage.create(name, { unreferenced: true })
      await file.sink.write(bytes(name))
      await file.commit({ deferSync: true })
    }
    await storage.sync('b')
    await storage.sync('')
    await storage.sync('absent')
    expect(text(await getFile(storage, 'b/2/d'))).toBe('b/2/d')
  })

  test('a chunk may be reused after write', async () => {
    const chunk = Buffer.from('aaaa')
    await using file = await storage.create('a')
    await file.sink.write(chunk)
    chunk.fill('b')
    await file.sink.write(chunk)
    await file.commit()
    expect(text(await getFile(storage, 'a'))).toBe('aaaabbbb')
  })

  test('reading returns the bytes of a large file, also in ranges', async () => {
    const content = randomBytes(3 * 1024 * 1024 + 17)
    await putFile(storage, 'large', content)
    const sha1 = (data: Uint8Array) => createHash('sha1').update(data).digest('hex')
    expect(sha1(await getFile(storage, 'large'))).toBe(sha1(content))
    const ranges = [
      { offset: 0, length: 10 },
      { offset: 1_000_000, length: 1_048_577 },
      { offset: content.length - 5, length: 5 },
      { offset: content.length - 5 },
      { offset: content.length },
      { offset: content.length, length: 0 },
      { offset: 5, length: 0 },
      { length: 3 },
    ]
    for (const range of ranges) {
      const { offset = 0, length = content.length - offset } = range
      const got = await readAll(await storage.read('large', range))
      expect(got.equals(content.subarray(offset, offset + length)), JSON.stringify(range)).toBe(true)
    }
  })

  test('reading a range beyond the end fails', async () => {
    await putFile(storage, 'short', bytes('0123456789'))
    for (const range of [{ length: 11 }, { offset: 5, length: 6 }, { offset: 20, length: 1 }]) {
      await expect(storage.read('short', range).then(readAll), JSON.stringify(range)).rejects.toMatchObject({
        code: 'file-read',
      })
    }
  })

  test('several files can be read at the same time', async () => {
    const contents = [randomBytes(700_000), randomBytes(900_000)] as const
    await putFile(storage, 'one', contents[0])
    await putFile(storage, 'two', contents[1])
    const [one, two] = [await storage.read('one'), await storage.read('two')]
    const got: Buffer[][] = [[], []]
    for (let more = true; more;) {
      more = false
      for (const [index, source] of [one, two].entries()) {
        const chunk = await source.next()
        if (chunk === undefined) continue
        got[index]?.push(Buffer.from(chunk))
        more = true
      }
    }
    expect(await one.next()).toBeUndefined()
    await one[Symbol.asyncDispose]()
    await two[Symbol.asyncDispose]()
    expect(Buffer.concat(got[0] ?? []).equals(contents[0])).toBe(true)
    expect(Buffer.concat(got[1] ?? []).equals(contents[1])).toBe(true)
  })

  test('a source can be closed in the middle', async () => {
    await putFile(storage, 'a', randomBytes(2_000_000))
    for (let i = 0; i < 20; i++) {
      await using source = await storage.read('a')
      expect((await source.next())?.length).toBeGreaterThan(0)
    }
  })

  test('removing succeeds for an existing and for an absent file', async () => {
    await storage.remove('nothing/here')
    await storage.removeTree('nothing/here')
    await putFile(storage, 'a/b', bytes('x'))
    await storage.remove('a/b/c')
    await storage.remove('a/b')
    expect(await storage.stat('a/b')).toBeUndefined()
  })

  test('removeTree removes everything below the prefix and nothing else', async () => {
    for (const name of ['t/a', 't/b/c', 't/b/d/e', 'tt', 'u/t/a']) await putFile(storage, name, bytes('x'))
    await storage.removeTree('t')
    expect(await names(storage.list('', { recursive: true }))).toEqual(['file tt', 'file u/t/a'])
    expect(await storage.stat('t')).toBeUndefined()
    await storage.removeTree('tt')
    expect(await storage.stat('tt')).toBeUndefined()
  })

  test('two callers may remove the same tree', async () => {
    await putAll(storage, 280, (i) => `t/${i % 3}/${i}`)
    await Promise.all([storage.removeTree('t'), storage.removeTree('t'), storage.removeTree('t/1')])
    expect(await storage.stat('t')).toBeUndefined()
  })

  test('list returns files and paths of one level, or all files recursively', async () => {
    for (const name of ['a', 'p/b', 'p/q/c', 'p/q/d']) await putFile(storage, name, bytes('12'))
    expect(await names(storage.list(''))).toEqual(['file a', 'path p'])
    expect(await names(storage.list('p'))).toEqual(['file p/b', 'path p/q'])
    expect(await names(storage.list('', { recursive: true }))).toEqual([
      'file a',
      'file p/b',
      'file p/q/c',
      'file p/q/d',
    ])
    expect(await names(storage.list('p/q', { recursive: true }))).toEqual(['file p/q/c', 'file p/q/d'])
    expect(await names(storage.list('absent', { recursive: true }))).toEqual([])
    expect(await names(storage.list('absent'))).toEqual([])
    expect(await names(storage.list('p', { namesOnly: true }))).toEqual(['file p/b', 'path p/q'])
    expect(await names(storage.list('p', { namesOnly: true, recursive: true }))).toEqual([
      'file p/b',
      'file p/q/c',
      'file p/q/d',
    ])
    expect(await storage.stat('p/q')).toMatchObject({ kind: 'path', sizeBytes: 0 })
    for await (const file of storage.list('', { recursive: true })) {
      expect(file.sizeBytes).toBe(2)
      expect(Math.abs(file.mtimeMs - Date.now())).toBeLessThan(60_000)
    }
  })

  test('a listing can be closed early, and files may be removed while it runs', async () => {
    await putAll(storage, 300, (i) => `d/${i}`)
    for await (const _ of storage.list('d')) break
    let seen = 0
    for await (const file of storage.list('d')) {
      if (seen++ === 0) await storage.removeTree('d')
      expect(file.name).toMatch(/^d\/\d+$/)
    }
    expect(await names(storage.list('d'))).toEqual([])
  })

  test('names are bytes', async () => {
    const all = [
      'sp ace',
      'quote\'"',
      'new\nline',
      'tab\t',
      '\x01\x7f',
      'latin1 \xe9\xff',
      '\xc3\xa9',
      '-rf',
      '*?[',
      'a=b',
      '.hidden',
      '..three..',
      'back\\slash',
      'percent%41%',
      'plus+minus',
      'what?#&;:@!$,~()',
      '\xf0\x9f\x90\x98',
      'x'.repeat(200),
    ]
    const isOdd = (name: string) => (textNames && !isUtf8(bytes(name))) || forbidden.test(name)
    for (const name of all.filter(isOdd))
      await expect(putFile(storage, `odd/${name}`, bytes(name)), name).rejects.toThrow(PgtsError)
    const odd = all.filter((name) => !isOdd(name))
    for (const name of odd) await putFile(storage, `odd/${name}/${name}`, bytes(name))
    expect(await names(storage.list('odd', { recursive: true }))).toEqual(
      odd.map((name) => `file odd/${name}/${name}`).sort(),
    )
    expect(await names(storage.list('odd'))).toEqual(odd.map((name) => `path odd/${name}`).sort())
    for (const name of odd) expect(text(await getFile(storage, `odd/${name}/${name}`))).toBe(name)
    await storage.sync('odd')
    await storage.removeTree('odd')
    expect(await names(storage.list('', { recursive: true }))).toEqual([])
  })

  test.each(['../a', 'a/../../b', '/etc/passwd', 'a//b', 'a/', './a', 'a/.', '..', 'nul\0', 'Ω', ''])(
    'the name %j is refused',
    async (name) => {
      const attempts = [
        () => storage.create(name),
        () => storage.read(name),
        () => storage.remove(name),
        () => storage.removeTree(name),
        ...(name === '' ? [] : [() => storage.stat(name), () => names(storage.list(name)), () => storage.sync(name)]),
      ]
      for (const attempt of attempts)
        await expect((async () => attempt())(), String(attempt)).rejects.toMatchObject({ code: 'assert' })
    },
  )

  test('every operation rejects when aborted', async () => {
    await putFile(storage, 'a', randomBytes(2_000_000))
    const reason = new PgtsError('term', 'terminated on signal SIGTERM')
    const controller = new AbortController()
    const { signal } = controller
    const source = await storage.read('a', { signal })
    await source.next()
    const file = await storage.create('b', { signal })
    controller.abort(reason)
    const attempts = [
      async () => source.next(),
      async () => file.sink.write(bytes('x')),
      () => file.commit(),
      () => storage.stat('a', { signal }),
      () => storage.read('a', { signal }),
      () => storage.create('c', { signal }),
      () => names(storage.list('', { signal })),
      () => storage.remove('a', { signal }),
      () => storage.removeTree('a', { signal }),
      () => storage.sync('', { signal }),
    ]
    for (const attempt of attempts) await expect(attempt(), String(attempt)).rejects.toBe(reason)
    await source[Symbol.asyncDispose]()
    await file[Symbol.asyncDispose]()
    expect(await names(storage.list(''))).toEqual(['file a'])
  })

  test('concurrent writers of one name leave one complete file', async () => {
    const contents = Array.from({ length: 5 }, (_, writer) => Buffer.alloc(200_000 + writer, writer + 65))
    const files = await Promise.all(contents.map(() => storage.create('same')))
    for (let at = 0; at < 200_010; at += 50_000) {
      for (const [writer, file] of files.entries())
        await file.sink.write(contents[writer]?.subarray(at, at + 50_000) ?? bytes(''))
    }
    for (const [writer, file] of files.entries()) {
      await file.commit()
      expect((await getFile(storage, 'same')).equals(contents[writer] ?? bytes(''))).toBe(true)
    }
    expect(await names(storage.list('', { recursive: true }))).toEqual(['file same'])
  })

  test('exactly one of many writers creates a file if absent, and the file stays unchanged', async () => {
    const create = storage.createIfAbsent?.bind(storage)
    expect(create).toBeDefined()
    const won = await Promise.all(Array.from({ length: 8 }, (_, i) => create!('own/main/once', bytes(`writer ${i}`))))
    expect(won.filter((yes) => yes)).toHaveLength(1)
    expect(text(await getFile(storage, 'own/main/once'))).toBe(`writer ${won.indexOf(true)}`)
    expect(await create!('own/main/once', bytes('late'))).toBe(false)
    expect(text(await getFile(storage, 'own/main/once'))).toBe(`writer ${won.indexOf(true)}`)
    expect(await names(storage.list('own', { recursive: true }))).toEqual(['file own/main/once'])
    await storage.remove('own/main/once')
    expect(await scoped(storage, 'own').createIfAbsent!('main/once', bytes('again'))).toBe(true)
    expect(text(await getFile(storage, 'own/main/once'))).toBe('again')
    await expect(readOnly(storage).createIfAbsent!('own/other', bytes(''))).rejects.toThrow('read only')
  })

  test('a read-only storage refuses every change', async () => {
    await putFile(storage, 'a', bytes('x'))
    const view = readOnly(storage)
    expect(text(await getFile(view, 'a'))).toBe('x')
    expect(await names(view.list(''))).toEqual(['file a'])
    for (const attempt of [
      () => view.create('b'),
      () => view.remove('a'),
      () => view.removeTree('a'),
      () => view.sync(''),
    ]) {
      await expect(attempt()).rejects.toMatchObject({ code: 'assert' })
    }
  })

  test('links are created and listed where supported', async () => {
    const { links } = storage
    if (links === undefined) return
    await links.makePath('backup/main/20260102-030405F/pg_tblspc')
    expect(await storage.stat('backup/main/20260102-030405F/pg_tblspc')).toMatchObject({ kind: 'path' })
    await links.makePath('backup/main/20260102-030405F/pg_tblspc')
    await links.symlink('backup/main/latest', '20260101-030405F')
    await links.symlink('backup/main/latest', '20260102-030405F')
    await links.symlink('other/odd\xff', '../../\xe9')
    expect(await links.readlink('backup/main/latest')).toBe('20260102-030405F')
    expect(await links.readlink('other/odd\xff')).toBe('../../\xe9')
    expect(await links.readlink('absent')).toBeUndefined()
    expect(await links.readlink('backup/main')).toBeUndefined()
    expect(await storage.stat('backup/main/latest')).toMatchObject({ kind: 'link', sizeBytes: 0 })
    expect(await names(storage.list('backup', { recursive: true }))).toEqual(['link backup/main/latest'])
    expect(await names(storage.list('backup/main', { namesOnly: true }))).toContain('link backup/main/latest')
    await storage.remove('backup/main/latest')
    expect(await storage.stat('backup/main/20260102-030405F')).toMatchObject({ kind: 'path' })
  })
})

describe('a storage from its description', () => {
  test('memory returns the same bytes for the same id', async () => {
    const storage = memoryStorage()
    await putFile(storage, 'a', bytes('x'))
    await using again = await openStorage(storage.description)
    expect(text(await getFile(again, 'a'))).toBe('x')
  })

  test('posix returns the same bytes for the same path', async () => {
    const path = newRoot()
    await putFile(posixStorage(path), 'a', bytes('x'))
    await using again = await openStorage({ kind: 'posix', path })
    expect(text(await getFile(again, 'a'))).toBe('x')
    expect(again.display).toBe(path)
  })
})

describe('posix', () => {
  test('creates files with mode 0640 and directories with 0750', async () => {
    const root = newRoot()
    const storage = posixStorage(root)
    await putFile(storage, 'a/b/c', bytes('x'))
    await (await storage.create('a/d/e', { unreferenced: true })).commit()
    await storage.links?.makePath('f/g')
    const mode = (name: string) => (lstatSync(join(root, name)).mode & 0o7777).toString(8)
    expect(['a/b/c', 'a/d/e'].map(mode)).toEqual(['640', '640'])
    expect(['', 'a', 'a/b', 'a/d', 'f', 'f/g'].map(mode)).toEqual(Array(6).fill('750'))
  })

  test('writes to a temporary name until commit, except unreferenced files', async () => {
    const root = newRoot()
    const storage = posixStorage(root)
    const file = await storage.create('archive.info')
    expect(readdirSync(root)).toEqual(['archive.info.pgbackrest.tmp'])
    await file.commit()
    expect(readdirSync(root)).toEqual(['archive.info'])
    const data = await storage.create('data', { unreferenced: true })
    expect(readdirSync(root).sort()).toEqual(['archive.info', 'data'])
    await data.commit()
  })

  test('replaces temporary files of a crash and keeps those of another writer', async () => {
    const root = newRoot()
    const storage = posixStorage(root)
    await putFile(storage, 'x', bytes('x'))
    const temporary = join(root, 'a.pgbackrest.tmp')
    writeFileSync(temporary, 'half')
    await putFile(storage, 'a', bytes('whole'))
    expect(readdirSync(root).sort()).toEqual(['a', 'a.pgbackrest.tmp', 'x'])
    utimesSync(temporary, 0, 0)
    await putFile(storage, 'a', bytes('again'))
    expect(readdirSync(root).sort()).toEqual(['a', 'x'])
    expect(text(await getFile(storage, 'a'))).toBe('again')
  })

  test('reports a temporary file that was removed, and renames nothing', async () => {
    const root = newRoot()
    const storage = posixStorage(root)
    const file = await storage.create('a')
    rmSync(join(root, 'a.pgbackrest.tmp'))
    writeFileSync(join(root, 'a.pgbackrest.tmp'), 'of another user')
    await expect(file.commit()).rejects.toMatchObject({ code: 'file-write' })
    await file[Symbol.asyncDispose]()
    expect(readdirSync(root)).toEqual(['a.pgbackrest.tmp'])
  })

  test('removes a tree without following links', async () => {
    const root = newRoot()
    const storage = posixStorage(root)
    await putFile(storage, 'kept/a', bytes('x'))
    await putFile(storage, 'tree/b', bytes('x'))
    symlinkSync('../kept', join(root, 'tree/link'))
    symlinkSync('kept', join(root, 'top'))
    await storage.removeTree('tree')
    await storage.removeTree('top')
    expect(readdirSync(root)).toEqual(['kept'])
    expect(await storage.stat('kept/a')).toBeDefined()
  })

  test('reports a file where a directory is required', async () => {
    const storage = posixStorage(newRoot())
    await putFile(storage, 'a', bytes('x'))
    await expect(storage.create('a/b')).rejects.toMatchObject({
      code: 'file-open',
      message: expect.stringContaining('not a directory'),
    })
    expect(await storage.stat('a/b')).toBeUndefined()
    await expect(storage.read('a/b')).rejects.toMatchObject({ code: 'file-missing' })
    expect(await names(storage.list('a'))).toEqual([])
  })

  test('closes the handle of every file', async () => {
    const root = newRoot()
    const storage = posixStorage(root)
    // Of files only: connections of earlier tests may be closed at any time.
    const open = () =>
      readdirSync('/proc/self/fd').filter((fd) => linkOf(`/proc/self/fd/${fd}`).startsWith(root)).length
    await putFile(storage, 'a', randomBytes(1_000_000))
    const before = open()
    for (let i = 0; i < 10; i++) {
      await putFile(storage, `b/${i}`, bytes('x'))
      await getFile(storage, 'a')
      await using source = await storage.read('a')
      await source.next()
      await using _file = await storage.create('c')
      await storage.read('absent').catch(() => undefined)
      await storage
        .read('a', { length: 5_000_000 })
        .then(readAll)
        .catch(() => undefined)
      for await (const _ of storage.list('b')) break
    }
    await storage.sync('')
    await storage.removeTree('b')
    expect(open()).toBe(before)
  })

  test.skipIf(process.getuid?.() !== 0)('reports code, message and hint without permission', () => {
    // As a user other than root, because root has every permission.
    const root = newRoot()
    mkdirSync(join(root, 'closed'), { recursive: true })
    writeFileSync(join(root, 'closed/file'), 'x')
    chmodSync(join(root, 'closed'), 0o700)
    for (let path = root; path.startsWith(scratch); path = join(path, '..')) chmodSync(path, 0o755)
    const script = `
      process.setgid(65534)
      process.setuid(65534)
      const attempts = [
        () => storage.create('closed/a'),
        () => storage.create('new/a'),
        () => storage.read('closed/file'),
        () => storage.remove('closed/file'),
        () => storage.list('closed').next(),
      ]
      const reported = []
      for (const attempt of attempts) {
        try {
          await attempt()
          reported.push('done')
        } catch ({ code, message, hints }) {
          reported.push({ code, message, hints })
        }
      }
      console.log(JSON.stringify(reported))`
    chmodSync(bundle, 0o644)
    const answer: unknown = JSON.parse(
      execFileSync(process.execPath, ['--input-type=module', '-e', prologue(root) + script], { encoding: 'utf8' }),
    )
    const hints = [expect.stringContaining('this process runs as uid 65534 (nobody)')]
    expect(answer).toMatchObject([
      { code: 'file-open', message: expect.stringContaining('permission denied'), hints },
      { code: 'path-create', hints },
      { code: 'file-open', hints },
      { code: 'file-remove', hints },
      { code: 'path-open', hints },
    ])
  })

  test('a process killed before commit leaves no file, killed after it the complete file', async () => {
    const root = newRoot()
    const killed = (script: string) =>
      new Promise<void>((resolve) => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', prologue(root) + script], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        child.stdout.once('data', () => child.kill('SIGKILL'))
        child.on('close', (_code, signal) => {
          expect(signal).toBe('SIGKILL')
          resolve()
        })
      })
    const wait = `console.log('now'); setInterval(() => undefined, 1000)`
    await killed(`const file = await storage.create('a/b'); file.sink.write(Buffer.alloc(100000, 1)); ${wait}`)
    expect(readdirSync(join(root, 'a'))).toEqual(['b.pgbackrest.tmp'])
    await killed(
      `const file = await storage.create('a/b'); file.sink.write(Buffer.alloc(100000, 1)); await file.commit(); ${wait}`,
    )
    expect(lstatSync(join(root, 'a/b')).size).toBe(100_000)
  })

  const canMount = process.getuid?.() === 0 && mounts()
  test.skipIf(!canMount)(
    `a full disk is an error with code and hint, and leaves no file under the final name${canMount ? '' : ' (left out: cannot mount a tmpfs here)'}`,
    async () => {
      const root = newRoot()
      mkdirSync(root)
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root])
      try {
        const storage = posixStorage(root)
        await putFile(storage, 'small', bytes('fits'))
        for (const options of [{}, { unreferenced: true }]) {
          {
            await using file = await storage.create('deep/large', options)
            const write = async () => {
              for (let i = 0; i < 100; i++) await file.sink.write(Buffer.alloc(64 * 1024 + 1))
            }
            await expect(write()).rejects.toMatchObject({
              code: 'file-write',
              message: `cannot write ${root}/deep/large: no space left on device`,
              hints: [expect.stringContaining('free space')],
            })
          }
          expect(readdirSync(join(root, 'deep'))).toEqual([])
        }
        expect(text(await getFile(storage, 'small'))).toBe('fits')
      } finally {
        execFileSync('umount', [root])
      }
    },
  )

  /** The driver as a child process imports it. */
  const bundle = join(scratch, 'posix.mjs')
  beforeAll(() =>
    build({ entryPoints: ['src/storage/posix.ts'], outfile: bundle, bundle: true, format: 'esm', platform: 'node' }),
  )

  const prologue = (root: string) =>
    `process.umask(0); const { posixStorage } = await import(${JSON.stringify(bundle)}); const storage = posixStorage(${JSON.stringify(root)});`
})

/** Empty if it does not exist any more. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** Containers often forbid mounting even to root. */
function mounts(): boolean {
  const path = join(scratch, 'mount')
  mkdirSync(path, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path], { stdio: 'ignore' })
    execFileSync('umount', [path])
    return existsSync(path)
  } catch {
    return false
  }
}
