import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Cluster,
  dataChecksum,
  type DataChecksum,
  giveToTestUser,
  runAs,
  type ServerVersion,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'
import { aReplica, type Replica, restore, untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

/** A site with a backup and 12 later segments of WAL with rows. */
async function aSiteWithWal(version: ServerVersion): Promise<{ site: Site; expected: DataChecksum; middle: string }> {
  const site = await aSite({ version, walSegsizeMb: 1, options: { 'compress-type': 'lz4' } })
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await cluster.query('create table t (i int, v text)')
  await site.pgtsOk('--type=full', 'backup')
  let middle = ''
  for (let i = 0; i < 12; i++) {
    await cluster.query('insert into t select $1::int, md5(random()::text) from generate_series(1, 50)', [i])
    const [row] = await cluster.query('select pg_walfile_name(pg_switch_wal()) as name')
    if (i === 5) middle = String(row!['name'])
  }
  await untilArchived(cluster)
  return { site, expected: await dataChecksum(cluster), middle }
}

/** A fault of one call of restore_command, as a shell command, and the exit status that the server logs in archive recovery. */
interface Fault {
  readonly does: (site: Site) => string
  readonly code: number
  readonly message: RegExp
}

const REPOSITORY_AWAY: Fault = {
  does: (site) => `mv ${site.repo} ${site.repo}.away`,
  code: 200,
  message: /ERROR: \[200\]: recovery stops here, .*whether \S+ is in the archive.*repo1/,
}
const NODE_FAILS: Fault = {
  does: () => 'export NODE_OPTIONS=--require=/nonexistent.js',
  code: 201,
  message: /ERROR: \[201\]: recovery stops here, .*whether the file is in the archive/,
}

/** A server on the replica, with a fault when it requests this file. */
async function faultyReplica(site: Site, replica: Replica, wanted: string, fault: Fault): Promise<Cluster> {
  const armed = join(replica.dir, 'armed')
  writeFileSync(armed, '')
  giveToTestUser(replica.dir)
  const restore_command =
    `if [ -e ${armed} ] && [ %f = ${wanted} ]; then rm ${armed}; ${fault.does(site)}; fi; ` + replica.restoreCommand
  const conf = { restore_command, archive_mode: 'off', hot_standby: 'on', wal_retrieve_retry_interval: '200ms' }
  const { version } = site.cluster
  // Before 12 restore_command is in recovery.conf, where it is replaced.
  if (version < 12) {
    const { restore_command: command, wal_retrieve_retry_interval: _, ...rest } = conf
    const path = join(replica.dataDir, 'recovery.conf')
    writeFileSync(path, `restore_command = '${command.replaceAll("'", "''")}'\n`)
    giveToTestUser(path)
    return startCluster({ version, dir: replica.dataDir, conf: rest, start: false })
  }
  return startCluster({ version, dir: replica.dataDir, conf, start: false })
}

function bringRepositoryBack(site: Site): void {
  if (!existsSync(`${site.repo}.away`)) return
  rmSync(site.repo, { recursive: true, force: true })
  renameSync(`${site.repo}.away`, site.repo)
}

const END_OF_RECOVERY = /selected new timeline ID|archive recovery complete/

async function stopsAndGoesOn(
  site: Site,
  expected: DataChecksum,
  wanted: string,
  async: 'y' | 'n',
  fault = REPOSITORY_AWAY,
): Promise<void> {
  const replica = aReplica(site, { options: { 'archive-async': async, 'archive-get-queue-max': '2MiB' } })
  await restore(replica)
  await using copy = await faultyReplica(site, replica, wanted, fault)
  try {
    // Hot standby may have been reached before.
    await copy.start().catch(() => undefined)
    await until('the end of the server', () => !copy.running, { details: () => copy.log() })
    expect(copy.log()).toMatch(
      new RegExp(`FATAL: {2}could not restore file "[^"]+" from archive: .* exit code ${fault.code}\n`),
    )
    expect(copy.log()).toMatch(fault.message)
    expect(copy.log()).not.toMatch(END_OF_RECOVERY)
  } finally {
    bringRepositoryBack(site)
  }
  await copy.start()
  await copy.untilPrimary()
  expect(await dataChecksum(copy)).toEqual(expected)
  expect(copy.log()).toMatch(END_OF_RECOVERY)
}

describe('a fault of the repository during recovery does not end recovery', { timeout: 120_000 }, () => {
  let site: Site
  let expected: DataChecksum
  let middle = ''
  beforeAll(async () => {
    ;({ site, expected, middle } = await aSiteWithWal(15))
  }, 120_000)
  afterAll(() => site?.[Symbol.asyncDispose]())

  test('the server stops, and completes recovery after a new start', () => stopsAndGoesOn(site, expected, middle, 'n'))
  test('the server stops with segments that were fetched ahead, and completes recovery', () =>
    stopsAndGoesOn(site, expected, middle, 'y'))
  test('the server stops at a request for a newer timeline, and completes recovery', () =>
    stopsAndGoesOn(site, expected, '00000002.history', 'n'))

  test('the server stops when Node cannot be started for one call, and completes recovery', () =>
    stopsAndGoesOn(site, expected, middle, 'n', NODE_FAILS))
  test.each([
    ['a repository that is unavailable', REPOSITORY_AWAY],
    ['a call for which Node cannot be started', NODE_FAILS],
  ])('a standby continues after %s', async (_, fault) => {
    const replica = aReplica(site, { options: { 'archive-async': 'n' } })
    await restore(replica, '--type=standby')
    await using copy = await faultyReplica(site, replica, middle, fault)
    try {
      await copy.start()
      const failed = () => new RegExp(`ERROR: \\[\\d+\\]: (?!recovery stops)`).test(copy.log())
      await until('a failed call', failed, { details: () => copy.log() })
    } finally {
      bringRepositoryBack(site)
    }
    const sees = async () => JSON.stringify(await dataChecksum(copy)) === JSON.stringify(expected)
    await until('the rest of the WAL', sees, { details: () => copy.log() })
    expect(copy.log()).not.toMatch(/recovery stops here|shutting down/)
  })

  test('an incomplete installation does not end recovery either', async () => {
    const replica = aReplica(site, { options: { 'archive-async': 'n' } })
    await restore(replica)
    expect(existsSync(join(replica.dataDir, 'recovery.signal'))).toBe(true)
    const bin = join(replica.dir, 'bin')
    const script = `mkdir ${bin} && cp '${replica.restoreCommand.split("'")[1]}' ${bin}/pgts`
    expect(await runAs(testUser, 'sh', ['-c', script])).toMatchObject({ code: 0 })
    const call = (cwd: string) => runAs(testUser, `${bin}/pgts`, ['--stanza=main', 'archive-get', middle, 'x'], { cwd })
    expect(await call(replica.dataDir)).toMatchObject({ code: 201 })
    expect(await call(replica.dir)).toMatchObject({ code: 125 })
    expect(readdirSync(replica.dataDir)).not.toContain('x')
  })
})

test(
  'a fault of the repository does not end recovery before PostgreSQL 12, with recovery.conf',
  { timeout: 120_000 },
  async () => {
    const { site, expected, middle } = await aSiteWithWal(11)
    await using _ = site
    await stopsAndGoesOn(site, expected, middle, 'n')
  },
)
