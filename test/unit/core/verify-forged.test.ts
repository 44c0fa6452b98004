import { expect, test } from 'vitest'
import { manifest as manifestCommand } from '../../../src/commands/manifest.ts'
import { jobHandlers } from '../../../src/core/jobs.ts'
import { verifyRepository } from '../../../src/core/verify/verify.ts'
import { loadBackupInfo, saveBackupInfo } from '../../../src/core/backup-info-store.ts'
import type { Manifest } from '../../../src/format/manifest.ts'
import { withoutBackups } from '../../../src/format/backup-info.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { silentLogger } from '../../../src/util/log.ts'
import { inlineExecutor } from '../../../src/worker/inline.ts'
import { aFile, OWNER } from '../../support/builders/manifest.ts'
import { fillRepository, workerEnvWith, repositoryWith } from '../../support/builders/repository.ts'

const FULL = '20260101-000000F'
const DIFF = `${FULL}_20260102-000000D`
const SSH = '/home/postgres/.ssh'

const forged: Partial<Manifest> = {
  targets: [
    { name: 'pg_data', type: 'path', path: '/pgdata' },
    { name: 'pg_tblspc/16999', type: 'link', path: SSH, tablespaceId: '16999', tablespaceName: 'ts' },
  ],
  links: [{ name: 'pg_data/pg_tblspc/16999', destination: SSH, ...OWNER }],
  files: [aFile('pg_tblspc/16999/authorized_keys', 'key')],
  paths: ['pg_data', 'pg_data/pg_tblspc', 'pg_tblspc', 'pg_tblspc/16999'].map((name) => ({
    name,
    ...OWNER,
    mode: 0o700,
  })),
}

async function verified(storage: StorageDriver) {
  const repository = repositoryWith(storage)
  await using executor = inlineExecutor(jobHandlers, async () => workerEnvWith(repository, 64 * 1024))
  const { signal } = new AbortController()
  return await verifyRepository({ repository, stanza: 'main', executor, clock: systemClock, log: silentLogger, signal, recordTimes: false }) // prettier-ignore
}

test('verify reports the fault of a forged manifest, and the manifest command refuses to show it', async () => {
  const storage = memoryStorage()
  await fillRepository(storage, { backups: [{ label: FULL, wal: null, manifest: forged }] })
  const report = await verified(storage)
  expect(report.ok).toBe(false)
  const errors = report.problems.filter(({ level }) => level === 'error').map(({ message }) => message)
  const why = 'pg_tblspc/16999/authorized_keys is outside PG_15_202209061'
  expect(errors).toEqual([expect.stringContaining(why), expect.stringContaining(why)])
  expect(report.backups).toMatchObject([{ label: FULL, status: 'manifest missing' }])

  const ctx = {
    options: { set: FULL },
    stanza: 'main',
    log: silentLogger,
    signal: new AbortController().signal,
    repositories: async () => [repositoryWith(storage)],
    isSet: () => false,
  }
  await expect(manifestCommand(ctx as never)).rejects.toMatchObject({
    code: 'format',
    message: expect.stringContaining(why),
  })
})

test('verify reports a backup of the chain that is in neither the list nor the repository', async () => {
  const storage = memoryStorage()
  await fillRepository(storage, {
    backups: [
      { label: FULL, wal: null },
      { label: DIFF, wal: null },
    ],
  })
  await saveBackupInfo(
    repositoryWith(storage),
    'main',
    withoutBackups(await loadBackupInfo(repositoryWith(storage), 'main'), [FULL]),
  )
  await storage.removeTree(`backup/main/${FULL}`)
  const { ok, backups } = await verified(storage)
  expect(ok).toBe(false)
  expect(backups).toMatchObject([
    { label: DIFF, status: 'invalid', reasons: [`it builds on ${FULL}, which is not in the repository`] },
  ])
})
