import { beforeEach, describe, expect, test } from 'vitest'
import { loadArchiveInfo, saveArchiveInfo } from '../../../../src/core/archive-info-store.ts'
import { loadBackupInfo } from '../../../../src/core/backup-info-store.ts'
import { createStanza } from '../../../../src/core/stanza/create.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { isPgtsError, PgtsError } from '../../../../src/util/error.ts'
import { aSystemId, recordingLog } from '../../../support/builders/wal.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

const cluster = { systemId: aSystemId, version: '15', controlVersion: 1300, catalogVersion: 202209061 }
const FILES = ['archive/main/archive.info', 'backup/main/backup.info'].flatMap((name) => [name, `${name}.copy`])
const signal = new AbortController().signal
let storage = memoryStorage()
let log = recordingLog()
beforeEach(() => {
  storage = memoryStorage()
  log = recordingLog()
})

const create = (over = {}) =>
  createStanza(repositoryWith(storage, { key: 1 }), 'main', { ...cluster, ...over }, { signal, log })
const put = (name: string, text = 'x') => storage.files.set(name, { bytes: Buffer.from(text), mtimeMs: 0 })

async function failure(promise: Promise<unknown>): Promise<PgtsError> {
  try {
    await promise
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('no error was thrown')
}

describe('stanza-create in an empty repository', () => {
  test('writes both info files and their copies', async () => {
    expect(await create()).toEqual({ repoKey: 1, archiveId: '15-1', state: 'created', repaired: [] })
    expect([...storage.files.keys()].sort()).toEqual(FILES)
    expect(await loadArchiveInfo(repositoryWith(storage), 'main')).toMatchObject({
      currentId: 1,
      history: [{ id: 1, systemId: aSystemId, version: '15' }],
    })
    expect(await loadBackupInfo(repositoryWith(storage), 'main')).toMatchObject({
      currentId: 1,
      history: [{ id: 1, ...cluster }],
      backups: [],
    })
  })

  test('accepts other stanzas and leftovers of a killed run', async () => {
    put('archive/other/archive.info')
    put('archive/main/archive.info.pgbackrest.tmp')
    expect(await create()).toMatchObject({ state: 'created' })
  })
})

describe('stanza-create of an existing stanza', () => {
  test('finds it valid repeatedly, and does not rewrite it', async () => {
    await create()
    const before = new Map(storage.files)
    expect(await create()).toEqual({ repoKey: 1, archiveId: '15-1', state: 'valid', repaired: [] })
    expect(new Map(storage.files)).toEqual(before)
  })

  test.each(FILES)('writes a missing %s again, byte for byte', async (name) => {
    await create()
    const before = storage.files.get(name)!.bytes
    storage.files.delete(name)
    expect(await create()).toMatchObject({ state: 'repaired', repaired: [name] })
    expect(storage.files.get(name)!.bytes.equals(before)).toBe(true)
  })

  test('is refused for another cluster', async () => {
    await create()
    const before = new Map(storage.files)
    const error = await failure(create({ systemId: 42n }))
    expect(error).toMatchObject({ code: 'file-invalid', exitCode: 28 })
    expect(error.message).toContain(String(aSystemId))
    expect(error.message).toContain('42')
    expect(error.hints.join()).toContain('stanza-upgrade')
    expect(new Map(storage.files)).toEqual(before)
    expect(await failure(create({ version: '16' }))).toMatchObject({ exitCode: 28 })
  })

  test('is refused when its info files contradict each other', async () => {
    await create()
    const info = await loadArchiveInfo(repositoryWith(storage), 'main')
    const history = [...info.history, { id: 2, systemId: aSystemId, version: '15' }]
    await saveArchiveInfo(repositoryWith(storage), 'main', { ...info, currentId: 2, history })
    const error = await failure(create())
    expect(error).toMatchObject({ exitCode: 28, message: expect.stringContaining('do not match') as string })
    expect(error.message).toMatch(/archive.info: id 2.*backup.info: id 1/s)
  })

  test('is refused when an info file and its copy are damaged', async () => {
    await create()
    put('archive/main/archive.info', 'garbage')
    put('archive/main/archive.info.copy', 'garbage')
    expect((await failure(create())).message).toContain('nor its copy can be used')
  })
})

describe('stanza-create of an incomplete stanza', () => {
  test.each([
    ['archive/main/15-1/0000000100000000/x', 'archive/main'],
    ['backup/main/20260101-000000F/backup.manifest', 'backup/main'],
  ])('with %s but without info files changes nothing', async (name, path) => {
    put(name)
    const error = await failure(create())
    expect(error).toMatchObject({ code: 'path-not-empty', exitCode: 40 })
    expect(error.message).toContain(path)
    expect(error.hints.join()).toContain('the name of the stanza')
    expect([...storage.files.keys()]).toEqual([name])
  })

  test.each([
    ['archive', 'backup.info exists but archive.info is missing'],
    ['backup', 'archive.info exists but backup.info is missing'],
  ])('that lost %s.info is refused', async (kind, words) => {
    await create()
    for (const name of FILES) if (name.startsWith(kind)) storage.files.delete(name)
    const error = await failure(create())
    expect(error).toMatchObject({ code: 'file-missing', exitCode: 55 })
    expect(error.message).toContain(words)
    expect(error.hints.join()).toContain('removed by hand')
  })
})
