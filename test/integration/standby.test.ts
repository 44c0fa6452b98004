import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { serialiseLease } from '../../src/core/lease/lease-file.ts'
import {
  type Cluster,
  type ServerVersion,
  dataChecksum,
  giveToTestUser,
  isInstalled,
  startCluster,
} from '../support/postgres/postgres.ts'
import { restoreElsewhere } from '../support/sites/elsewhere.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { aSite, PGBACKREST, Site, type SiteOptions } from '../support/sites/site.ts'
import { aStandby, STREAMED, untilReplayed } from '../support/sites/standby.ts'
import { until } from '../support/until.ts'

/** With PGTS_TEST_STANDBY=all every version is tested, else these. */
const versions = (...some: readonly ServerVersion[]): readonly ServerVersion[] =>
  process.env['PGTS_TEST_STANDBY'] === 'all' ? [13, 14, 15, 16, 17, 18] : some

/** Backups with block incremental files in bundles; 1 MB of rows, and a part of them in a tablespace. */
async function aBusySite({ blocks = true, ...options }: SiteOptions & { blocks?: boolean } = {}): Promise<Site> {
  const site = await aSite({
    walSegsizeMb: 4,
    ...options,
    conf: { ...STREAMED, max_wal_size: '64MB', ...options.conf },
    options: {
      'repo1-bundle': 'y',
      ...(blocks ? { 'repo1-block': 'y' } : {}),
      'process-max': '2',
      'log-level-file': 'detail',
      ...options.options,
    },
  })
  const { cluster } = site
  const tablespace = join(site.dir, 'ts')
  mkdirSync(tablespace, { mode: 0o700 })
  giveToTestUser(tablespace)
  await site.pgtsOk('stanza-create')
  await cluster.query(`create tablespace ts location '${tablespace}'`)
  await cluster.query(
    'create table t as select i, md5(i::text) as v from generate_series(1, 10000) i; create index on t (i)',
  )
  await cluster.query('create table far tablespace ts as select i, 0 as n from generate_series(1, 5000) i')
  return site
}

/** Changes rows until it is disposed, so that a backup copies files that are being written. */
function changing(cluster: Cluster): AsyncDisposable {
  let running = true
  const work = (async () => {
    for (let round = 1; running; round++) {
      await sleep(50)
      await cluster.query(`insert into t select i, 'new' from generate_series(1, 200) i`)
      await cluster.query(`update far set n = n + 1 where i % 10 = ${round % 10}`)
      if (round % 5 === 0) await cluster.query('checkpoint')
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      running = false
      await work
    },
  }
}

/** A command for a server of the site whose number is not 1. */
async function calledInPlace({ cluster }: Site, words: string): Promise<string> {
  const [row] = await cluster.query('show archive_command')
  return String(row!['archive_command']).replace('archive-push %p', `--pg1-path="$PWD" ${words}`)
}

interface Listed {
  readonly label: string
  readonly archive: { readonly start: string; readonly stop: string }
}

async function backupsOf(site: Site): Promise<Listed[]> {
  const { stdout } = await site.pgtsOk('--output=json', 'info')
  return (JSON.parse(stdout) as { backup: Listed[] }[])[0]!.backup
}

/** Decrypted. */
async function manifestOf(site: Site, { label }: Listed): Promise<string> {
  return (await site.pgtsOk('repo-get', `backup/main/${label}/backup.manifest`)).stdout
}

/** The files that were read, below each of these directories. */
function readFrom(stdout: string, dirs: readonly string[]): string[][] {
  const paths = [...stdout.matchAll(/(?:backup file|match file from prior backup) (\S+) \(/g)].map(([, path]) => path!)
  return dirs.map((dir) => paths.filter((path) => path.startsWith(`${dir}/`)).map((path) => path.slice(dir.length + 1)))
}

async function restored(
  site: Site,
  args: readonly string[] = [],
  who: 'pgts' | 'pgbackrest' = 'pgts',
): Promise<Cluster> {
  const dir = await restoreElsewhere(site, args, { who, tablespaces: ['ts'] })
  const copy = await startCluster({
    version: site.cluster.version,
    dir: join(dir, 'data'),
    conf: { archive_mode: 'off' },
  })
  await copy.untilPrimary()
  return copy
}

/** The names of files that a backup from a standby copies from the primary. */
const OF_PRIMARY = /^(?!base\/|pg_xact\/|pg_multixact\/|pg_tblspc\/|global\/(?!pg_control$))/

test.each(versions(13, 18))(
  'PostgreSQL %i: copies a busy cluster from its standby',
  { timeout: 180_000 },
  async (version) => {
    await using site = await aBusySite({ version })
    const primary = site.cluster
    await using standby = await aStandby(site)
    const sources = [primary.dataDir, standby.dataDir]

    const changed = async (...args: string[]) => {
      await using _changes = changing(primary)
      return site.pgtsOk(...args, '--log-level-console=detail', 'backup')
    }
    const full = await changed('--type=full', '--backup-standby')
    const [ofPrimary, ofStandby] = readFrom(full.stdout, sources)
    expect(ofPrimary).toContain('global/pg_control')
    expect(ofPrimary).toContain('postgresql.conf')
    expect(ofPrimary!.filter((name) => !OF_PRIMARY.test(name))).toEqual([])
    expect(ofStandby!.filter((name) => OF_PRIMARY.test(name))).toEqual([])
    expect(ofStandby!.some((name) => name.startsWith('pg_tblspc/'))).toBe(true)
    expect(full.stdout).toMatch(/wait for replay on the standby to reach 0\/[\s\S]*replay on the standby reached 0\//)
    expect(full.stdout).not.toContain('WARN')

    const incr = await changed('--type=incr', '--backup-standby=prefer')
    expect(readFrom(incr.stdout, sources)[1]!.length).toBeGreaterThan(0)
    expect(incr.stdout).not.toContain('WARN')

    const [first, second] = await backupsOf(site)
    for (const one of [first!, second!]) expect(await manifestOf(site, one)).toContain('option-backup-standby=true\n')
    await primary.query('select pg_switch_wal()')
    await untilArchived(primary)
    const expected = await dataChecksum(primary)
    for (const { label } of [first!, second!]) {
      await using copy = await restored(site, [`--set=${label}`])
      expect(await dataChecksum(copy)).toEqual(expected)
    }
    expect((await site.pgts(['verify'])).code).toBe(0)
  },
)

test.each(versions(14))(
  'PostgreSQL %i: takes a backup on a standby without primary',
  { timeout: 180_000 },
  async (version) => {
    // pgbackrest 2.45 reads no blocks, and knows PostgreSQL up to 15.
    const readers = version > 15 ? (['pgts'] as const) : (['pgts', 'pgbackrest'] as const)
    await using site = await aBusySite({
      version,
      blocks: version > 15,
      options: { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'of the standby' },
    })
    const primary = site.cluster
    await using standby = await aStandby(site, { archive_command: await calledInPlace(site, 'archive-push %p') })
    const only = ['--backup-standby=only', '--archive-timeout=5s']

    // The archive ends before the last change, which only the standby has.
    {
      await using _changes = changing(primary)
      await site.pgtsOk('--type=full', ...only, 'backup')
    }
    await primary.query('select pg_switch_wal()')
    await untilArchived(primary)
    await primary.query(`insert into t values (0, 'last')`)
    const expected = await dataChecksum(primary)
    await untilReplayed(primary, standby)
    await primary.kill()
    const run = await site.pgtsOk('--type=incr', ...only, '--log-level-console=detail', 'backup')
    expect(run.stdout).toContain('unable to check pg1')
    expect(run.stdout).toMatch(/WAL segment ([0-9A-F]{24}) is not in the archive, so it was copied from the standby/)

    const [first, second] = await backupsOf(site)
    const manifest = await manifestOf(site, second!)
    expect(manifest).toContain(`pg_data/pg_wal/${second!.archive.stop}=`)
    expect(manifest).toContain('option-backup-standby=true\n')
    for (const who of readers) {
      await using copy = await restored(site, [`--set=${second!.label}`], who)
      expect(await dataChecksum(copy)).toEqual(expected)
    }
    await using copy = await restored(site, [`--set=${first!.label}`, '--type=immediate', '--target-action=promote'])
    expect(Object.keys(await dataChecksum(copy))).toEqual(Object.keys(expected))

    // Recovery continues from the WAL in the backup to the timeline of the promoted standby.
    await standby.query('select pg_promote()')
    await standby.untilPrimary()
    await standby.query(`insert into t values (0, 'after')`)
    await standby.query('select pg_switch_wal()')
    await untilArchived(standby)
    await using after = await restored(site)
    expect(await dataChecksum(after)).toEqual(await dataChecksum(standby))
    expect((await site.pgts(['verify'])).code).toBe(0)
  },
)

const logOf = (site: Site) => {
  const path = join(site.dir, 'log/main-backup.log')
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

test('waits for replay, and fails with 82 if it does not advance', { timeout: 90_000 }, async () => {
  await using site = await aBusySite()
  // This one reads WAL only from the archive.
  await using standby = await aStandby(site, {
    primary_conninfo: '',
    restore_command: await calledInPlace(site, 'archive-get %f "%p"'),
    wal_retrieve_retry_interval: '200ms',
  })
  await standby.query('select pg_wal_replay_pause()')
  const late = await site.pgts(['--type=full', '--backup-standby', '--archive-timeout=1s', 'backup'])
  expect(late.code).toBe(82)
  expect(late.stdout).toMatch(/the standby replayed WAL only to 0\/[0-9A-F]+, not past 0\/[0-9A-F]+/)
  expect(late.stdout).toContain('pg_is_wal_replay_paused()')

  const before = logOf(site).length
  const running = site.pgts(['--type=full', '--backup-standby', 'backup'])
  await until('the wait for replay', () => logOf(site).slice(before).includes('wait for replay'))
  await standby.query('select pg_wal_replay_resume()')
  expect(await running).toMatchObject({ code: 0 })
})

/** A site whose archive receives nothing until `release()`: a backup stops between its start and its first file. */
async function aHeldSite(who: 'pgts' | 'pgbackrest' = 'pgts') {
  const site = await aBusySite({ version: 15, blocks: false, conf: { archive_timeout: '0' } })
  const { cluster } = site
  const [row] = await cluster.query('show archive_command')
  const gate = join(site.dir, 'gate')
  const command = `test ! -e ${gate} && ${String(row!['archive_command'])}`
  await cluster.query(`alter system set archive_command = '${command.replaceAll("'", "''")}'`)
  // Restarts the primary: after a reload the archiver could still use the former command.
  const standby = await aStandby(site)
  await untilArchived(cluster)
  writeFileSync(gate, '')
  const running = site[who](['--type=full', '--backup-standby', '--archive-timeout=60s', 'backup'])
  await until('the check of the archive', () => /check archive for (prior )?segment/.test(logOf(site)), {
    details: () => logOf(site),
  })
  const [, held] = /check archive for (?:prior )?segment ([0-9A-F]{24})/.exec(logOf(site))!
  return {
    site,
    standby,
    running,
    held: held!,
    gate,
    [Symbol.asyncDispose]: async () => {
      await standby[Symbol.asyncDispose]()
      await site[Symbol.asyncDispose]()
    },
  }
}

/** Archives the segment that the backup waits for. */
const release = (site: Site, held: string) => site.pgtsOk('archive-push', join(site.cluster.dataDir, 'pg_wal', held))

test('fails with 58 if the standby is promoted during the backup', { timeout: 90_000 }, async () => {
  await using held = await aHeldSite()
  const { site, standby, running } = held
  await standby.query('select pg_promote()')
  await standby.untilPrimary()
  await release(site, held.held)
  const failed = await running
  expect(failed.code).toBe(58)
  expect(failed.stdout).toContain('the standby is no longer in recovery')
  expect(await backupsOf(site)).toEqual([])
  // Two primaries, until the old one is stopped.
  expect(await site.pgts(['check'])).toMatchObject({ code: 56 })
})

test(
  'fails if the primary is killed during the backup, and leaves the standby usable',
  { timeout: 90_000 },
  async () => {
    await using held = await aHeldSite()
    const { site, standby, running } = held
    await site.cluster.kill()
    await release(site, held.held)
    const failed = await running
    expect(failed.code).toBe(57)
    expect(await backupsOf(site)).toEqual([])
    // The configuration stays as it is when pg2 becomes the primary.
    await standby.query('select pg_promote()')
    await standby.untilPrimary()
    const next = await site.pgts(['--type=full', '--no-archive-check', '--backup-standby=prefer', 'backup'])
    expect(next).toMatchObject({ code: 0 })
    expect(next.stdout).toContain('unable to check pg1')
    expect(next.stdout).toContain('no standby answers, so the files are copied from the primary')
    expect(await manifestOf(site, (await backupsOf(site))[0]!)).toContain('option-backup-standby=false\n')
  },
)

test.skipIf(!isInstalled(PGBACKREST)).each([
  ['pgts', 'pgbackrest'],
  ['pgbackrest', 'pgts'],
] as const)(
  'after a full of %s, an incr of %s has a change that the copy of the standby lacked',
  { timeout: 90_000 },
  async (before, after) => {
    await using held = await aHeldSite(before)
    const { site, standby, running } = held
    const primary = site.cluster
    // Written to disk on the primary before the listing, and not replayed on the standby before the copy.
    await standby.query('select pg_wal_replay_pause()')
    await primary.query(`update t set v = 'changed' where i = 7`)
    await primary.query('checkpoint')
    rmSync(held.gate)
    await primary.query('select pg_reload_conf()')
    expect(await running).toMatchObject({ code: 0 })
    await standby.query('select pg_wal_replay_resume()')
    expect(await site[after](['--type=incr', '--backup-standby', 'backup'])).toMatchObject({ code: 0 })
    await using copy = await restored(site, ['--type=immediate', '--target-action=promote'])
    expect(await copy.query('select v from t where i = 7')).toEqual([{ v: 'changed' }])
  },
)

test('finds the primary whatever its number is', { timeout: 90_000 }, async () => {
  await using site = await aBusySite()
  expect(await site.pgts(['--backup-standby', 'backup'])).toMatchObject({ code: 56 })
  expect((await site.pgts(['--backup-standby', 'check'])).stdout).toContain('no standby answers')
  await using standby = await aStandby(site)
  const text = readFileSync(site.config, 'utf8')
  const config = join(site.dir, 'swapped.conf')
  writeFileSync(config, text.replaceAll('pg1-', 'pg3-').replaceAll('pg2-', 'pg1-').replaceAll('pg3-', 'pg2-'))
  giveToTestUser(config)
  const swapped = new Site(site.dir, site.cluster, config)
  const checked = await swapped.pgtsOk('--output=json', 'check')
  expect(JSON.parse(checked.stdout)).toMatchObject({
    clusters: [
      { pgKey: 1, role: 'standby' },
      { pgKey: 2, role: 'primary' },
    ],
  })
  await swapped.pgtsOk('stanza-create')
  const run = await swapped.pgtsOk('--type=full', '--log-level-console=detail', 'backup')
  const [ofPrimary, ofStandby] = readFrom(run.stdout, [site.cluster.dataDir, standby.dataDir])
  expect(ofPrimary).toContain('global/pg_control')
  expect(ofStandby).toEqual([])
})

test('the same call takes a backup on the standby, and none on the primary', { timeout: 90_000 }, async () => {
  await using site = await aBusySite()
  const run = await site.pgts(['--backup-standby=only', '--log-level-console=info', '--output=json', 'backup'])
  expect(run.code).toBe(0)
  expect(JSON.parse(run.stdout)).toEqual({ skipped: 'backup-standby is only, and the server of pg1 is the primary' })
  expect(run.stderr).toContain('INFO: no backup was taken: backup-standby is only')
  expect(readdirSync(join(site.repo, 'backup/main')).filter((name) => /^\d/.test(name))).toEqual([])
  expect(await site.pgts(['--backup-standby=only', 'backup'])).toMatchObject({ code: 0, stdout: '', stderr: '' })
  expect(await site.pgts(['--backup-standby=only', 'check'])).toMatchObject({ code: 0, stdout: '', stderr: '' })

  const lease = (command: string) => {
    const nowMs = Date.now()
    const other = { token: 'other', host: 'db2', pid: 1, command, sinceMs: nowMs, renewedMs: nowMs }
    mkdirSync(join(site.repo, 'pgts/main'), { recursive: true })
    writeFileSync(join(site.repo, 'pgts/main/lease.json'), serialiseLease(other))
    giveToTestUser(site.repo)
  }
  lease('backup')
  const busy = await site.pgts(['--backup-standby=prefer', '--log-level-console=info', 'backup'])
  expect(busy.code).toBe(0)
  expect(busy.stdout).toMatch(/no backup was taken: repo1 is in use: host db2 \(process 1, backup\) holds the lease/)
  expect(await site.pgts(['backup'])).toMatchObject({ code: 50 })
  lease('expire')
  expect(await site.pgts(['--backup-standby=prefer', 'backup'])).toMatchObject({ code: 50 })
})

test.skipIf(!isInstalled(PGBACKREST))(
  'pgbackrest takes the same files from the same servers, and restores the backup',
  { timeout: 120_000 },
  async () => {
    await using site = await aBusySite({ version: 15, blocks: false, options: { 'backup-standby': 'y' } })
    const primary = site.cluster
    await using standby = await aStandby(site)
    const expected = await dataChecksum(primary)
    await untilReplayed(primary, standby)
    const args = ['--type=full', '--log-level-console=detail', 'backup']
    const theirs = await site.pgbackrestOk(...args)
    const ours = await site.pgtsOk(...args)
    const sources = [primary.dataDir, standby.dataDir]
    const sorted = (stdout: string) => readFrom(stdout, sources).map((names) => names.sort())
    expect(sorted(ours.stdout)).toEqual(sorted(theirs.stdout))
    const listed = await Promise.all(
      (await backupsOf(site)).map(async (one) => {
        const manifest = await manifestOf(site, one)
        const names = [...manifest.matchAll(/^(pg_\S+)=\{.*"timestamp"/gm)].map(([, name]) => name)
        return { names, standby: /^option-backup-standby=.*$/m.exec(manifest)?.[0] }
      }),
    )
    expect(listed[1]).toEqual(listed[0])
    await using copy = await restored(site, [], 'pgbackrest')
    expect(await dataChecksum(copy)).toEqual(expected)
  },
)
