import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDestination } from '../../../../src/core/archive/get/destination.ts'
import { getWal, type GetRequest } from '../../../../src/core/archive/get/get-wal.ts'
import { pushWal } from '../../../../src/core/archive/push/push-wal.ts'
import { loadArchiveInfo, saveArchiveInfo } from '../../../../src/core/archive-info-store.ts'
import { createStanza } from '../../../../src/core/stanza/create.ts'
import { localFiles } from '../../../../src/postgres/local-files.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { memoryStorage, type MemoryStorage } from '../../../../src/storage/memory.ts'
import type { CompressType } from '../../../../src/util/compress-type.ts'
import { isPgtsError, PgtsError } from '../../../../src/util/error.ts'
import { aSegment, aSystemId, recordingLog, sha1 } from '../../../support/builders/wal.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

const SEGMENT = '000000010000000000000001'
const signal = new AbortController().signal
let log = recordingLog()
let dir = ''
let destination = ''
beforeEach(() => {
  log = recordingLog()
  dir = mkdtempSync(join(tmpdir(), 'pgts-get-'))
  destination = join(dir, 'RECOVERYXLOG')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

async function aRepository(systemId = aSystemId): Promise<MemoryStorage> {
  const storage = memoryStorage()
  const cluster = { systemId, version: '15', controlVersion: 1300, catalogVersion: 202209061 }
  await createStanza(repositoryWith(storage), 'main', cluster, { signal, log })
  return storage
}

/** Archive a file; returns its name in the repository. */
async function archived(
  storage: StorageDriver,
  content: Uint8Array,
  name = SEGMENT,
  type: CompressType = 'zst',
  headerCheck = true,
): Promise<string> {
  const path = join(dir, name)
  writeFileSync(path, content)
  const report = await pushWal({
    stanza: 'main',
    path,
    files: localFiles(),
    repositories: [repositoryWith(storage)],
    compression: { type, level: type === 'none' ? 0 : 1 },
    headerCheck,
    warnWhenArchived: false,
    log,
    signal,
  })
  rmSync(path)
  return report.repositories[0]!.repoName
}

function get(storages: readonly StorageDriver[], options: Partial<GetRequest> = {}) {
  return getWal({
    stanza: 'main',
    file: SEGMENT,
    destination,
    identity: { systemId: aSystemId, version: '15' },
    repositories: storages.map((storage, index) => repositoryWith(storage, { key: index + 1 })),
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

function damage(storage: MemoryStorage, name: string, change: (bytes: Buffer) => Buffer): void {
  const file = storage.files.get(name)
  if (file === undefined) throw new Error(`nothing to damage at ${name}`)
  storage.files.set(name, { ...file, bytes: change(Buffer.from(file.bytes)) })
}

const flipped = (bytes: Buffer): Buffer => {
  bytes[bytes.length >> 1]! ^= 0x40
  return bytes
}

describe('getWal: files that exist', () => {
  test.each(['none', 'gz', 'lz4', 'zst'] as const)(
    'returns a segment that was stored with compression %s',
    async (type) => {
      const storage = await aRepository()
      const content = aSegment()
      const repoName = await archived(storage, content, SEGMENT, type)
      expect(await get([storage])).toEqual({
        found: true,
        file: SEGMENT,
        repoKey: 1,
        archiveId: '15-1',
        repoName,
        sizeBytes: content.length,
      })
      expect(readFileSync(destination).equals(content)).toBe(true)
      expect(readdirSync(dir)).toEqual(['RECOVERYXLOG'])
    },
  )

  test('returns history files, each from its own directory', async () => {
    const storage = await aRepository()
    await archived(storage, Buffer.from('1\t0/1000000\tx\n'), '00000002.history')
    await archived(storage, Buffer.from('START\n'), `${SEGMENT}.00000028.backup`)
    await get([storage], { file: '00000002.history' })
    expect(readFileSync(destination, 'utf8')).toBe('1\t0/1000000\tx\n')
    await get([storage], { file: `${SEGMENT}.00000028.backup` })
    expect(readFileSync(destination, 'utf8')).toBe('START\n')
  })

  test('does not return a partial segment for a segment, nor the reverse', async () => {
    const storage = await aRepository()
    await archived(storage, aSegment(), `${SEGMENT}.partial`)
    expect(await get([storage])).toEqual({ found: false, file: SEGMENT })
    expect(existsSync(destination)).toBe(false)
    expect(await get([storage], { file: `${SEGMENT}.partial` })).toMatchObject({ found: true })
  })

  test('replaces a file at the destination', async () => {
    const storage = await aRepository()
    const content = aSegment()
    await archived(storage, content)
    writeFileSync(destination, 'old')
    await get([storage])
    expect(readFileSync(destination).equals(content)).toBe(true)
  })

  test('returns a segment from an older archive id of the same cluster', async () => {
    const storage = await aRepository()
    const content = aSegment()
    await archived(storage, content)
    const info = await loadArchiveInfo(repositoryWith(storage), 'main')
    const history = [
      ...info.history,
      { id: 2, systemId: 42n, version: '15' },
      { id: 3, systemId: aSystemId, version: '15' },
    ]
    await saveArchiveInfo(repositoryWith(storage), 'main', { ...info, currentId: 3, history })
    expect(await get([storage])).toMatchObject({ found: true, archiveId: '15-1' })
  })
})

describe('getWal: files that do not exist', () => {
  test('reports not found and keeps the destination', async () => {
    writeFileSync(destination, 'old')
    expect(await get([await aRepository()])).toEqual({ found: false, file: SEGMENT })
    expect(readFileSync(destination, 'utf8')).toBe('old')
    expect(await get([await aRepository()], { file: '00000005.history' })).toMatchObject({ found: false })
  })

  test('refuses a name that PostgreSQL does not archive', async () => {
    expect(await failure(get([await aRepository()], { file: 'pg_wal/x' }))).toMatchObject({ exitCode: 96 })
  })
})

describe('getWal: copies that cannot be read', () => {
  /** Reading the segment fails `times` times. */
  function refusing(storage: MemoryStorage, error: PgtsError, times = Infinity): StorageDriver {
    let left = times
    const read: StorageDriver['read'] = async (name, range) => {
      if (name.includes(SEGMENT) && left-- > 0) throw error
      return storage.read(name, range)
    }
    return new Proxy(storage, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property, target)
        if (property === 'read') return read
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  test.each([
    ['access', 105, 'cannot read s3://b/x: access denied (403)'],
    ['service', 101, 'cannot read s3://b/x: HTTP status 400'],
    ['path-missing', 73, 'cannot read s3://b/x: there is no bucket b'],
    ['file-missing', 55, 'cannot read s3://b/x: it is not there'],
  ] as const)('reports error %s of a copy without calling the copy corrupt', async (code, exitCode, message) => {
    const storage = await aRepository()
    await archived(storage, aSegment())
    const refused = refusing(storage, new PgtsError(code, message, { hints: ['check the credentials'] }))
    const error = await failure(get([refused]))
    expect(error).toMatchObject({ code, exitCode, hints: ['check the credentials'] })
    expect(error.message).toBe(
      `cannot read ${SEGMENT} from the archive:\nrepo1: [${String(exitCode).padStart(3, '0')}] ${message}`,
    )
    expect(existsSync(destination)).toBe(false)
  })

  test('reports the error of an unreadable copy when the other copy is corrupt', async () => {
    const [first, second] = [await aRepository(), await aRepository()]
    const content = aSegment()
    damage(first, await archived(first, content), flipped)
    await archived(second, content)
    const error = await failure(get([first, refusing(second, new PgtsError('access', 'access denied'))]))
    expect(error.code).toBe('access')
    expect(error.hints.join()).not.toContain('corrupt')
  })

  test('reads a listed file again when it is missing once', async () => {
    const storage = await aRepository()
    const content = aSegment()
    await archived(storage, content)
    const missing = new PgtsError('file-missing', 'it is not there')
    expect(await get([refusing(storage, missing, 1)])).toMatchObject({ found: true })
    expect(readFileSync(destination).equals(content)).toBe(true)
    expect(log.lines.filter((line) => line.startsWith('warn'))).toEqual([])
  })
})

describe('getWal: corrupt copies', () => {
  test.each([
    ['none', flipped],
    ['gz', flipped],
    ['lz4', flipped],
    ['zst', flipped],
    ['none', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)],
    ['gz', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)],
    ['zst', (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1)],
    ['none', () => Buffer.alloc(0)],
  ] as const)('returns no corrupt segment (compression %s, case %#)', async (type, change) => {
    const storage = await aRepository()
    damage(storage, await archived(storage, aSegment(), SEGMENT, type), change)
    writeFileSync(destination, 'old')
    const error = await failure(get([storage]))
    expect(error).toMatchObject({ code: 'checksum', exitCode: 26 })
    expect(error.message).toContain(`no usable copy of ${SEGMENT}`)
    expect(error.message).toContain('repo1: [')
    expect(error.hints.join()).toContain('another copy')
    expect(readFileSync(destination, 'utf8')).toBe('old')
    expect(readdirSync(dir)).toEqual(['RECOVERYXLOG'])
  })

  test('returns the copy of the next repository when one is corrupt', async () => {
    const [first, second] = [await aRepository(), await aRepository()]
    const content = aSegment()
    damage(first, await archived(first, content), flipped)
    await archived(second, content, SEGMENT, 'gz')
    expect(await get([first, second])).toMatchObject({ found: true, repoKey: 2 })
    expect(readFileSync(destination).equals(content)).toBe(true)
    expect(log.lines.filter((line) => line.startsWith('warn: repo1: ['))).toHaveLength(1)
  })

  test('refuses a segment that was truncated before it was archived', async () => {
    const storage = await aRepository()
    await archived(storage, aSegment({ headerSize: 16 * 1024 * 1024 }), SEGMENT, 'zst', false)
    const error = await failure(get([storage]))
    expect(error).toMatchObject({
      exitCode: 26,
      message: expect.stringContaining('its header says 16777216') as string,
    })
    expect(existsSync(destination)).toBe(false)
  })
})

test('refuses a segment of another cluster that is in the archive of this cluster', async () => {
  const [first, second] = [await aRepository(), await aRepository()]
  await archived(first, aSegment({ systemId: 42n }), SEGMENT, 'zst', false)
  const error = await failure(get([first]))
  expect(error).toMatchObject({ exitCode: 44, message: expect.stringContaining('system identifier 42') as string })
  expect(error.hints.join()).toContain('another cluster')
  expect(readdirSync(dir)).toEqual([])

  // A partial segment of another cluster is refused, too.
  await archived(second, aSegment({ systemId: 42n }), `${SEGMENT}.partial`, 'zst', false)
  expect(await failure(get([second], { file: `${SEGMENT}.partial` }))).toMatchObject({ exitCode: 44 })
})

test('removes temporary files of killed calls and keeps those of running calls', async () => {
  const storage = await aRepository()
  await archived(storage, aSegment())
  const dead = spawnSync('true').pid
  for (const pid of [dead, process.ppid]) writeFileSync(`${destination}.${pid}.pgts.tmp`, '')
  await get([storage])
  expect(readdirSync(dir).sort()).toEqual(['RECOVERYXLOG', `RECOVERYXLOG.${process.ppid}.pgts.tmp`])
})

test('does not rename a temporary file that another process has replaced', async () => {
  const target = await createDestination(destination, { temporary: `${destination}.tmp` })
  await target.sink.write(aSegment())
  rmSync(`${destination}.tmp`)
  writeFileSync(`${destination}.tmp`, 'theirs, half written')
  expect(await failure(target.commit())).toMatchObject({ exitCode: 74 })
  expect(existsSync(destination)).toBe(false)
})

test('reports copies of a segment with different contents', async () => {
  const [first, second] = [await aRepository(), await aRepository()]
  const [ours, theirs] = [aSegment(), aSegment()]
  await archived(first, ours)
  await archived(second, theirs)
  const error = await failure(get([first, second]))
  expect(error).toMatchObject({ exitCode: 45 })
  expect(error.message).toContain(sha1(ours))
  expect(error.message).toContain(sha1(theirs))
  expect(error.message).toContain('repo2 15-1/')
  expect(existsSync(destination)).toBe(false)
})

test('reports history files with different contents in two repositories', async () => {
  const [first, second, third] = [await aRepository(), await aRepository(), await aRepository()]
  const file = '00000002.history'
  await archived(first, Buffer.from('one\n'), file)
  await archived(second, Buffer.from('two\n'), file)
  await archived(third, Buffer.from('one\n'), file)
  const error = await failure(get([first, second], { file }))
  expect(error).toMatchObject({ code: 'archive-duplicate' })
  expect(error.message).toContain(`repo1 15-1/${file}`)
  expect(error.message).toContain(`repo2 15-1/${file}`)
  expect(existsSync(destination)).toBe(false)
  expect(await get([first, third], { file })).toMatchObject({ found: true, repoKey: 1 })
  expect(readFileSync(destination, 'utf8')).toBe('one\n')
})

test('skips an unreadable repository with a warning', async () => {
  const good = await aRepository()
  await archived(good, aSegment())
  expect(await get([memoryStorage(), good])).toMatchObject({ found: true, repoKey: 2 })
  expect(log.lines.join()).toContain('warn: repo1: [055]')
})

test('reports an error when no repository can be read', async () => {
  expect(await failure(get([memoryStorage(), memoryStorage()]))).toMatchObject({ exitCode: 103 })
  expect(await failure(get([memoryStorage()]))).toMatchObject({ exitCode: 55 })
})

test.each([SEGMENT, '00000002.history'])(
  'does not report not found for %s when one repository cannot be searched',
  async (file) => {
    const good = await aRepository()
    const error = await failure(get([good, memoryStorage()], { file }))
    expect(error).toMatchObject({
      exitCode: 103,
      message: expect.stringMatching(/in none.*\nrepo2: \[055\]/) as string,
    })
    expect(error.hints.join()).toContain('--repo=N')
    // A repository that was searched and has nothing of this cluster certainly lacks the file.
    expect(await get([good, await aRepository(42n)], { file })).toEqual({ found: false, file })
    expect(log.lines.join()).toContain('warn: repo2: [044]')
    expect(await failure(get([memoryStorage(), await aRepository(42n)], { file }))).toMatchObject({ exitCode: 103 })
  },
)

test('reports an error instead of not found for the stanza of another cluster', async () => {
  const error = await failure(get([await aRepository(42n)]))
  expect(error).toMatchObject({ exitCode: 44, message: expect.stringContaining(String(aSystemId)) as string })
  expect(error.hints.join()).toContain('restore_command')
})

test('reports the error of an unwritable destination without trying other copies', async () => {
  const [first, second] = [await aRepository(), await aRepository()]
  const content = aSegment()
  await archived(first, content)
  await archived(second, content)
  const error = await failure(get([first, second], { destination: join(dir, 'nowhere', 'RECOVERYXLOG') }))
  expect(error).toMatchObject({ exitCode: 73, message: expect.stringContaining('nowhere') as string })
  expect(log.lines.join()).not.toContain('warn')
})
