import { beforeEach, expect, test } from 'vitest'
import { loadBackupInfo, saveBackupInfo } from '../../../src/core/backup-info-store.ts'
import { saveManifestCopy } from '../../../src/core/manifest-store.ts'
import { reconcile, reconcileBackupInfo } from '../../../src/core/reconcile.ts'
import { withoutBackups } from '../../../src/format/backup-info.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { PgtsError } from '../../../src/util/error.ts'
import {
  backupInfoOf,
  entriesOf,
  fillRepository,
  manifestsOf,
  repositoryWith,
} from '../../support/builders/repository.ts'
import { recordingLogger } from '../../support/builders/restore-context.ts'

const F1 = '20260101-000000F'
const D1 = `${F1}_20260102-000000D`
const I1 = `${F1}_20260103-000000I`
const F2 = '20260201-000000F'
const backups = [F1, D1, I1, F2].map((label) => ({ label }))

let storage = memoryStorage()
let log = recordingLogger()
beforeEach(async () => {
  storage = memoryStorage()
  log = recordingLogger()
  await fillRepository(storage, { backups })
})

const manifestOf = (label: string) => `backup/main/${label}/backup.manifest`
async function reconciled(listed?: readonly string[]) {
  const info = await loadBackupInfo(repositoryWith(storage), 'main')
  const start = listed === undefined ? info : { ...info, backups: info.backups.filter((b) => listed.includes(b.label)) }
  return reconcile(storage, 'main', start, log)
}
const labels = (result: Awaited<ReturnType<typeof reconciled>>) => result.info.backups.map(({ label }) => label)

test('reconcile logs nothing when backup.info is right', async () => {
  expect(labels(await reconciled())).toEqual([F1, D1, I1, F2])
  expect(log.lines).toEqual([])
})

test('a backup without its manifest is removed from the list with its dependents', async () => {
  storage.files.delete(manifestOf(D1))
  storage.files.delete(`${manifestOf(D1)}.copy`)
  expect(labels(await reconciled())).toEqual([F1, F2])
  expect(log.lines).toHaveLength(2)
  expect(log.lines.join('\n')).toMatch(`backup ${I1} is removed from backup.info: it depends on ${D1}`)
})

test('a listed backup with only the manifest copy stays listed, and a writer restores the manifest', async () => {
  const bytes = storage.files.get(manifestOf(D1))!.bytes
  storage.files.delete(manifestOf(D1))
  const result = await reconciled()
  expect([labels(result), result.copyOnly]).toEqual([[F1, D1, I1, F2], [D1]])
  expect(storage.files.has(manifestOf(D1))).toBe(false)
  expect(log.lines).toEqual([expect.stringContaining(`backup.manifest of ${D1} is missing and is written again`)])
  await reconcileBackupInfo(storage, 'main', result.info, log)
  expect(storage.files.get(manifestOf(D1))!.bytes.equals(bytes)).toBe(true)
})

test.each([
  ['damaged', (bytes: Buffer) => bytes.subarray(0, bytes.length / 2)],
  ['of another label', (bytes: Buffer) => Buffer.from(bytes.toString('latin1').replaceAll(D1, I1), 'latin1')],
])('a backup with a manifest copy that is %s is removed from the list', async (_, change) => {
  const copy = storage.files.get(`${manifestOf(D1)}.copy`)!
  storage.files.set(`${manifestOf(D1)}.copy`, { ...copy, bytes: change(copy.bytes) })
  storage.files.delete(manifestOf(D1))
  expect(labels(await reconciled())).toEqual([F1, F2])
})

test('a storage error removes nothing from the list', async () => {
  storage.files.delete(manifestOf(D1))
  const failing = {
    ...storage,
    read: () => Promise.reject(new PgtsError('service', 'the store has gone')),
  }
  const info = await loadBackupInfo(repositoryWith(storage), 'main')
  await expect(reconcile(failing, 'main', info, log)).rejects.toThrow('the store has gone')
})

test('a finished backup that is not listed is listed again with the same entry', async () => {
  const before = (await loadBackupInfo(repositoryWith(storage), 'main')).backups
  expect((await reconciled([F1])).info.backups).toEqual(before)
  expect(log.lines).toHaveLength(3)
  expect(log.lines[0]).toMatch(new RegExp(`warn: backup ${D1} was found`))
})

test('a backup that is listed again has the annotations of its manifest', async () => {
  const annotations = new Map([['who', 'me']])
  const label = '20260301-000000F'
  storage = memoryStorage()
  await fillRepository(storage, { backups: [{ label, manifest: { annotations } }] })
  expect((await reconciled([])).info.backups[0]?.annotations).toEqual(annotations)
})

test('an unfinished backup is not listed', async () => {
  const [partial] = manifestsOf([{ label: '20260301-000000F' }])
  await saveManifestCopy(storage, 'main', partial!, {})
  expect(labels(await reconciled())).toEqual([F1, D1, I1, F2])
  expect(log.lines).toEqual([])
})

test('a dependent of a missing backup is not listed', async () => {
  storage.files.delete(manifestOf(F1))
  const result = await reconciled([])
  expect(labels(result)).toEqual([F2])
  expect(result.notAssessed).toEqual([])
  expect(log.lines.join('\n')).toMatch(`backup ${D1} cannot be used: it depends on ${F1}, which is missing`)
})

test('an unreadable manifest and its dependents are left alone with a warning', async () => {
  for (const name of [manifestOf(F1), `${manifestOf(F1)}.copy`]) {
    storage.files.set(name, { bytes: Buffer.from('nonsense'), mtimeMs: 0 })
  }
  const result = await reconciled([])
  expect(labels(result)).toEqual([F2])
  expect(result.notAssessed).toEqual([F1, D1, I1])
  expect(log.lines[0]).toMatch(/cannot be read; it is kept.*\nHINT: /s)
})

test('a backup of an unknown cluster is left alone with a warning', async () => {
  const info = backupInfoOf(entriesOf([]), [{ systemId: 1n }])
  await saveBackupInfo(repositoryWith(storage), 'main', info)
  const result = await reconciled()
  expect(labels(result)).toEqual([])
  expect(result.notAssessed).toEqual([F1, D1, I1, F2])
})

test('reconcileBackupInfo returns only the list', async () => {
  const info = withoutBackups(await loadBackupInfo(repositoryWith(storage), 'main'), [F2])
  expect((await reconcileBackupInfo(storage, 'main', info, log)).backups.at(-1)?.label).toBe(F2)
})
