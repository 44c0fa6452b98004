import { appendFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { lsnOfSegment, parseWalSegment } from '../../src/format/wal-segment.ts'
import { WalPageWalk } from '../../src/postgres/wal-pages.ts'
import { type Cluster, giveToTestUser, makeTestDir, pgtsProgram, startCluster } from '../support/postgres/postgres.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'

async function until(what: string, isSo: () => boolean | Promise<boolean>, details?: () => string): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`timeout while waiting for ${what}\n${details?.() ?? ''}`)
    await sleep(50)
  }
}

/** Names in an archive, without checksums. */
function archived(repo: string): string[] {
  const root = join(repo, 'archive/main')
  const [id] = readdirSync(root).filter((name) => /^\d+-\d+$/.test(name))
  if (id === undefined) return []
  return readdirSync(join(root, id), { recursive: true, encoding: 'latin1' }).map((name) =>
    name.replace(/^.*\//, '').replace(/-[0-9a-f]{40}.*$/, ''),
  )
}

/** A complete copy of this data directory, taken while its server was stopped. */
function copyOf(cluster: Cluster, settings: Record<string, string>, signal?: 'standby' | 'recovery'): string {
  const dir = join(makeTestDir('copy'), 'data')
  cpSync(cluster.dataDir, dir, { recursive: true })
  appendFileSync(
    join(dir, 'postgresql.conf'),
    Object.entries(settings)
      .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
      .join(''),
  )
  if (signal !== undefined) writeFileSync(join(dir, `${signal}.signal`), '')
  giveToTestUser(dir)
  return dir
}

const call = (site: Site, dir: string, rest: string) =>
  `'${pgtsProgram()}' --config=${site.config} --stanza=main --pg1-path=${dir} ${rest}`
const restoreCommand = (site: Site, dir: string) => call(site, dir, 'archive-get %f "%p"')

const SMALL = { walSegsizeMb: 1, conf: { min_wal_size: '2MB', max_wal_size: '8MB', max_wal_senders: '6' } } as const

async function rows(cluster: Cluster): Promise<unknown> {
  return (await cluster.query('select count(*)::int as n, max(i) as last from t'))[0]
}

test('recovery crosses a promotion, and the partial segment of the old timeline can be fetched', async () => {
  await using site = await aSite(SMALL)
  const primary = site.cluster
  await site.pgtsOk('stanza-create')
  await primary.query('create table t (i int)')
  await primary.stop()
  const standbyDir = copyOf(primary, {}, 'standby')
  const followerDir = copyOf(primary, {}, 'recovery')
  const oldDir = copyOf(primary, {}, 'recovery')
  await primary.start()
  await primary.query('insert into t select generate_series(1, 30000)')
  await primary.query('select pg_switch_wal()')
  await primary.query('insert into t select generate_series(30001, 31000)')

  // The standby streams, so that it has the start of the segment that the primary does not archive.
  await using standby = await startCluster({
    dir: standbyDir,
    conf: {
      primary_conninfo: `host=${primary.socketDir} port=${primary.port} user=postgres`,
      restore_command: restoreCommand(site, standbyDir),
      archive_command: call(site, standbyDir, 'archive-push %p'),
    },
  })
  await until('the standby to catch up', async () => JSON.stringify(await rows(standby)) === '{"n":31000,"last":31000}')
  // Segments that the primary has not archived before its crash are not archived.
  await untilArchived(primary)
  await primary.kill()
  await standby.query('select pg_promote()')
  await standby.untilPrimary()
  await standby.query('insert into t select generate_series(31001, 40000)')
  await standby.query('select pg_switch_wal()')
  const partial = () => archived(site.repo).find((name) => name.endsWith('.partial'))
  await until(
    'the partial segment',
    () => partial() !== undefined,
    () => standby.log(),
  )
  const segment = (partial() as string).slice(0, 24)
  await until('the new timeline', () => archived(site.repo).includes(segment.replace(/^00000001/, '00000002')))
  expect(archived(site.repo)).toContain('00000002.history')
  expect(archived(site.repo)).not.toContain(segment)

  // Recovery requests the history first, and never gets a partial segment under the name of a complete one.
  const target = join(followerDir, 'fetched')
  const get = (name: string) => site.pgts([`--pg1-path=${followerDir}`, 'archive-get', name, target])
  expect(await get(segment)).toMatchObject({ code: 1 })
  expect(existsSync(target)).toBe(false)
  expect(await get('00000003.history')).toMatchObject({ code: 1 })
  await using follower = await startCluster({
    dir: followerDir,
    conf: {
      restore_command: restoreCommand(site, followerDir),
      recovery_target_timeline: 'latest',
      archive_mode: 'off',
    },
  })
  await follower.untilPrimary()
  expect(await rows(follower)).toEqual({ n: 40000, last: 40000 })

  // To recover the old timeline to its end, an operator fetches the partial segment under the name of a complete one.
  const whole = join(oldDir, 'pg_wal', segment)
  expect(
    await site.pgts([`--pg1-path=${oldDir}`, 'archive-get', `${segment}.partial`, whole], { cwd: oldDir }),
  ).toMatchObject({ code: 0 })
  await using old = await startCluster({
    dir: oldDir,
    conf: { restore_command: restoreCommand(site, oldDir), recovery_target_timeline: '1', archive_mode: 'off' },
  })
  await old.untilPrimary()
  expect(await rows(old)).toEqual({ n: 31000, last: 31000 })

  // Never WAL of another cluster, whatever the configuration says.
  await using stranger = await startCluster({ ...SMALL, start: false })
  const fetched = join(makeTestDir('stranger'), 'fetched')
  const refused = await site.pgts([`--pg1-path=${stranger.dataDir}`, 'archive-get', segment, fetched])
  expect(refused.code).toBe(44)
  expect(refused.stdout + refused.stderr).toContain('no archive of this cluster')
  expect(existsSync(fetched)).toBe(false)
}, 120_000)

test('a standby with archive_mode = always archives the segment in which the old timeline ended', async () => {
  await using site = await aSite({ ...SMALL, conf: { ...SMALL.conf, wal_keep_size: '64MB' } })
  const primary = site.cluster
  await site.pgtsOk('stanza-create')
  await primary.query('create table t (i int)')
  await primary.stop()
  const firstDir = copyOf(primary, {}, 'standby')
  const secondDir = copyOf(primary, {}, 'standby')
  await primary.start()
  const from = (server: Cluster) => `host=${server.socketDir} port=${server.port} user=postgres`
  await using first = await startCluster({
    dir: firstDir,
    conf: { primary_conninfo: from(primary), archive_command: call(site, firstDir, 'archive-push %p') },
  })
  const own = join(site.dir, 'own')
  mkdirSync(own)
  giveToTestUser(own)
  expect(
    await site.pgts([`--repo1-path=${own}`, `--pg1-path=${secondDir}`, '--no-online', 'stanza-create']),
  ).toMatchObject({ code: 0 })
  await using second = await startCluster({
    dir: secondDir,
    conf: {
      primary_conninfo: from(first),
      archive_mode: 'always',
      archive_command: call(site, secondDir, `--repo1-path=${own} archive-push %p`),
    },
  })
  // Recycled files, so that old content follows the end.
  for (let i = 0; i < 4; i++) {
    await primary.query('insert into t select generate_series(1, 20000)')
    await primary.query('checkpoint')
  }
  const count = JSON.stringify(await rows(primary))
  await until('the second standby', async () => JSON.stringify(await rows(second)) === count)
  // A clean shutdown: both standbys have all WAL.
  await primary.stop()
  await first.query('select pg_promote()')
  await first.untilPrimary()
  await first.query('insert into t select generate_series(1, 40000)')
  const switched = (await first.query('select pg_walfile_name(pg_switch_wal()) as name'))[0]?.['name'] as string
  await until(
    'the new timeline in the archive',
    () => archived(own).includes(switched),
    () => second.log(),
  )
  // The last segment of timeline 1 has its complete name here, but only a part of its content.
  const firstOfNew = archived(own)
    .filter((name) => /^00000002[0-9A-F]{16}$/.test(name))
    .sort()[0] as string
  const endOfOld = firstOfNew.replace(/^00000002/, '00000001')
  expect(archived(own)).toContain(endOfOld)
  const file = join(own, 'fetched')
  expect(
    await site.pgts([`--repo1-path=${own}`, `--pg1-path=${secondDir}`, 'archive-get', endOfOld, file], {
      cwd: secondDir,
    }),
  ).toMatchObject({ code: 0 })
  const pages = new WalPageWalk({ startLsn: (size) => lsnOfSegment(parseWalSegment(endOfOld), size), timeline: 1 })
  pages.push(readFileSync(file))
  expect(pages.fault).toBeDefined()
  expect(second.log()).not.toContain('is not a complete WAL segment')
}, 120_000)

test('a clone that archives into the stanza of production is refused, in every repository and through the spool', async () => {
  await using site = await aSite({
    ...SMALL,
    options: { 'archive-async': 'y', 'repo2-path': join(makeTestDir('second'), 'repo') },
  })
  const production = site.cluster
  await site.pgtsOk('stanza-create')
  await production.query('create table t (i int)')
  await production.stop()
  const dir = copyOf(production, {})
  await production.start()
  await production.query('insert into t select generate_series(1, 1000)')
  const name = (await production.query('select pg_walfile_name(pg_switch_wal()) as name'))[0]?.['name'] as string
  await until(
    'the segment of production',
    () => archived(site.repo).includes(name),
    () => production.log(),
  )

  const spool = join(makeTestDir('spool'), 'spool')
  await using clone = await startCluster({
    dir,
    conf: { archive_command: call(site, dir, `--spool-path=${spool} archive-push %p`) },
  })
  await clone.query('insert into t select generate_series(1, 10)')
  await clone.query('select pg_switch_wal()')
  await until(
    'the refusal',
    () => clone.log().includes('[045]'),
    () => clone.log(),
  )
  const words = clone.log().replace(/\s+/g, ' ')
  expect(words).toMatch(
    new RegExp(
      `WAL segment ${name} is in the archive of repo1 already with other content: SHA-1 there [0-9a-f]{40}, here [0-9a-f]{40}`,
    ),
  )
  expect(words).toContain('two servers archive into this stanza')
  expect(words).toContain('set its archive_mode to off, or give it a stanza of its own')
  expect(archived(site.repo).filter((one) => one === name)).toHaveLength(1)
}, 120_000)
