import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { decrypt } from '../../../src/codec/cipher.ts'
import { getWal } from '../../../src/core/archive/get/get-wal.ts'
import { pushWal } from '../../../src/core/archive/push/push-wal.ts'
import { loadArchiveInfo } from '../../../src/core/archive-info-store.ts'
import { loadBackupInfo, saveBackupInfo } from '../../../src/core/backup-info-store.ts'
import { loadManifest, saveManifest, saveManifestCopy, saveManifestHistory } from '../../../src/core/manifest-store.ts'
import type { Repository } from '../../../src/core/repository.ts'
import { createStanza } from '../../../src/core/stanza/create.ts'
import { localFiles } from '../../../src/postgres/local-files.ts'
import { memoryStorage, type MemoryStorage } from '../../../src/storage/memory.ts'
import { textToBytes } from '../../../src/util/byte-string.ts'
import { isPgtsError, toPlainError, type PgtsError } from '../../../src/util/error.ts'
import { backupInfoOf, entriesOf, manifestsOf, repositoryWith } from '../../support/builders/repository.ts'
import { aSegment, aSystemId, recordingLog, sha1 } from '../../support/builders/wal.ts'

const PASS = 'Schlüssel für "repo1"'
const LABEL = '20260102-030405F'
const SEGMENT = '000000010000000000000001'
const signal = new AbortController().signal
const dir = mkdtempSync(join(tmpdir(), 'pgts-encryption-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

let log = recordingLog()
let storage: MemoryStorage
beforeEach(() => {
  log = recordingLog()
  storage = memoryStorage()
})

/** As the configuration gives it. */
function cipherOf(pass = PASS, key = 1): NonNullable<Repository['cipher']> {
  const origin = `repo${key}-cipher-pass (from PGTS_REPO${key}_CIPHER_PASS)`
  return { type: 'aes-256-cbc', origin, passphrase: () => textToBytes(pass) }
}

const encryptedRepository = (pass = PASS) => repositoryWith(storage, { cipher: cipherOf(pass) })
const bytesOf = (name: string, from = storage) => from.files.get(name)!.bytes
const put = (name: string, bytes: Buffer) => void storage.files.set(name, { bytes, mtimeMs: 0 })

async function failure(promise: Promise<unknown>): Promise<PgtsError> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (cause: unknown) => cause,
  )
  if (isPgtsError(error)) return error
  throw error
}

/** Everything of an error that a log could show. */
function textOf(error: unknown): string {
  const { message, hints, stack } = toPlainError(error)
  const cause = error instanceof Error && error.cause !== undefined ? textOf(error.cause) : ''
  return [message, ...hints, stack, cause].join('\n')
}

async function newStanza(repository = encryptedRepository()): Promise<void> {
  const cluster = { systemId: aSystemId, version: '15', controlVersion: 1300, catalogVersion: 202209061 }
  await createStanza(repository, 'main', cluster, { signal, log })
}

describe('a repository that pgbackrest 2.45 encrypted', () => {
  const root = join(import.meta.dirname, '../../vectors/encrypted/2.45')
  const label = '20261122-152413F'
  const segment = '000000010000000000000005'
  beforeEach(() => {
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const path = join(entry.parentPath, entry.name)
      put(path.slice(root.length + 1), readFileSync(path))
    }
  })

  test('has readable info files, manifests and files', async () => {
    const archive = await loadArchiveInfo(encryptedRepository(), 'main')
    const backup = await loadBackupInfo(encryptedRepository(), 'main')
    const manifest = await loadManifest(storage, 'main', label, backup)
    expect(backup.backups.map((entry) => entry.label)).toEqual([label])
    const passes = [archive.cipherPass, backup.cipherPass, manifest.cipherPass]
    for (const pass of passes) expect(pass).toMatch(/^[A-Za-z0-9+/]{64}$/)
    expect(new Set(passes).size).toBe(3)

    const version = [...manifest.files].find(({ name }) => name === 'pg_data/PG_VERSION')!
    const stored = bytesOf(`backup/main/${label}/pg_data/PG_VERSION.gz`)
    expect(stored.length).toBe(version.repoSizeBytes)
    expect(gunzipSync(decrypt(stored, manifest.cipherPass!)).toString()).toBe('15\n')
    const history = bytesOf(`backup/main/backup.history/2026/${label}.manifest.gz`)
    expect(gunzipSync(decrypt(history, backup.cipherPass!)).toString()).toContain(`backup-label="${label}"`)
  })

  test.each([segment, '00000002.history'])(
    '%s is read from an encrypted archive and its checksum verified',
    async (file) => {
      const { history } = await loadArchiveInfo(encryptedRepository(), 'main')
      const destination = join(dir, 'from-vector')
      const identity = { systemId: history[0]!.systemId, version: '15' }
      const repositories = [encryptedRepository()]
      const report = await getWal({ stanza: 'main', file, destination, identity, repositories, log, signal })
      expect(report).toMatchObject({ found: true })
      const content = readFileSync(destination)
      if (file === segment) expect(content.readUInt32LE(32)).toBe(content.length)
      else expect(content.toString()).toBe('1\t0/5000000\tno recovery target specified\n')
    },
  )

  test.each([
    ['archive.info', 'archive/main/archive.info', loadArchiveInfo],
    ['backup.info', 'backup/main/backup.info', loadBackupInfo],
  ] as const)(
    'a flipped byte anywhere in %s is an error, and an intact copy is read instead',
    async (_, name, load) => {
      const original = bytesOf(name)
      const expected = await load(encryptedRepository(), 'main')
      for (let at = 0; at < original.length; at++) {
        const flipped = Buffer.from(original)
        flipped[at]! ^= 1 << (at % 8)
        put(name, flipped)
        storage.files.delete(`${name}.copy`)
        const error = await failure(load(encryptedRepository(), 'main'))
        expect(['crypto', 'checksum', 'format']).toContain(error.code)
        expect(textOf(error)).not.toContain(PASS)
        expect(error.message).toMatch(/^[\x20-\x7e\n]+$/)
        put(`${name}.copy`, original)
        expect(await load(encryptedRepository(), 'main')).toEqual(expected)
      }
    },
  )

  test('a flipped byte anywhere in a manifest is an error', async () => {
    const backup = await loadBackupInfo(encryptedRepository(), 'main')
    const name = `backup/main/${label}/backup.manifest`
    const original = bytesOf(name)
    for (let at = 0; at < original.length; at++) {
      const flipped = Buffer.from(original)
      flipped[at]! ^= 1 << (at % 8)
      put(name, flipped)
      const error = await failure(loadManifest(storage, 'main', label, backup))
      expect(['crypto', 'checksum', 'format']).toContain(error.code)
      expect(textOf(error)).not.toContain(backup.cipherPass)
    }
  })
})

describe('info files', () => {
  const info = { ...backupInfoOf(entriesOf([{ label: LABEL }])), cipherPass: 'level-two' }

  test('are read as they were saved; the file and its copy have the same bytes', async () => {
    await saveBackupInfo(encryptedRepository(), 'main', info)
    const stored = bytesOf('backup/main/backup.info')
    expect(stored.toString('latin1', 0, 8)).toBe('Salted__')
    expect(stored).toEqual(bytesOf('backup/main/backup.info.copy'))
    expect(await loadBackupInfo(encryptedRepository(), 'main')).toMatchObject({
      backups: info.backups,
      cipherPass: 'level-two',
    })
    // Every save has a salt of its own.
    await saveBackupInfo(encryptedRepository(), 'main', info)
    expect(bytesOf('backup/main/backup.info')).not.toEqual(stored)
  })

  test('a wrong passphrase is reported as such, without bytes of the file', async () => {
    await saveBackupInfo(encryptedRepository(), 'main', info)
    // Once in 256 times the padding of a wrong key is valid.
    for (let attempt = 0; attempt < 1500; attempt++) {
      const wrong = `guess ${attempt}!`
      const error = await failure(loadBackupInfo(encryptedRepository(wrong), 'main'))
      expect(error.code).toBe('crypto')
      expect(error.message).toContain('wrong passphrase: repo1-cipher-pass (from PGTS_REPO1_CIPHER_PASS)')
      expect(error.message).toContain('backup.info')
      expect(error.hints.join()).toContain('compare repo1-cipher-pass')
      expect(textOf(error)).not.toContain(wrong)
      expect(error.message).toMatch(/^[\x20-\x7e\n]+$/)
    }
  })

  test('a cipher that does not match the file is an error that names the setting', async () => {
    await saveBackupInfo(encryptedRepository(), 'main', info)
    expect(await failure(loadBackupInfo(repositoryWith(storage, { key: 2 }), 'main'))).toMatchObject({
      code: 'crypto',
      message: expect.stringContaining('backup.info is encrypted, but no cipher is configured for repo2'),
      hints: [expect.stringContaining('repo2-cipher-type=aes-256-cbc and repo2-cipher-pass')],
    })
    const { cipherPass: _, ...unencrypted } = info
    await saveBackupInfo(repositoryWith(storage), 'main', unencrypted)
    expect(await failure(loadBackupInfo(encryptedRepository(), 'main'))).toMatchObject({
      code: 'crypto',
      message: expect.stringContaining('backup.info is not encrypted, but repo1-cipher-type is aes-256-cbc'),
      hints: [expect.stringContaining('repo1-cipher-type=none'), expect.stringContaining('create a new one')],
    })
  })

  test('a passphrase is never written to an unencrypted file', async () => {
    await expect(saveBackupInfo(repositoryWith(storage), 'main', info)).rejects.toMatchObject({ code: 'format' })
    const { cipherPass: _, ...without } = info
    await expect(saveBackupInfo(encryptedRepository(), 'main', without)).rejects.toMatchObject({ code: 'format' })
    const [manifest] = manifestsOf([{ label: LABEL }])
    const secret = { ...manifest!, cipherPass: 'level three' }
    for (const save of [saveManifest, saveManifestCopy, saveManifestHistory]) {
      await expect(async () => save(storage, 'main', secret, {})).rejects.toMatchObject({ code: 'assert' })
      await expect(async () => save(storage, 'main', manifest!, info)).rejects.toMatchObject({ code: 'assert' })
    }
    expect(storage.files.size).toBe(0)
  })

  test('manifests are encrypted with the passphrase of backup.info', async () => {
    const [plain] = manifestsOf([{ label: LABEL }])
    const manifest = { ...plain!, cipherPass: 'level three' }
    await saveManifest(storage, 'main', manifest, info)
    await saveManifestHistory(storage, 'main', manifest, info)
    const name = `backup/main/${LABEL}/backup.manifest`
    expect(bytesOf(name)).toEqual(bytesOf(`${name}.copy`))
    expect(await loadManifest(storage, 'main', LABEL, info)).toMatchObject({ label: LABEL, cipherPass: 'level three' })
    const history = bytesOf(`backup/main/backup.history/2026/${LABEL}.manifest.gz`)
    expect(gunzipSync(decrypt(history, 'level-two'))).toEqual(decrypt(bytesOf(name), 'level-two'))
    expect(await failure(loadManifest(storage, 'main', LABEL, { cipherPass: 'another' }))).toMatchObject({
      code: 'crypto',
      message: expect.stringContaining('the passphrase in backup.info does not decrypt backup.manifest'),
    })
    expect(await failure(loadManifest(storage, 'main', LABEL, {}))).toMatchObject({
      code: 'crypto',
      message: expect.stringContaining('backup.manifest is encrypted, but backup.info has no passphrase for it'),
    })
  })
})

describe('stanza-create', () => {
  test('stanza-create generates a passphrase for the archive and one for the manifests, once', async () => {
    await newStanza()
    const archive = (await loadArchiveInfo(encryptedRepository(), 'main')).cipherPass
    const backup = (await loadBackupInfo(encryptedRepository(), 'main')).cipherPass
    for (const pass of [archive, backup]) expect(pass).toMatch(/^[A-Za-z0-9+/]{64}$/)
    expect(archive).not.toBe(backup)
    await newStanza()
    expect((await loadArchiveInfo(encryptedRepository(), 'main')).cipherPass).toBe(archive)
  })

  test('stanza-create writes a missing copy again byte for byte', async () => {
    await newStanza()
    storage.files.delete('archive/main/archive.info')
    await newStanza()
    expect(bytesOf('archive/main/archive.info')).toEqual(bytesOf('archive/main/archive.info.copy'))
  })

  test('stanza-create refuses a stanza with another passphrase', async () => {
    await newStanza()
    expect(await failure(newStanza(encryptedRepository('another')))).toMatchObject({ code: 'crypto' })
  })
})

describe('the archive', () => {
  const identity = { systemId: aSystemId, version: '15' }
  const compress = { type: 'gz', level: 6 } as const
  const common = { stanza: 'main', log, signal }

  function walFile(name: string, content: Uint8Array | string): string {
    const path = join(dir, 'pg_wal', name)
    mkdirSync(join(dir, 'pg_wal'), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  test('one push stores a segment in repositories with different passphrases and in an unencrypted one', async () => {
    const others = [storage, memoryStorage(), memoryStorage()]
    const places = [
      encryptedRepository(),
      repositoryWith(others[1]!, { key: 2, cipher: cipherOf('another', 2) }),
      repositoryWith(others[2]!, { key: 3 }),
    ]
    for (const repository of places) {
      const cluster = { ...identity, controlVersion: 1300, catalogVersion: 202209061 }
      await createStanza(repository, 'main', cluster, { signal, log })
    }
    const content = aSegment()
    const push = (path: string) =>
      pushWal({
        ...common,
        path,
        files: localFiles(),
        repositories: places,
        compression: compress,
        headerCheck: true,
        warnWhenArchived: true,
      })
    const { repositories } = await push(walFile(SEGMENT, content))
    for (const [index, repository] of places.entries()) {
      const { cipherPass } = await loadArchiveInfo(repository, 'main')
      const stored = bytesOf(repositories[index]!.repoName, others[index])
      expect(repositories[index]!.repoName).toMatch(new RegExp(`${SEGMENT}-${sha1(content)}.gz$`))
      const plain = gunzipSync(cipherPass === undefined ? stored : decrypt(stored, cipherPass))
      expect(plain.equals(content)).toBe(true)
    }

    const history = walFile('00000002.history', '1\t0/5000000\tno recovery target specified\n')
    await push(history)
    const { cipherPass } = await loadArchiveInfo(places[0]!, 'main')
    const stored = bytesOf('archive/main/15-1/00000002.history')
    expect(decrypt(stored, cipherPass!)).toEqual(readFileSync(history))
    // Equal content is success, other content is an error, also in encrypted repositories.
    log.lines.length = 0
    await push(history)
    expect(log.lines.filter((line) => line.includes('other content'))).toEqual([])

    for (const repository of places) {
      for (const [file, expected] of [
        [SEGMENT, content],
        ['00000002.history', readFileSync(history)],
      ] as const) {
        const destination = join(dir, 'got')
        await getWal({ ...common, file, destination, identity, repositories: [repository] })
        expect(readFileSync(destination).equals(expected)).toBe(true)
      }
    }
  })

  test('a damaged segment is refused, or read from another repository', async () => {
    await newStanza()
    const second = repositoryWith(memoryStorage(), { key: 2, cipher: cipherOf('another', 2) })
    await newStanza(second)
    const content = aSegment()
    const { repositories } = await pushWal({
      ...common,
      path: walFile(SEGMENT, content),
      files: localFiles(),
      repositories: [encryptedRepository(), second],
      compression: { type: 'none', level: 0 },
      headerCheck: true,
      warnWhenArchived: true,
    })
    const { repoName } = repositories[0]!
    const original = bytesOf(repoName)
    const { cipherPass } = await loadArchiveInfo(encryptedRepository(), 'main')
    const destination = join(dir, 'got')
    for (const at of [0, 9, 16, 1000, original.length - 17, original.length - 1]) {
      const flipped = Buffer.from(original)
      flipped[at]! ^= 0x10
      put(repoName, flipped)
      rmSync(destination, { force: true })
      const request = { ...common, file: SEGMENT, destination, identity }
      const error = await failure(getWal({ ...request, repositories: [encryptedRepository()] }))
      expect(error.code).toBe('checksum')
      expect(textOf(error)).not.toContain(cipherPass)
      expect(readdirSync(dir)).not.toContain('got')
      expect(await getWal({ ...request, repositories: [encryptedRepository(), second] })).toMatchObject({ repoKey: 2 })
      expect(readFileSync(destination).equals(content)).toBe(true)
    }
  })
})

describe('a repository of format 6', () => {
  const header = Buffer.concat([Buffer.from('PGBR006_'), Buffer.alloc(40, 7)])
  test('is recognised by the header of its encrypted info files, also without a cipher', async () => {
    await newStanza()
    put('backup/main/backup.info', header)
    for (const repository of [encryptedRepository(), repositoryWith(storage)])
      expect(await failure(loadBackupInfo(repository, 'main'))).toMatchObject({
        code: 'format',
        message: 'backup.info: expected format 5 but found 6',
      })
  })

  test('is not read as format 5 from a copy that the upgrade had not replaced yet', async () => {
    await newStanza(repositoryWith(storage))
    const upgraded = bytesOf('archive/main/archive.info').toString().replace('backrest-format=5', 'backrest-format=6')
    put('archive/main/archive.info', Buffer.from(upgraded))
    expect(await failure(loadArchiveInfo(repositoryWith(storage), 'main'))).toMatchObject({
      code: 'format',
      message: 'archive.info: expected format 5 but found 6',
    })
  })
})
