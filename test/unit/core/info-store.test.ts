import { gunzipSync } from 'node:zlib'
import { beforeEach, describe, expect, test } from 'vitest'
import { loadArchiveInfo, saveArchiveInfo } from '../../../src/core/archive-info-store.ts'
import { loadBackupInfo, saveBackupInfo } from '../../../src/core/backup-info-store.ts'
import { isDamage } from '../../../src/core/info-pair.ts'
import { loadManifest, saveManifest, saveManifestCopy, saveManifestHistory } from '../../../src/core/manifest-store.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { putFile } from '../../../src/storage/whole-file.ts'
import { sourceOf } from '../../../src/util/bytes.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { crashing } from '../../support/faults/faulty-driver.ts'
import {
  archiveInfoOf,
  backupInfoOf,
  entriesOf,
  manifestsOf,
  repositoryWith,
} from '../../support/builders/repository.ts'
import { recordingLogger } from '../../support/builders/restore-context.ts'

const LABEL = '20260102-030405F'
const MAIN = 'backup/main/backup.info'
const MANIFEST = `backup/main/${LABEL}/backup.manifest`
const [manifest] = manifestsOf([{ label: LABEL }])
const info = backupInfoOf(entriesOf([{ label: LABEL }]))

let storage = memoryStorage()
let log = recordingLogger()
beforeEach(() => {
  storage = memoryStorage()
  log = recordingLogger()
})
const bytesOf = (name: string) => storage.files.get(name)?.bytes
const damage = (name: string, change: (bytes: Buffer) => Buffer) =>
  void storage.files.set(name, { bytes: change(bytesOf(name)!), mtimeMs: 0 })
const truncate = (name: string) => damage(name, (bytes) => bytes.subarray(0, bytes.length / 2))

describe('info files', () => {
  test('are loaded as they were saved, with the version of pgts as the writer', async () => {
    await saveBackupInfo(repositoryWith(storage), 'main', info)
    await saveArchiveInfo(repositoryWith(storage), 'main', archiveInfoOf())
    expect(await loadBackupInfo(repositoryWith(storage), 'main', { log })).toMatchObject({
      ...info,
      backrestVersion: expect.stringMatching(/^pgts /),
    })
    expect(await loadArchiveInfo(repositoryWith(storage), 'main', { log })).toMatchObject({
      history: archiveInfoOf().history,
    })
    expect(bytesOf(MAIN)).toEqual(bytesOf(`${MAIN}.copy`))
    expect(log.lines).toEqual([])
  })

  test.each([
    ['truncated', () => truncate(MAIN)],
    ['flipped', () => damage(MAIN, (bytes) => Buffer.from(bytes.toString('latin1').replace('15', '16'), 'latin1'))],
    ['missing', () => void storage.files.delete(MAIN)],
    ['empty', () => damage(MAIN, () => Buffer.alloc(0))],
  ])('the copy of a %s info file is read instead, with a warning', async (_, spoil) => {
    await saveBackupInfo(repositoryWith(storage), 'main', info)
    spoil()
    expect((await loadBackupInfo(repositoryWith(storage), 'main', { log })).backups).toEqual(info.backups)
    expect(log.lines.join('\n')).toMatch(/warn: .*backup\/main\/backup\.info is unusable, so its copy was used/)
    expect(log.lines).toHaveLength(1)
  })

  test('archive.info is read again on every load: a change, damage or loss is detected', async () => {
    const name = 'archive/main/archive.info'
    const both = (change: (file: string) => void) => [name, `${name}.copy`].forEach(change)
    const load = async () => (await loadArchiveInfo(repositoryWith(storage), 'main', { log })).history
    await saveArchiveInfo(repositoryWith(storage), 'main', archiveInfoOf())
    const before = await load()
    expect(await load()).toEqual(before)
    const [first] = before
    const changed = { ...archiveInfoOf(), history: [{ ...first!, systemId: first!.systemId + 1n }] }
    await saveArchiveInfo(repositoryWith(storage), 'main', changed)
    expect((await load())[0]?.systemId).toBe(first!.systemId + 1n)
    both((file) => damage(file, (bytes) => Buffer.from(bytes.toString('latin1').replace('15', '16'), 'latin1')))
    await expect(load()).rejects.toMatchObject({ code: 'checksum' })
    both((file) => void storage.files.delete(file))
    await expect(load()).rejects.toMatchObject({ code: 'file-missing' })
  })

  test('a crash while info files are written leaves the old or the new content', async () => {
    await saveBackupInfo(repositoryWith(storage), 'main', backupInfoOf([]))
    for (let at = 0; ; at++) {
      const driver = crashing(storage, at)
      await saveBackupInfo(repositoryWith(driver), 'main', info).catch(() => undefined)
      const { backups } = await loadBackupInfo(repositoryWith(storage), 'main')
      expect([0, 1]).toContain(backups.length)
      if (!driver.reached) break
      await saveBackupInfo(repositoryWith(storage), 'main', backupInfoOf([]))
    }
  })

  test('a missing backup.info is an error with stanza-create as its hint', async () => {
    await expect(loadBackupInfo(repositoryWith(storage), 'main')).rejects.toMatchObject({
      code: 'file-missing',
      message: expect.stringMatching(/backup\/main\/backup\.info/),
      hints: [
        expect.stringMatching(/stanza-create/),
        expect.stringMatching(/repo-path/),
        expect.stringMatching(/was in use/),
      ],
    })
  })

  test('two different failures of the file and its copy are reported in one error', async () => {
    await saveBackupInfo(repositoryWith(storage), 'main', info)
    truncate(MAIN)
    damage(`${MAIN}.copy`, () => Buffer.from('nonsense\n'))
    const error = await loadBackupInfo(repositoryWith(storage), 'main').catch((cause: unknown) => cause)
    expect(error).toMatchObject({
      message: expect.stringMatching(/neither .*backup\.info nor its copy can be used\n.+\n.+/),
    })
  })

  test.each(['main', 'copy'])(
    'when one is damaged and the %s file is missing, the damage is reported',
    async (missing) => {
      await saveBackupInfo(repositoryWith(storage), 'main', info)
      truncate(missing === 'main' ? `${MAIN}.copy` : MAIN)
      storage.files.delete(missing === 'main' ? MAIN : `${MAIN}.copy`)
      const error = await loadBackupInfo(repositoryWith(storage), 'main').catch((cause: unknown) => cause)
      expect(error).not.toMatchObject({ code: 'file-missing' })
    },
  )

  test.each([MAIN, `${MAIN}.copy`])(
    'a storage error of %s is reported, whatever the state of the other file',
    async (unread) => {
      await saveBackupInfo(repositoryWith(storage), 'main', info)
      for (const file of [MAIN, `${MAIN}.copy`]) truncate(file)
      const failing = {
        ...storage,
        read: (name: string) =>
          name === unread ? Promise.reject(new PgtsError('service', 'no answer')) : storage.read(name),
      }
      const error = await loadBackupInfo(repositoryWith(failing), 'main').catch((cause: unknown) => cause)
      expect(error).toMatchObject({ code: 'service' })
      expect(isDamage(error)).toBe(false)
    },
  )

  test('an interrupted command does not read the copy', async () => {
    await saveBackupInfo(repositoryWith(storage), 'main', info)
    const signal = AbortSignal.abort(new Error('stop'))
    await expect(loadBackupInfo(repositoryWith(storage), 'main', { log, signal })).rejects.toThrow('stop')
    expect(log.lines).toEqual([])
  })
})

describe('manifests', () => {
  test('of a finished backup are saved as copy and file, the copy first', async () => {
    const driver = crashing(storage)
    await saveManifest(driver, 'main', manifest!, {})
    expect(driver.steps.filter((step) => step.startsWith('commit'))).toEqual([
      `commit ${MANIFEST}.copy`,
      `commit ${MANIFEST}`,
    ])
    expect(bytesOf(MANIFEST)).toEqual(bytesOf(`${MANIFEST}.copy`))
    const loaded = await loadManifest(storage, 'main', LABEL, {})
    expect({ ...loaded, files: [...loaded.files] }).toMatchObject({ label: LABEL, files: manifest!.files })
  })

  test('of a million files are read, which are larger than any other info file', async () => {
    const megabyte = Buffer.alloc(1024 * 1024, 'x')
    const chunks = Array.from({ length: 130 }, () => megabyte)
    const large = { ...storage, read: async () => ({ ...sourceOf(...chunks), sizeBytes: 130 * megabyte.length }) }
    // The content is read and refused, not the size.
    await expect(loadManifest(large, 'main', LABEL, {})).rejects.toThrow(/line 1: a key comes before/)
  })

  test('of an unfinished backup are saved as the copy only, and are not loaded as a backup', async () => {
    const partial = { ...manifest!, db: { ...manifest!.db, historyId: 0, systemId: 0n } }
    await saveManifestCopy(storage, 'main', partial, {})
    expect(bytesOf(MANIFEST)).toBeUndefined()
    await expect(loadManifest(storage, 'main', LABEL, {})).rejects.toThrow(/is not finished/)
    expect(await loadManifest(storage, 'main', LABEL, {}, { partial: true })).toMatchObject({ label: LABEL })
  })

  test('of another backup are refused', async () => {
    await saveManifest(
      storage,
      'main',
      { ...manifest!, label: '20260101-000000F', references: ['20260101-000000F'] },
      {},
    )
    const other = storage.files.get('backup/main/20260101-000000F/backup.manifest')!
    storage.files.set(MANIFEST, other)
    await expect(loadManifest(storage, 'main', LABEL, {})).rejects.toMatchObject({
      message: expect.stringMatching(/20260101-000000F/),
    })
  })

  test('are saved in the history as gz of the same bytes', async () => {
    await saveManifest(storage, 'main', manifest!, {})
    await saveManifestHistory(storage, 'main', manifest!, {})
    const stored = bytesOf(`backup/main/backup.history/2026/${LABEL}.manifest.gz`)!
    expect(gunzipSync(stored)).toEqual(bytesOf(MANIFEST))
  })
})

test('an error for an unknown stanza names the stanzas of the repository', async () => {
  const storage = memoryStorage()
  for (const name of ['main', 'other']) await putFile(storage, `backup/${name}/backup.info`, Buffer.from('x'))
  const error = await loadBackupInfo(repositoryWith(storage), 'mian').catch((failure: unknown) => failure)
  expect(error).toMatchObject({ code: 'file-missing' })
  expect((error as PgtsError).hints.at(-1)).toBe(`stanzas in ${storage.display}: main, other`)
})
