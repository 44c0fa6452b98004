import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { expireRepository, type ExpireRequest } from '../../../src/core/expire/run.ts'
import { loadBackupInfo } from '../../../src/core/backup-info-store.ts'
import { saveManifestCopy } from '../../../src/core/manifest-store.ts'
import { reconcileBackupInfo } from '../../../src/core/reconcile.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { posixStorage } from '../../../src/storage/posix.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { silentLogger } from '../../../src/util/log.ts'
import { crashing, failing } from '../../support/faults/faulty-driver.ts'
import {
  fillRepository,
  manifestsOf,
  namesOf,
  segment,
  segments,
  type TestRepository,
  repositoryWith,
} from '../../support/builders/repository.ts'
import { recordingLogger } from '../../support/builders/restore-context.ts'
import { makeTestDir } from '../../support/processes/test-user.ts'

const F1 = '20260101-000000F'
const D1 = `${F1}_20260102-000000D`
const I1 = `${F1}_20260103-000000I`
const F2 = '20260201-000000F'
const I2 = `${F2}_20260202-000000I`
const F3 = '20260301-000000F'
const backups: TestRepository['backups'] = [
  { label: F1, wal: [segment(2), segment(3)] },
  { label: D1, wal: [segment(12), segment(12)] },
  { label: I1, wal: [segment(14), segment(14)] },
  { label: F2, wal: [segment(252), segment(253)] },
  { label: I2, wal: [segment(260), segment(261)] },
  { label: F3, wal: [segment(514, 2), segment(515, 2)] },
]
const site: TestRepository = {
  backups,
  wal: {
    '15-1': [
      ...segments(1, 20),
      ...segments(250, 262),
      ...segments(510, 512),
      ...segments(512, 520, 2),
      `${segment(512)}.partial`,
      `${segment(2)}.00000028.backup`,
      `${segment(252)}.00000028.backup`,
      '00000002.history',
      'unknown.file',
    ],
  },
}

let storage = memoryStorage()
let log = recordingLogger()
beforeEach(async () => {
  storage = memoryStorage()
  log = recordingLogger()
  await fillRepository(storage, site)
})

function expire(change: Partial<ExpireRequest> = {}, driver: StorageDriver = storage) {
  return expireRepository({
    repository: repositoryWith(driver),
    stanza: 'main',
    policy: { fullType: 'count', full: 1, archiveType: 'full', historyDays: 30 },
    choice: {},
    nowMs: Date.UTC(2026, 2, 2),
    dryRun: false,
    refusePageErrors: true,
    linkLatest: true,
    log,
    signal: new AbortController().signal,
    ...change,
  })
}

const labels = async (driver: StorageDriver = storage) =>
  (await loadBackupInfo(repositoryWith(driver), 'main')).backups.map(({ label }) => label)

describe('retention of one full', () => {
  test('keeps the newest set with its WAL and removes everything else', async () => {
    const report = await expire()
    expect(await labels()).toEqual([F3])
    const left = await namesOf(storage)
    expect(left.filter((name) => name.startsWith('backup/main/2'))).toEqual([
      `backup/main/${F3}/backup.manifest`,
      `backup/main/${F3}/backup.manifest.copy`,
      `backup/main/${F3}/pg_data/base/1/1`,
    ])
    expect(left.filter((name) => name.startsWith('archive/main/15-1')).map((name) => name.slice(18))).toEqual([
      '00000002.history',
      ...segments(514, 520, 2).map((name) => `${name.slice(0, 16)}/${name}-${'0'.repeat(40)}.gz`),
      'unknown.file',
    ])
    expect(report.archive).toEqual([
      {
        archiveId: '15-1',
        whole: false,
        ranges: [{ start: '0000000100000000', stop: segment(513, 2) }],
        historyFiles: [],
      },
    ])
    expect(report.directories).toEqual([I2, F2, I1, D1, F1])
    expect(report.history).toHaveLength(3)
  })

  test('logs what was removed, in order', async () => {
    await expire()
    expect(log.lines.filter((line) => line.startsWith('info'))).toEqual([
      `info: repo1: expire full backup set ${F1}, ${D1}, ${I1}`,
      `info: repo1: expire full backup set ${F2}, ${I2}`,
      ...[I2, F2, I1, D1, F1].map((label) => `info: repo1: remove expired backup ${label}`),
      `info: repo1: 15-1 remove archive, start = 0000000100000000, stop = ${segment(513, 2)}`,
      ...[I1, D1, F1].map((label) => `info: repo1: remove expired backup history manifest ${label}.manifest.gz`),
    ])
  })

  test('of older backups that are kept only the WAL that they need is kept', async () => {
    const report = await expire({ policy: { fullType: 'count', full: 9, archiveType: 'full', archive: 1 } })
    expect(report.groups).toEqual([])
    expect(report.archive[0]?.ranges).toEqual(
      [
        { start: segment(1), stop: segment(1) },
        { start: segment(4), stop: segment(11) },
        { start: segment(13), stop: segment(13) },
        { start: segment(15), stop: segment(251) },
        { start: segment(254), stop: segment(259) },
        { start: segment(262), stop: segment(513, 2) },
      ].map(({ start, stop }) => expect.objectContaining({ start, stop })) as never,
    )
    const left = await namesOf(storage, 'archive/main/15-1')
    expect(left.some((name) => name.endsWith(`${segment(2)}.00000028.backup`))).toBe(true)
  })

  test('a dry run writes nothing and reports the same', async () => {
    const before = new Map(storage.files)
    const planned = await expire({ dryRun: true })
    expect(new Map(storage.files)).toEqual(before)
    expect({ ...planned, dryRun: false }).toEqual(await expire())
  })

  test('timeline history files older than the kept WAL are removed', async () => {
    await fillRepository(storage, {
      backups: [...backups!, { label: '20260401-000000F', wal: [segment(1, 3), segment(1, 3)] }],
    })
    const report = await expire()
    expect(report.archive[0]?.historyFiles).toEqual(['00000002.history'])
  })

  test('explains which WAL ranges are removed and why others are kept', async () => {
    const { archive, explanation } = await expire({
      policy: { fullType: 'count', full: 9, archiveType: 'full', archive: 1 },
    })
    expect(explanation.archives).toHaveLength(1)
    expect(explanation.archives[0]?.remove).toEqual(archive[0]?.ranges)
    expect(explanation.archives[0]?.keep).toEqual([
      { start: segment(2), stop: segment(3), label: F1, why: 'consistency' },
      { start: segment(12), stop: segment(12), label: D1, why: 'consistency' },
      { start: segment(14), stop: segment(14), label: I1, why: 'consistency' },
      { start: segment(252), stop: segment(253), label: F2, why: 'consistency' },
      { start: segment(260), stop: segment(261), label: I2, why: 'consistency' },
      { start: segment(514, 2), label: F3, why: 'recovery' },
    ])
  })

  test('has the same result on a local disk', async () => {
    const dir = makeTestDir('expire')
    await using disk = posixStorage(dir)
    await fillRepository(disk, site)
    await expire({}, disk)
    await expire()
    expect(await namesOf(disk)).toEqual(await namesOf(storage))
  })
})

describe('unfinished and unlisted directories', () => {
  const NEW = '20260302-000000F'
  const [partial] = manifestsOf([{ label: NEW }])

  /** When everything in the directory was last written. */
  function ageOf(label: string, mtimeMs: number): void {
    for (const [name, { bytes }] of storage.files) {
      if (name.startsWith(`backup/main/${label}/`)) storage.files.set(name, { bytes, mtimeMs })
    }
  }

  test('the newest directory with only a manifest copy may be a running backup, and is kept', async () => {
    await saveManifestCopy(storage, 'main', partial!, {})
    expect((await expire()).directories).not.toContain(NEW)
  })

  test('the newest directory without a manifest copy is removed', async () => {
    storage.files.set(`backup/main/${NEW}/pg_data/PG_VERSION`, { bytes: Buffer.from('15'), mtimeMs: 0 })
    expect((await expire()).directories[0]).toBe(NEW)
  })

  test('an older unlisted directory is removed, whatever it holds', async () => {
    const [old] = manifestsOf([{ label: '20260102-000000F' }])
    await saveManifestCopy(storage, 'main', old!, {})
    ageOf(old!.label, 0)
    expect((await expire({ policy: { fullType: 'count', archiveType: 'full' } })).directories).toEqual([old!.label])
  })

  const now = Date.UTC(2026, 2, 2)
  const WEEK = 7 * 86_400_000

  test('the newest unfinished directory is removed when nothing was written to it for a week', async () => {
    await saveManifestCopy(storage, 'main', partial!, {})
    ageOf(NEW, now - WEEK + 1)
    const spared = await expire()
    expect(spared.directories).not.toContain(NEW)
    expect(spared.explanation.unlisted).toEqual([{ label: NEW, keep: true, why: 'may-run', changedMs: now - WEEK + 1 }])
    expect(log.lines.join('\n')).toMatch(`unfinished backup ${NEW} is kept`)
    ageOf(NEW, now - WEEK)
    expect((await expire()).directories).toContain(NEW)
    expect(log.lines.join('\n')).toMatch(`remove unfinished backup ${NEW}: nothing was written to it`)
  })

  test('an older unfinished directory that is written to after a newer backup began is kept, with all WAL', async () => {
    // Two hosts at once: this backup began before the newest one and is still running.
    const label = '20260228-000000F'
    await saveManifestCopy(storage, 'main', manifestsOf([{ label }])[0]!, {})
    const began = manifestsOf(backups!).at(-1)!.timestampStart * 1000
    ageOf(label, began)
    const nowMs = began + 1000
    expect((await expire({ nowMs, dryRun: true })).directories).toContain(label)
    ageOf(label, began + 1)
    const report = await expire({ nowMs })
    expect(report.directories).not.toContain(label)
    expect(report.archive).toEqual([])
    expect(report.explanation).toMatchObject({
      archiveStays: 'runs-beside',
      unlisted: [{ label, keep: true, why: 'runs-beside' }],
    })
    expect(log.lines.join('\n')).toMatch(`in progress on another host: ${label}`)
    expect((await expire({ nowMs: began + WEEK + 2 })).directories).toContain(label)
  })

  test('an unfinished directory that depends on a removed set is removed with it', async () => {
    const label = `${F3}_20260303-000000I`
    const unfinished = manifestsOf([{ label, prior: F3 }])[0]!
    await saveManifestCopy(storage, 'main', unfinished, {})
    expect((await expire({ choice: { set: F1 } })).directories).not.toContain(label)
    expect((await expire({ choice: { set: F3 } })).directories).toContain(label)
  })

  test('an unfinished directory whose manifest cannot be read is kept, with all WAL', async () => {
    const label = '20260115-000000F'
    storage.files.set(`backup/main/${label}/backup.manifest`, { bytes: Buffer.from('nonsense'), mtimeMs: 0 })
    const report = await expire()
    expect(report.directories).not.toContain(label)
    expect(report.archive).toEqual([])
    expect(log.lines.join('\n')).toMatch(
      `warn: repo1: no WAL is removed, because it is unknown which WAL these backups need: ${label}`,
    )
  })
})

describe('after an upgrade', () => {
  test('WAL of the cluster before the upgrade is removed with its last backup', async () => {
    storage = memoryStorage()
    await fillRepository(storage, {
      clusters: [{ version: '14' }, { version: '15' }],
      backups: [
        { label: F1, id: 1 },
        { label: F2, id: 2 },
      ],
      wal: { '14-1': segments(1, 5), '15-2': segments(1, 20) },
    })
    const report = await expire()
    expect(report.archive[0]).toMatchObject({ archiveId: '14-1', whole: true })
    expect(await namesOf(storage, 'archive/main/14-1')).toEqual([])
    expect(await namesOf(storage, 'archive/main/15-2')).not.toEqual([])
  })
})

describe('the link to the newest backup', () => {
  test('points to the next backup when the newest one is removed by --set', async () => {
    const dir = makeTestDir('expire')
    await using disk = posixStorage(dir)
    await fillRepository(disk, site)
    await disk.links!.symlink('backup/main/latest', F3)
    await expire({ choice: { set: F3 } }, disk)
    expect(readlinkSync(join(dir, 'backup/main/latest'))).toBe(I2)
    expect(log.lines.join('\n')).toMatch(/warn: .*the newest backup.* is removed.*\nHINT: /s)
  })
})

/** removeTree file by file, as on a disk, so that a crash can interrupt it. */
function piecemeal(inner: StorageDriver): StorageDriver {
  return {
    ...inner,
    async removeTree(prefix, options) {
      for (const name of await namesOf(inner, prefix)) await inner.remove(name, options)
    },
  }
}

/** Every backup that the next command would list has its data, and the WAL that makes it consistent. */
async function expectUsable(driver: StorageDriver): Promise<void> {
  const info = await reconcileBackupInfo(
    driver,
    'main',
    await loadBackupInfo(repositoryWith(driver), 'main'),
    silentLogger,
  )
  const names = new Set(await namesOf(driver))
  const wal = [...names].filter((name) => name.startsWith('archive/')).map((name) => name.split('/').at(-1)!)
  expect(info.backups.at(-1)?.label).toBe(F3)
  for (const { label, prior, references, archiveStart, archiveStop } of info.backups) {
    for (const needed of [label, ...(prior === undefined ? [] : [prior]), ...(references ?? [])]) {
      expect(names).toContain(`backup/main/${needed}/backup.manifest`)
      expect([...names].some((name) => name.startsWith(`backup/main/${needed}/pg_data/base/`))).toBe(true)
    }
    for (const name of [archiveStart!, archiveStop!]) expect(wal.some((file) => file.startsWith(name))).toBe(true)
  }
}

describe('killed at any step', () => {
  test('after a crash at any step of expire the repository is usable, and the next run finishes', async () => {
    const counting = crashing(storage)
    await expire({}, piecemeal(counting))
    const expected = await namesOf(storage)
    expect(counting.steps.length).toBeGreaterThan(60)
    for (let at = 0; at < counting.steps.length; at++) {
      const repo = memoryStorage()
      await fillRepository(repo, site)
      const driver = crashing(repo, at)
      await expect(expire({}, piecemeal(driver))).rejects.toThrow('crash')
      expect(driver.reached).toBe(true)
      await expectUsable(repo)
      await expire({ log: silentLogger }, repo)
      expect(await namesOf(repo)).toEqual(expected)
    }
  }, 60_000)

  test('expire removes manifests of dependents first, then the manifest, then the files of a backup', async () => {
    const driver = crashing(storage)
    await expire({}, piecemeal(driver))
    const at = (step: string) => driver.steps.findIndex((done) => done.startsWith(step))
    for (const [prior, dependent] of [
      [F1, D1],
      [D1, I1],
      [F2, I2],
    ]) {
      expect(at(`remove backup/main/${dependent}/backup.manifest`)).toBeLessThan(
        at(`remove backup/main/${prior}/backup.manifest`),
      )
    }
    expect(at(`remove backup/main/${F1}/backup.manifest`)).toBeLessThan(at('commit backup/main/backup.info'))
    expect(at('commit backup/main/backup.info.copy')).toBeLessThan(at(`remove backup/main/${F1}/pg_data`))
    expect(at(`remove backup/main/${F1}/pg_data`)).toBeLessThan(at('remove archive/'))
  })

  test('a full disk at any step of expire is an error, and the repository stays usable', async () => {
    const error = new PgtsError('file-write', 'no space left on device')
    for (let at = 0; at < 12; at++) {
      const repo = memoryStorage()
      await fillRepository(repo, site)
      const driver = failing(repo, { at, error })
      await expect(expire({}, piecemeal(driver))).rejects.toThrow('no space left')
      expect(driver.reached).toBe(true)
      await expectUsable(repo)
    }
  })

  test('an abort signal stops expire between two steps', async () => {
    const controller = new AbortController()
    const stop = new PgtsError('term', 'terminated on signal SIGINT')
    controller.abort(stop)
    await expect(expire({ signal: controller.signal })).rejects.toBe(stop)
  })
})
