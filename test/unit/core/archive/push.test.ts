import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { pump } from '../../../../src/codec/pump.ts'
import { decompressor, loadCodec } from '../../../../src/codec/registry.ts'
import { pushWal, type PushRequest } from '../../../../src/core/archive/push/push-wal.ts'
import { createStanza } from '../../../../src/core/stanza/create.ts'
import type { ClusterFiles } from '../../../../src/postgres/cluster-access.ts'
import { localFiles } from '../../../../src/postgres/local-files.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { memoryStorage, type MemoryStorage } from '../../../../src/storage/memory.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import { posixStorage } from '../../../../src/storage/posix.ts'
import { readAll } from '../../../../src/util/bytes.ts'
import type { CompressType } from '../../../../src/util/compress-type.ts'
import { isPgtsError, PgtsError } from '../../../../src/util/error.ts'
import { aSegment, aSystemId, recordingLog, sha1 } from '../../../support/builders/wal.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

const root = mkdtempSync(join(tmpdir(), 'pgts-push-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const SEGMENT = '000000010000000000000001'
const DIRECTORY = `archive/main/15-1/${SEGMENT.slice(0, 16)}`
const signal = new AbortController().signal
let log = recordingLog()
let walDir = ''
let sequence = 0
beforeEach(() => {
  log = recordingLog()
  walDir = join(root, `wal${++sequence}`)
  mkdirSync(walDir)
})

async function aStanza(storage: StorageDriver, systemId = aSystemId, version = '15'): Promise<void> {
  const cluster = { systemId, version, controlVersion: 1300, catalogVersion: 202209061 }
  await createStanza(repositoryWith(storage), 'main', cluster, { signal, log })
}

async function aRepository(): Promise<MemoryStorage> {
  const storage = memoryStorage()
  await aStanza(storage)
  return storage
}

function aFile(name: string, content: Uint8Array | string): string {
  writeFileSync(join(walDir, name), content)
  return join(walDir, name)
}

function push(path: string, storages: readonly StorageDriver[], options: Partial<PushRequest> = {}) {
  return pushWal({
    stanza: 'main',
    path,
    files: localFiles(),
    identity: { systemId: aSystemId, version: '15' },
    repositories: storages.map((storage, index) => repositoryWith(storage, { key: index + 1 })),
    compression: { type: 'zst', level: 3 },
    headerCheck: true,
    warnWhenArchived: true,
    log,
    signal,
    ...options,
  })
}

async function failure(promise: Promise<unknown>): Promise<PgtsError> {
  try {
    await promise
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('it succeeded')
}

async function names(storage: StorageDriver): Promise<string[]> {
  const found: string[] = []
  for await (const file of storage.list('archive/main/15-1', { recursive: true })) found.push(file.name)
  return found.sort()
}

async function stored(storage: StorageDriver, name: string, type: CompressType): Promise<Buffer> {
  await loadCodec(type)
  const chunks: Buffer[] = []
  const write = (chunk: Uint8Array) => void chunks.push(Buffer.from(chunk))
  await pump(await storage.read(name), [decompressor(type)], { write })
  return Buffer.concat(chunks)
}

describe('pushWal: stored files', () => {
  test.each([
    ['none', ''],
    ['gz', '.gz'],
    ['lz4', '.lz4'],
    ['zst', '.zst'],
  ] as const)('stores a segment with compression %s under its checksum', async (type, extension) => {
    const storage = await aRepository()
    const content = aSegment()
    const report = await push(aFile(SEGMENT, content), [storage], {
      compression: { type, level: type === 'none' ? 0 : 1 },
    })
    const name = `${DIRECTORY}/${SEGMENT}-${sha1(content)}${extension}`
    expect(await names(storage)).toEqual([name])
    expect(report.repositories).toEqual([{ repoKey: 1, archiveId: '15-1', repoName: name, already: false }])
    expect((await stored(storage, name, type)).equals(content)).toBe(true)
  })

  const large = () => aSegment({ sizeBytes: 128 * 1024 * 1024 })

  test('reads a large segment in pieces', async () => {
    const storage = await aRepository()
    const content = large()
    await push(aFile(SEGMENT, content), [storage])
    const name = `${DIRECTORY}/${SEGMENT}-${sha1(content)}.zst`
    expect((await stored(storage, name, 'zst')).equals(content)).toBe(true)
  })

  test('does not store a large segment that changes between hashing and copying', async () => {
    const storage = await aRepository()
    const path = aFile(SEGMENT, large())
    const files = localFiles()
    let opened = 0
    const changing: ClusterFiles = {
      display: 'changing',
      list: (name) => files.list(name),
      stat: (name, options) => files.stat(name, options),
      open: (name, options) => {
        if (++opened === 2) aFile(SEGMENT, large())
        return files.open(name, options)
      },
      [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
    }
    const error = await failure(push(path, [storage], { files: changing }))
    expect(error).toMatchObject({ exitCode: 42, message: expect.stringContaining('changed') as string })
    expect(await names(storage)).toEqual([])
  })

  test('stores a partial segment under its own name', async () => {
    const storage = await aRepository()
    const content = aSegment()
    await push(aFile(`${SEGMENT}.partial`, content), [storage])
    await push(aFile(SEGMENT, aSegment()), [storage])
    expect(await names(storage)).toHaveLength(2)
    expect(await names(storage)).toContain(`${DIRECTORY}/${SEGMENT}.partial-${sha1(content)}.zst`)
  })

  test('stores history files uncompressed and without a checksum in the name', async () => {
    const storage = await aRepository()
    await push(aFile('00000002.history', '1\t0/1000000\tno recovery target\n'), [storage])
    await push(aFile(`${SEGMENT}.00000028.backup`, 'START WAL LOCATION\n'), [storage])
    expect(await names(storage)).toEqual([
      `${DIRECTORY}/${SEGMENT}.00000028.backup`,
      'archive/main/15-1/00000002.history',
    ])
    expect(String(await readAll(await storage.read('archive/main/15-1/00000002.history')))).toContain(
      'no recovery target',
    )
  })

  test('leaves only the complete file on disk', async () => {
    const storage = await posixStorage(join(root, `repo${sequence}`))
    await aStanza(storage)
    const content = aSegment()
    await push(aFile(SEGMENT, content), [storage])
    expect(readdirSync(join(root, `repo${sequence}`, DIRECTORY))).toEqual([`${SEGMENT}-${sha1(content)}.zst`])
  })
})

/** Storages of which none answers a call before each of them has been asked: called one after the other they would hang. */
function meeting(storages: readonly StorageDriver[]): { storages: StorageDriver[]; met: Set<string> } {
  const asked = new Map<string, { seen: Set<StorageDriver>; all: PromiseWithResolvers }>()
  const met = new Set<string>()
  const meet = (kind: string, storage: StorageDriver): Promise<void> => {
    let round = asked.get(kind)
    if (round === undefined) asked.set(kind, (round = { seen: new Set(), all: withResolvers() }))
    round.seen.add(storage)
    if (round.seen.size === storages.length) {
      met.add(kind)
      round.all.resolve()
    }
    return round.all.promise
  }
  return {
    met,
    storages: storages.map((storage) => ({
      display: storage.display,
      stat: (name, options) => storage.stat(name, options),
      async *list(prefix, options) {
        await meet('list', storage)
        yield* storage.list(prefix, options)
      },
      async read(name, range) {
        await meet(`read ${name}`, storage)
        return storage.read(name, range)
      },
      async create(name, options) {
        const pending = await storage.create(name, options)
        return {
          sink: pending.sink,
          async commit(how) {
            await meet('commit', storage)
            await pending.commit(how)
          },
          [Symbol.asyncDispose]: async () => pending[Symbol.asyncDispose](),
        }
      },
      remove: (name, options) => storage.remove(name, options),
      removeTree: (prefix, options) => storage.removeTree(prefix, options),
      sync: (prefix, options) => storage.sync(prefix, options),
      [Symbol.asyncDispose]: async () => undefined,
    })),
  }
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

function withResolvers(): PromiseWithResolvers {
  let resolve: () => void = () => undefined
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}

describe('pushWal: several repositories', () => {
  test('lists and writes all repositories at once', async () => {
    const [one, two] = [await aRepository(), await aRepository()]
    const { storages, met } = meeting([one, two])
    const report = await push(aFile(SEGMENT, aSegment()), storages)
    expect(report.repositories.map(({ repoKey }) => repoKey)).toEqual([1, 2])
    expect(await names(one)).toHaveLength(1)
    expect(await names(two)).toEqual(await names(one))
    expect([...met]).toEqual(['read archive/main/archive.info', 'list', 'commit'])
  })
})

describe('pushWal: files that are archived already', () => {
  test('succeeds without writing when the segment is archived with any compression', async () => {
    const storage = await aRepository()
    const path = aFile(SEGMENT, aSegment())
    await push(path, [storage], { compression: { type: 'gz', level: 6 } })
    const before = await names(storage)
    const report = await push(path, [storage])
    expect(report.repositories[0]).toMatchObject({ already: true, repoName: before[0] })
    expect(await names(storage)).toEqual(before)
    expect(log.lines.at(-1)).toMatch(/^warn: WAL segment .* is in the archive of repo1 already with the same checksum/)
    log.lines.length = 0
    await push(path, [storage], { warnWhenArchived: false })
    expect(log.lines).toEqual([])
  })

  test('stores a segment nowhere when one repository has other content', async () => {
    const [first, second] = [await aRepository(), await aRepository()]
    const [ours, theirs] = [aSegment(), aSegment()]
    await push(aFile(SEGMENT, theirs), [second])
    const error = await failure(push(aFile(SEGMENT, ours), [first, second]))
    expect(error).toMatchObject({ code: 'archive-duplicate', exitCode: 45 })
    expect(error.message).toContain(sha1(ours))
    expect(error.message).toContain(sha1(theirs))
    expect(error.message).toContain('repo2')
    expect(error.hints.join()).toContain('restored or promoted copy')
    expect(await names(first)).toEqual([])
    expect(await names(second)).toHaveLength(1)
  })

  test('reports a segment that is archived several times with equal content', async () => {
    const storage = await aRepository()
    const content = aSegment()
    const path = aFile(SEGMENT, content)
    await push(path, [storage])
    storage.files.set(`${DIRECTORY}/${SEGMENT}-${sha1(content)}.gz`, { bytes: Buffer.alloc(1), mtimeMs: 0 })
    const error = await failure(push(path, [storage]))
    expect(error).toMatchObject({ exitCode: 104, message: expect.stringContaining('2 times') as string })
  })
})

/** A storage in which another writer comes first by a moment: `other` runs when the file is about to appear. */
function overtaken(storage: StorageDriver, other: () => Promise<unknown>): StorageDriver {
  let pending: Promise<unknown> | undefined
  const once = () => (pending ??= other())
  return {
    ...storage,
    ...(storage.createIfAbsent === undefined
      ? {}
      : {
          createIfAbsent: async (name, bytes, options) => {
            await once()
            return storage.createIfAbsent!(name, bytes, options)
          },
        }),
    async create(name, options) {
      const file = await storage.create(name, options)
      return {
        sink: file.sink,
        async commit(how) {
          await once()
          await file.commit(how)
        },
        [Symbol.asyncDispose]: async () => file[Symbol.asyncDispose](),
      }
    },
  }
}

/** Stores with and without support for creating a file only if the name is free. */
const conditions: readonly [string, (storage: StorageDriver) => StorageDriver][] = [
  ['keeps conditions', (storage) => storage],
  ['has no conditions', ({ createIfAbsent: _, ...storage }) => storage],
  [
    'refuses conditions',
    (storage) => ({
      ...storage,
      createIfAbsent: async () => {
        throw new PgtsError('feature-not-supported', 'no conditions')
      },
    }),
  ],
  [
    'ignores conditions',
    (storage) => ({
      ...storage,
      createIfAbsent: async (name, bytes, options) => {
        await putFile(storage, name, bytes, options)
        return true
      },
    }),
  ],
]

describe('pushWal: two writers of one name', () => {
  const BACKUP_FILE = `${SEGMENT}.00000028.backup`
  const HISTORY_FILES = [
    ['00000002.history', 'archive/main/15-1/00000002.history'],
    [BACKUP_FILE, `${DIRECTORY}/${BACKUP_FILE}`],
  ] as const

  test.each(HISTORY_FILES)(
    'refuses to replace %s by other content, and accepts the same content',
    async (name, repoName) => {
      const storage = await aRepository()
      expect((await push(aFile(name, 'one\n'), [storage])).repositories[0]).toMatchObject({ already: false, repoName })
      expect((await push(aFile(name, 'one\n'), [storage])).repositories[0]).toMatchObject({ already: true, repoName })
      const second = await aRepository()
      const error = await failure(push(aFile(name, 'two\n'), [second, storage]))
      expect(error).toMatchObject({ code: 'archive-duplicate', exitCode: 45 })
      expect(error.message).toBe(`${name} is in the archive of repo2 already with other content`)
      expect(String(storage.files.get(repoName)?.bytes)).toBe('one\n')
      expect(second.files.has(repoName)).toBe(false)
      expect(log.lines).toEqual([])
    },
  )

  test('compares the decrypted content of a history file in an encrypted repository', async () => {
    const storage = memoryStorage()
    const cipher = { type: 'aes-256-cbc', origin: 'test', passphrase: () => 'secret' } as const
    const cluster = { systemId: aSystemId, version: '15', controlVersion: 1300, catalogVersion: 202209061 }
    const repository = repositoryWith(storage, { cipher })
    await createStanza(repository, 'main', cluster, { signal, log })
    const repositories = [repository]
    const name = '00000002.history'
    await push(aFile(name, 'one\n'), [], { repositories })
    const before = storage.files.get(`archive/main/15-1/${name}`)?.bytes
    expect(before?.subarray(0, 8).toString()).toBe('Salted__')
    expect((await push(aFile(name, 'one\n'), [], { repositories })).repositories[0]).toMatchObject({ already: true })
    expect(await failure(push(aFile(name, 'two\n'), [], { repositories }))).toMatchObject({ exitCode: 45 })
    expect(storage.files.get(`archive/main/15-1/${name}`)?.bytes).toEqual(before)
  })

  test.each(conditions)(
    'detects a history file that another writer stores at the same time, in a store that %s',
    async (_, like) => {
      const storage = await aRepository()
      const [name, repoName] = HISTORY_FILES[0]
      // The other writer uses the same store. Its file may be replaced only if the store has no conditions.
      const theirs = aFile(name, 'theirs\n')
      let second: Promise<PgtsError | undefined> = Promise.resolve(undefined)
      const rival = overtaken(like(storage), async () => {
        second = push(theirs, [like(storage)]).then(
          () => undefined,
          (error: PgtsError) => error,
        )
        await second
      })
      const ours = join(root, `ours${sequence}`, name)
      mkdirSync(join(root, `ours${sequence}`))
      writeFileSync(ours, 'ours\n')
      const first = await push(ours, [rival]).then(
        () => undefined,
        (error: PgtsError) => error,
      )
      const kept = String(storage.files.get(repoName)?.bytes)
      if (like(storage).createIfAbsent === storage.createIfAbsent) {
        expect(first?.exitCode).toBe(45)
        expect(kept).toBe('theirs\n')
      } else expect(kept).toBe('ours\n')
      // The writer whose content is not in the archive fails at its next attempt at the latest.
      expect(await failure(push(kept === 'ours\n' ? theirs : ours, [like(storage)]))).toMatchObject({ exitCode: 45 })
      expect(await second).toBeUndefined()
    },
  )

  test.each(['segment', 'partial'])(
    'keeps both files and fails the later push when another writer stores a %s at the same time',
    async (kind) => {
      const storage = await aRepository()
      const name = kind === 'segment' ? SEGMENT : `${SEGMENT}.partial`
      const [ours, theirs] = [aSegment(), aSegment()]
      const other = aFile(name, theirs)
      const path = join(root, `ours-${kind}`, name)
      mkdirSync(join(root, `ours-${kind}`))
      writeFileSync(path, ours)
      const error = await failure(push(path, [overtaken(storage, () => push(other, [storage]))]))
      expect(error).toMatchObject({ code: 'archive-duplicate', exitCode: 45 })
      expect(error.message).toContain(`SHA-1 there ${sha1(theirs)}, here ${sha1(ours)}; both are stored`)
      const both = [sha1(ours), sha1(theirs)].sort().map((sum) => `${DIRECTORY}/${name}-${sum}.zst`)
      expect(await names(storage)).toEqual(both)
      // Later attempts of both writers fail, too.
      for (const again of [path, other]) expect(await failure(push(again, [storage]))).toMatchObject({ exitCode: 45 })
      expect(await names(storage)).toEqual(both)
    },
  )

  test('accepts the same segment from two writers at the same time', async () => {
    const storage = await aRepository()
    const path = aFile(SEGMENT, aSegment())
    const report = await push(path, [overtaken(storage, () => push(path, [storage]))])
    expect(report.repositories[0]).toMatchObject({ already: false })
    expect(await names(storage)).toHaveLength(1)
  })

  test('reports a repository that cannot be listed after the segment was stored', async () => {
    const storage = await aRepository()
    let listings = 0
    const broken: StorageDriver = {
      ...storage,
      list(prefix, options) {
        if (++listings > 1) throw new PgtsError('service', 'no listing')
        return storage.list(prefix, options)
      },
    }
    const error = await failure(push(aFile(SEGMENT, aSegment()), [broken]))
    expect(error).toMatchObject({ code: 'service', message: 'repo1: no listing' })
  })
})

describe('pushWal: refused files', () => {
  test('refuses WAL of another cluster', async () => {
    const storage = await aRepository()
    const error = await failure(push(aFile(SEGMENT, aSegment({ systemId: 42n })), [storage]))
    expect(error).toMatchObject({ exitCode: 44 })
    expect(error.message).toMatch(
      /system identifier 42\) does not belong to stanza main of repo1 .*7123456789012345678/,
    )
    expect(error.hints[0]).toContain('archive_command')
    expect(await names(storage)).toEqual([])
  })

  test('refuses WAL of another version of the cluster', async () => {
    const error = await failure(push(aFile(SEGMENT, aSegment({ magic: 0xd113 })), [await aRepository()]))
    expect(error).toMatchObject({ exitCode: 44, message: expect.stringContaining('version 16') as string })
  })

  test('refuses a data directory of another cluster', async () => {
    const identity = { systemId: 42n, version: '15' }
    const error = await failure(push(aFile(SEGMENT, aSegment()), [await aRepository()], { identity }))
    expect(error).toMatchObject({ exitCode: 44, message: expect.stringContaining('the data directory') as string })
  })

  test('refuses repositories of different clusters when no data directory is configured', async () => {
    const other = memoryStorage()
    await aStanza(other, 42n)
    const error = await failure(
      pushWal({
        stanza: 'main',
        path: aFile(SEGMENT, aSegment()),
        files: localFiles(),
        repositories: [repositoryWith(await aRepository()), repositoryWith(other, { key: 2 })],
        compression: { type: 'none', level: 0 },
        headerCheck: true,
        warnWhenArchived: true,
        log,
        signal,
      }),
    )
    expect(error).toMatchObject({ exitCode: 104 })
    expect(error.message).toContain('repo2: [044]')
  })

  test.each([
    ['truncated by a full disk', aSegment({ sizeBytes: 1000 * 1024, headerSize: 1024 * 1024 }), 29, '1024000 bytes'],
    ['shorter than its header says', aSegment({ headerSize: 16 * 1024 * 1024 }), 29, 'its header says'],
    ['without a long header', aSegment({ flags: 0 }), 29, 'long header'],
    ['of an unknown server', aSegment({ magic: 0xffff }), 46, '0xffff'],
    ['empty', Buffer.alloc(0), 29, '0 bytes'],
  ] as const)('refuses a segment that is %s', async (_, content, exitCode, words) => {
    const storage = await aRepository()
    const error = await failure(push(aFile(SEGMENT, content), [storage]))
    expect(error.exitCode).toBe(exitCode)
    expect(error.message).toContain(words)
    expect(error.message).toContain(SEGMENT)
    expect(await names(storage)).toEqual([])
  })

  test.each([
    ['of an unknown server', aSegment({ magic: 0xffff })],
    ['truncated', aSegment().subarray(0, 1000)],
  ])('accepts a segment that is %s without archive-header-check', async (_, content) => {
    const storage = await aRepository()
    await push(aFile(SEGMENT, content), [storage], { headerCheck: false })
    expect(await names(storage)).toHaveLength(1)
  })

  test('accepts an invalid segment that is archived already, and refuses to store it in another repository', async () => {
    const [first, second] = [await aRepository(), await aRepository()]
    const path = aFile(SEGMENT, aSegment().subarray(0, 1000))
    await push(path, [first], { headerCheck: false })
    expect(await push(path, [first])).toMatchObject({ repositories: [{ already: true }] })
    expect(await failure(push(path, [first, second]))).toMatchObject({ exitCode: 29 })
    expect(await names(second)).toEqual([])
    // Other content with this name: the error of the file itself is reported.
    expect(await failure(push(aFile(SEGMENT, aSegment({ systemId: 42n })), [first]))).toMatchObject({ exitCode: 44 })
  })

  test.each(['%f', 'backup_label', '00000001000000000000000g', '000000010000000000000001.gz'])(
    'refuses the file name %s',
    async (name) => {
      const error = await failure(push(aFile(name, 'x'), [await aRepository()]))
      expect(error).toMatchObject({ exitCode: 96 })
      expect(error.hints.join()).toContain('%p')
    },
  )

  test('reports a missing file', async () => {
    const error = await failure(push(join(walDir, SEGMENT), [await aRepository()]))
    expect(error).toMatchObject({
      exitCode: 55,
      message: `unable to open missing file '${join(walDir, SEGMENT)}' for read: the WAL file does not exist`,
    })
  })

  test('refuses a directory, also with the name of a segment', async () => {
    for (const name of ['pg_wal', SEGMENT]) {
      mkdirSync(join(walDir, name))
      expect(await failure(push(join(walDir, name), [await aRepository()]))).toMatchObject({
        exitCode: 42,
        message: `unable to read '${join(walDir, name)}': [21] Is a directory`,
      })
    }
  })

  test('reports a repository without the stanza', async () => {
    const error = await failure(push(aFile(SEGMENT, aSegment()), [memoryStorage()]))
    expect(error).toMatchObject({ exitCode: 55 })
    expect(error.hints.join()).toContain('stanza-create')
  })

  test('reports several repositories without the stanza', async () => {
    const error = await failure(push(aFile(SEGMENT, aSegment()), [memoryStorage(), memoryStorage()]))
    expect(error).toMatchObject({ exitCode: 103 })
    expect(error.message).toMatch(/repo1: \[055\].*repo2: \[055\]/s)
  })
})

describe('pushWal: a repository that fails', () => {
  const full = (): never => {
    throw new PgtsError('file-write', 'cannot write: no space left on device')
  }
  const failing = (storage: StorageDriver, where: 'create' | 'write' | 'commit'): StorageDriver => ({
    ...storage,
    create: async (name, options) => {
      if (where === 'create') full()
      const file = await storage.create(name, options)
      return {
        sink: {
          write: (chunk) =>
            where === 'write' ? Promise.reject(new PgtsError('file-write', 'no space')) : file.sink.write(chunk),
        },
        commit: () => (where === 'commit' ? full() : file.commit()),
        [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
      }
    },
  })

  test.each(['create', 'write', 'commit'] as const)(
    'stores the file in other repositories when %s fails in one',
    async (where) => {
      const [broken, good] = [await aRepository(), await aRepository()]
      const error = await failure(push(aFile(SEGMENT, aSegment()), [failing(broken, where), good]))
      expect(error).toMatchObject({ exitCode: 104 })
      expect(error.message).toMatch(/repo1: \[064\]/)
      expect(error.message).not.toContain('repo2')
      expect(error.hints.join()).toContain('retries')
      expect(await names(broken)).toEqual([])
      expect(await names(good)).toHaveLength(1)
    },
  )

  test('reports the error code of the only repository', async () => {
    const error = await failure(push(aFile(SEGMENT, aSegment()), [failing(await aRepository(), 'write')]))
    expect(error).toMatchObject({ exitCode: 64, message: 'repo1: no space' })
  })

  test('stores the file in other repositories when archive.info of one is corrupt', async () => {
    const [broken, good] = [await aRepository(), await aRepository()]
    for (const name of ['archive/main/archive.info', 'archive/main/archive.info.copy'])
      broken.files.set(name, { bytes: Buffer.from('garbage'), mtimeMs: 0 })
    const error = await failure(push(aFile(SEGMENT, aSegment()), [broken, good]))
    expect(error).toMatchObject({ exitCode: 104 })
    expect(error.message).toContain('repo1: [')
    expect(await names(good)).toHaveLength(1)
  })
})

test('an interrupted push leaves no file', async () => {
  const storage = await posixStorage(join(root, `repo${sequence}`))
  await aStanza(storage)
  const controller = new AbortController()
  const interrupted: StorageDriver = {
    ...storage,
    stat: (name, options) => storage.stat(name, options),
    list: (prefix, options) => storage.list(prefix, options),
    read: (name, options) => storage.read(name, options),
    create: async (name, options) => {
      const file = await storage.create(name, options)
      const write = (chunk: Uint8Array) => {
        controller.abort(new PgtsError('term', 'terminated'))
        return file.sink.write(chunk)
      }
      return { sink: { write }, commit: () => file.commit(), [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]() }
    },
  }
  const error = await failure(push(aFile(SEGMENT, aSegment()), [interrupted], { signal: controller.signal }))
  expect(error).toMatchObject({ exitCode: 63 })
  expect(await names(storage)).toEqual([])
  expect(readdirSync(join(root, `repo${sequence}`, DIRECTORY))).toEqual([])
})
