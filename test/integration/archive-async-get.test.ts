import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { textToBytes } from '../../src/util/byte-string.ts'
import { removeTreeSync } from '../../src/util/remove-tree.ts'
import {
  type Cluster,
  dataChecksum,
  type DataChecksum,
  giveToTestUser,
  runAs,
  testUser,
} from '../support/postgres/postgres.ts'
import { isGone } from '../support/processes/processes.ts'
import {
  aReplica,
  asyncGetLog,
  backgroundOf,
  recovering,
  restore,
  restored,
  untilArchived,
  ways,
} from '../support/sites/replica.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import { smallDisk } from '../support/faults/small-disk.ts'
import { until } from '../support/until.ts'

/** More than the queue holds. */
const SEGMENTS = 14

// Space for two segments, on another file system than the server.
const disk = smallDisk('2500k')

/** Segments with a row each. */
async function writeSegments(cluster: Cluster, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await cluster.query(`insert into t select $1::int, md5(random()::text) from generate_series(1, 50)`, [i])
    await cluster.query('select pg_switch_wal()')
  }
}

/** In the background, so that a segment starts a shell and not Node. */
const ARCHIVING = { 'archive-async': 'y', 'process-max': '2' }

async function aSiteToRestore(options: Parameters<typeof aSite>[0] = {}): Promise<Site> {
  const site = await aSite({
    walSegsizeMb: 1,
    ...options,
    options: { ...ARCHIVING, ...options.options },
  })
  const run = (...args: string[]) =>
    options.archiver === 'pgbackrest' ? site.pgbackrestOk(...args) : site.pgtsOk(...args)
  await run('stanza-create')
  await site.cluster.query('create table t (i int, v text)')
  await run('--type=full', 'backup')
  return site
}

describe('a server in recovery', { timeout: 120_000 }, () => {
  let site: Site
  let expected: DataChecksum
  beforeAll(async () => {
    site = await aSiteToRestore({ options: { 'compress-type': 'zst' } })
    await writeSegments(site.cluster, SEGMENTS)
    await untilArchived(site.cluster)
    expected = await dataChecksum(site.cluster)
  })
  afterAll(() => site?.[Symbol.asyncDispose]())

  test('takes its segments from the spool, and the background process ends after recovery', async () => {
    const replica = aReplica(site, { options: { 'archive-get-queue-max': '8MiB' } })
    await using copy = await restored(site, replica)
    const pid = await backgroundOf(replica)
    await copy.untilPrimary()
    expect(await dataChecksum(copy)).toEqual(expected)
    const { synchronous, ahead } = ways(copy, replica)
    expect(new Set([...synchronous, ...ahead]).size).toBeGreaterThanOrEqual(SEGMENTS)
    expect([...ahead].filter((segment) => !synchronous.has(segment)).length).toBeGreaterThan(0)
    expect(copy.log() + asyncGetLog(replica)).not.toMatch(/WARN|ERROR: \[/)

    await copy.stop()
    await until('the end of the background process', () => isGone(pid))
    expect(asyncGetLog(replica)).toContain('the server has ended')
    expect(readdirSync(join(replica.spool, 'in'))).toEqual([])
    expect(existsSync(join(replica.spool, 'pgts', 'get.pid'))).toBe(false)
    expect(readdirSync(join(replica.dataDir, 'pg_wal')).filter((name) => name.includes('.tmp'))).toEqual([])
  })

  test('recovers beside another server with the same spool and stanza', async () => {
    const first = aReplica(site)
    const second = aReplica(site, { options: { 'spool-path': join(first.dir, 'spool') } })
    await restore(first)
    await restore(second)
    const conf = { recovery_target_action: 'shutdown' }
    await using one = await recovering(site, first, conf)
    await using two = await recovering(site, second, conf)
    await one.untilPrimary()
    await two.untilPrimary()
    expect(await dataChecksum(one)).toEqual(expected)
    expect(await dataChecksum(two)).toEqual(expected)
  })

  test('recovers with an unusable spool', async () => {
    const replica = aReplica(site)
    writeFileSync(join(replica.dir, 'file'), '')
    const config = readFileSync(replica.config, 'utf8')
    await restore(replica)
    writeFileSync(replica.config, config.replace(/^spool-path=.*$/m, `spool-path=${join(replica.dir, 'file')}`))
    await using copy = await recovering(site, replica)
    await copy.untilPrimary()
    expect(await dataChecksum(copy)).toEqual(expected)
    expect(copy.log()).toMatch(/WARN: WAL is not fetched ahead: .*spool directory/)
  })

  test.runIf(disk !== undefined)('recovers with a full spool', async () => {
    const replica = aReplica(site, { options: { 'spool-path': disk! } })
    await using copy = await restored(site, replica)
    await copy.untilPrimary()
    expect(await dataChecksum(copy)).toEqual(expected)
    expect(asyncGetLog(replica)).toMatch(/WARN: cannot fetch ahead: .*ENOSPC/)
    expect(ways(copy, replica).ahead.size).toBeGreaterThan(0)
  })

  test('recovers across a timeline switch, although the old timeline has later WAL', async () => {
    // The first copy becomes a primary and archives its own timeline; the original continues, too.
    const promoted = aReplica(site)
    await restore(promoted)
    const archiving = {
      archive_mode: 'on',
      archive_command: promoted.restoreCommand.replace('archive-get %f "%p"', 'archive-push %p'),
    }
    {
      await using primary = await recovering(site, promoted, archiving)
      await primary.untilPrimary()
      await writeSegments(site.cluster, 4)
      await untilArchived(site.cluster)
      await writeSegments(primary, 8)
      await untilArchived(primary)
      const checksum = await dataChecksum(primary)

      const replica = aReplica(site, { options: { 'archive-get-queue-max': '4MiB' } })
      await using copy = await restored(site, replica)
      await copy.untilPrimary()
      expect(await dataChecksum(copy)).toEqual(checksum)
      const { synchronous, ahead } = ways(copy, replica)
      expect([...ahead].some((name) => name.startsWith('00000001'))).toBe(true)
      expect([...ahead].filter((name) => name.startsWith('00000002') && !synchronous.has(name)).length).toBeGreaterThan(
        0,
      )
    }
  })
})

describe('a standby that reads only the archive', () => {
  test('replays archived WAL after faults of its background process, its spool and the repository', async () => {
    await using site = await aSiteToRestore({ options: { 'compress-type': 'lz4' } })
    const { cluster } = site
    const replica = aReplica(site)
    await restore(replica, '--type=standby')
    await using standby = await recovering(site, replica, { wal_retrieve_retry_interval: '200ms' })
    const follow = async (what: string) => {
      await writeSegments(cluster, 4)
      await cluster.query('insert into t values (-1, $1)', [what])
      await cluster.query('select pg_switch_wal()')
      const sees = () => standby.query('select 1 from t where v = $1', [what]).then((rows) => rows.length === 1)
      await until(what, sees)
    }
    await follow('what was written first')

    // A killed process leaves its process id, a partial segment, and a queue without a valid owner.
    const killed = await backgroundOf(replica)
    process.kill(killed, 'SIGKILL')
    await until('its end', () => isGone(killed))
    const [row] = await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as next')
    const next = String(row!['next'])
    for (const name of [next, `${next}.pgbackrest.tmp`, `${next}.ok`, 'global.error'])
      writeFileSync(join(replica.spool, 'in', name), 'garbage')
    giveToTestUser(join(replica.spool, 'in'))
    await follow('what was written after the kill')
    const second = await backgroundOf(replica)
    expect(second).not.toBe(killed)

    // A process that hangs delays nothing.
    process.kill(second, 'SIGSTOP')
    try {
      await follow('what was written while it hung')
    } finally {
      process.kill(second, 'SIGCONT')
    }

    // The repository is unavailable for a while: archiving and the calls of the standby fail.
    renameSync(site.repo, `${site.repo}.away`)
    await writeSegments(cluster, 3)
    const log = standby.log().length
    await until('a failed call', () => /ERROR: \[/.test(standby.log().slice(log)))
    rmSync(site.repo, { recursive: true, force: true })
    renameSync(`${site.repo}.away`, site.repo)
    await follow('what was written after the repository was back')

    // Its spool is removed while it runs, as by a restore.
    removeTreeSync(textToBytes(replica.spool))
    await follow('what was written after the spool was removed')

    await untilArchived(cluster)
    const expected = await dataChecksum(cluster)
    await standby.query('select pg_promote()')
    await standby.untilPrimary()
    expect(await dataChecksum(standby)).toEqual(expected)
  }, 180_000)
})

test('a standby replays WAL that pgbackrest archived, encrypted and with every codec, beside the queue of pgbackrest in the spool', async () => {
  const secret = { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'secret' }
  await using site = await aSiteToRestore({ archiver: 'pgbackrest', options: { 'compress-type': 'gz', ...secret } })
  for (const codec of ['gz', 'lz4', 'zst', 'bz2', 'none']) {
    const config = readFileSync(site.config, 'utf8')
    writeFileSync(site.config, config.replace(/^compress-type=.*$/m, `compress-type=${codec}`))
    await writeSegments(site.cluster, 2)
    await untilArchived(site.cluster)
  }
  const stored = readdirSync(join(site.repo, 'archive', 'main'), { recursive: true, encoding: 'utf8' })
  for (const ending of ['gz', 'lz4', 'zst', 'bz2'])
    expect(stored.some((name) => name.endsWith(`.${ending}`))).toBe(true)
  const expected = await dataChecksum(site.cluster)
  const replica = aReplica(site)
  await restore(replica)

  // The asynchronous archive-get of pgbackrest, called as by the server.
  const label = readFileSync(join(replica.dataDir, 'backup_label'), 'utf8')
  const first = /START WAL LOCATION: .* \(file ([0-9A-F]{24})\)/.exec(label)![1]!
  const target = join(replica.dataDir, 'pg_wal', 'RECOVERYXLOG')
  const got = await runAs(
    testUser,
    PGBACKREST,
    [`--config=${replica.config}`, '--stanza=main', 'archive-get', first, target],
    { cwd: replica.dataDir, deadlineMs: 60_000 },
  )
  expect(got.code).toBe(0)
  const queue = () => readdirSync(join(replica.spool, 'in')).filter((name) => /^[0-9A-F]{24}$/.test(name))
  await until('its queue', () => queue().length > 2)
  for (const name of queue()) writeFileSync(join(replica.spool, 'in', name), 'not what was archived')

  await using copy = await recovering(site, replica)
  await copy.untilPrimary()
  expect(await dataChecksum(copy)).toEqual(expected)
  expect(ways(copy, replica).ahead.size).toBeGreaterThan(0)
}, 120_000)
