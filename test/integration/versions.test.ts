import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import { restoreElsewhere } from '../support/sites/elsewhere.ts'
import {
  type Cluster,
  dataChecksum,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  runOk,
  type ServerVersion,
  startCluster,
} from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site, type SiteOptions } from '../support/sites/site.ts'

/**
 * Recovery settings differ by version: recovery.conf before 12, settings and signal files since. The types of
 * restore that main-job.test.ts does not test are spread over the versions here.
 */
const present = isInstalled(PGBACKREST)
const cell = countCells('versions', 4)

/** A site with some rows, a full backup, and a row in the archive only. */
async function backedUp(options: SiteOptions): Promise<Site> {
  const site = await aSite(options)
  await site.cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 1000) i')
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  await addRow(site.cluster, 'after the backup')
  return site
}

async function addRow(cluster: Cluster, text: string): Promise<void> {
  await cluster.query('insert into t values (0, $1)', [text])
  await cluster.query('select pg_switch_wal()')
}

async function hasRow(cluster: Cluster, text: string): Promise<boolean> {
  return (await cluster.query('select 1 from t where v = $1', [text])).length === 1
}

async function until(what: string, test: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(100)) if (await test()) return
  throw new Error(`timeout while waiting for ${what}`)
}

async function promote(cluster: Cluster): Promise<void> {
  await runOk(join(cluster.binDir, 'pg_ctl'), ['promote', '-D', cluster.dataDir])
  await cluster.untilPrimary()
}

const started = (version: ServerVersion, dir: string) =>
  startCluster({ version, dir: join(dir, 'data'), conf: { archive_mode: 'off' } })

const standbys: readonly SiteOptions[] = [
  { version: 10, options: { 'compress-type': 'gz' } },
  { version: 12, walSegsizeMb: 64, options: { 'compress-type': 'lz4' } },
  { version: 17, walSegsizeMb: 64, options: { 'compress-type': 'zst' } },
]

test.each(standbys)(
  'PostgreSQL $version: a standby replays the archive until it is promoted',
  async (options) => {
    const version = options.version!
    await using site = await backedUp(options)
    const dir = await restoreElsewhere(site, ['--type=standby', '--recovery-option=recovery-target-timeline=latest'])
    const data = join(dir, 'data')
    if (version < 12) {
      expect(readFileSync(join(data, 'recovery.conf'), 'utf8')).toMatch(
        /^# .*\nrecovery_target_timeline = 'latest'\nrestore_command = '.* archive-get %f "%p"'\nstandby_mode = 'on'\n$/,
      )
    } else {
      expect(existsSync(join(data, 'standby.signal'))).toBe(true)
      expect(readFileSync(join(data, 'postgresql.auto.conf'), 'utf8')).toMatch(/^restore_command = /m)
    }
    await using standby = await started(version, dir)
    await until('the first row', () => hasRow(standby, 'after the backup'))
    await addRow(site.cluster, 'while the standby follows')
    await until('the second row', () => hasRow(standby, 'while the standby follows'))
    expect(await standby.query('select pg_is_in_recovery() as yes')).toEqual([{ yes: true }])
    await promote(standby)
    expect(await dataChecksum(standby)).toEqual(await dataChecksum(site.cluster))
    if (version < 12) expect(existsSync(join(data, 'recovery.done'))).toBe(true)

    if (present && version < 16) {
      const theirs = await restoreElsewhere(site, ['--type=standby'], { who: 'pgbackrest' })
      await using copy = await started(version, theirs)
      await until('the second row', () => hasRow(copy, 'while the standby follows'))
      cell(`${version}: pgbackrest restores what pgts wrote`)
    }
  },
  180_000,
)

describe('restore before PostgreSQL 12', () => {
  test('PostgreSQL 11: types immediate, preserve and none work, options of newer servers are refused', async () => {
    await using site = await backedUp({ version: 11 })
    await site.cluster.stop()
    const untouched = join(makeTestDir('target'), 'data')
    const refused = await site.pgts([`--pg1-path=${untouched}`, '--archive-mode=off', 'restore'])
    expect(refused.code).toBe(31)
    expect(refused.stdout).toMatch(/archive-mode=off needs PostgreSQL 12 or later.*HINT: set archive_mode to 'off'/s)
    expect(existsSync(untouched)).toBe(false)

    const immediate = await restoreElsewhere(site, ['--type=immediate', '--target-action=promote'])
    const conf = readFileSync(join(immediate, 'data', 'recovery.conf'), 'utf8')
    expect(conf).toMatch(/^recovery_target = 'immediate'\nrecovery_target_action = 'promote'$/m)
    expect(conf).not.toContain('timeline')
    {
      await using server = await started(11, immediate)
      await server.untilPrimary()
      expect(await hasRow(server, 'after the backup')).toBe(false)
      await server.stop()
    }
    if (present) {
      const theirs = await restoreElsewhere(site, ['--type=immediate', '--target-action=promote'], {
        who: 'pgbackrest',
      })
      const settings = (text: string) =>
        text.split('\n').filter((line) => /^[a-z]/.test(line) && !line.startsWith('restore_command'))
      expect(settings(conf)).toEqual(settings(readFileSync(join(theirs, 'data', 'recovery.conf'), 'utf8')))
      cell('11: recovery.conf says the same')
    }

    // Existing settings are kept and used; without any there is a warning.
    const own = join(site.cluster.dataDir, 'recovery.conf')
    const missing = await site.pgtsOk('--delta', '--type=preserve', 'restore')
    expect(missing.stdout).toContain('recovery type is preserve but recovery file does not exist')
    const command = /^restore_command = .*$/m.exec(conf)![0].replaceAll(join(immediate, 'data'), site.cluster.dataDir)
    writeFileSync(own, `# mine\n${command}\nrecovery_target_timeline = 'latest'\n`)
    giveToTestUser(own)
    const before = readFileSync(own, 'utf8')
    await site.pgtsOk('--delta', '--type=preserve', 'restore')
    expect(readFileSync(own, 'utf8')).toBe(before)
    await site.cluster.start()
    await site.cluster.untilPrimary()
    expect(await hasRow(site.cluster, 'after the backup')).toBe(true)
    await site.cluster.stop()

    // The backup has no recovery.done, and type none leaves no recovery.conf.
    await site.pgtsOk('--delta', '--type=none', 'restore')
    for (const name of ['recovery.conf', 'recovery.done'])
      expect(existsSync(join(site.cluster.dataDir, name)), name).toBe(false)
    // An online backup without any WAL cannot start.
    await expect(site.cluster.start()).rejects.toThrow(/could not (locate|find|open)/)
  }, 180_000)
})

describe('restore since PostgreSQL 12', () => {
  test.each([12, 18] as const)(
    'PostgreSQL %i: type preserve keeps settings, and --archive-mode=off sets archive_mode',
    async (version) => {
      await using site = await backedUp({ version })
      const { cluster } = site
      await cluster.query(`alter system set recovery_target_action = 'shutdown'`)
      await cluster.query(`alter system set log_autovacuum_min_duration = '7s'`)
      await cluster.stop()
      const auto = join(cluster.dataDir, 'postgresql.auto.conf')

      await site.pgtsOk('--delta', '--type=standby', '--archive-mode=off', 'restore')
      // Neither the backup nor the restore has these settings.
      expect(readFileSync(auto, 'utf8')).not.toContain('log_autovacuum_min_duration')
      expect(readFileSync(auto, 'utf8')).toMatch(/^archive_mode = 'off'\nrestore_command = /m)
      const settings = `${readFileSync(auto, 'utf8')}log_autovacuum_min_duration = '8s'\n`
      writeFileSync(auto, settings)
      giveToTestUser(auto)

      await site.pgtsOk('--delta', '--type=preserve', 'restore')
      expect(readFileSync(auto, 'utf8')).toBe(settings)
      expect(existsSync(join(cluster.dataDir, 'standby.signal'))).toBe(true)
      await cluster.start()
      await until('the row of the archive', () => hasRow(cluster, 'after the backup'))
      await promote(cluster)
      expect(await cluster.query('show archive_mode')).toEqual([{ archive_mode: 'off' }])
      await cluster.stop()

      await site.pgtsOk('--delta', '--type=none', 'restore')
      for (const name of ['standby.signal', 'recovery.signal'])
        expect(existsSync(join(cluster.dataDir, name))).toBe(false)
      expect(readFileSync(auto, 'utf8')).not.toMatch(/^(restore_command|recovery_target)/m)
      rmSync(auto)
      const warned = await site.pgtsOk('--delta', '--type=preserve', 'restore')
      expect(warned.stdout).toContain('postgresql.auto.conf')
    },
    180_000,
  )
})

test.skipIf(!present)(
  'PostgreSQL 10: pgts restores a backup of pgbackrest',
  async () => {
    await using site = await aSite({ version: 10, archiver: 'pgbackrest', options: { 'compress-type': 'lz4' } })
    await site.cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 1000) i')
    await site.pgbackrestOk('stanza-create')
    await site.pgbackrestOk('--type=full', 'backup')
    await addRow(site.cluster, 'after the backup')
    await site.pgtsOk('check')
    await site.verifiedByPgbackrest()
    const dir = await restoreElsewhere(site)
    await using server = await started(10, dir)
    await server.untilPrimary()
    expect(await dataChecksum(server)).toEqual(await dataChecksum(site.cluster))
    cell('10: pgts restores what pgbackrest wrote')
  },
  120_000,
)
