import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { giveToTestUser, isInstalled, makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { PATRONI_PROGRAMS } from '../support/processes/programs.ts'
import { PatroniSite, Writer } from '../support/sites/patroni.ts'
import type { PatroniNode } from '../support/sites/patroni-node.ts'
import { until } from '../support/until.ts'

/**
 * A cluster of Patroni with etcd, in which pgts is called pgbackrest: for archiving in the background, new replicas and
 * restore_command. PGTS_TEST_PATRONI=all adds a third node, switchover, a rebuilt primary and the bootstrap from a backup.
 */
const all = process.env['PGTS_TEST_PATRONI'] === 'all'

let site: PatroniSite
let writer: Writer
/** Rows that were committed when each restore point was written. */
const points: { name: string; rows: number }[] = []

/** A restore point after the last committed row; the writer is paused for it. */
async function point(name: string): Promise<void> {
  await writer.stop()
  await (await site.leader()).query('select pg_create_restore_point($1)', [name])
  points.push({ name, rows: writer.committed })
  writer = new Writer(site, writer.committed)
}

/** Rows of a restore to a point, from the full backup that was taken before all points. */
async function restoredRows(name: string): Promise<{ count: number; last: number }> {
  const dataDir = join(makeTestDir('restored'), 'data')
  mkdirSync(dataDir, { mode: 0o700 })
  const target = [`--pg1-path=${dataDir}`, '--type=name', `--target=${name}`, '--target-action=promote']
  giveToTestUser(dataDir)
  const full = readdirSync(join(site.dir, 'repo/backup/main')).find((name) => /^\d{8}-\d{6}F$/.test(name))!
  await site.pgbackrest(await site.leader(), ...target, `--set=${full}`, 'restore')
  await using copy = await startCluster({
    dir: dataDir,
    conf: { archive_mode: 'off', synchronous_standby_names: '' },
  })
  await copy.untilPrimary()
  const [row] = await copy.query('select count(*)::int as count, max(n) as last from numbers')
  return row as { count: number; last: number }
}

/** Ends the current segment, and waits until the leader has archived everything. */
async function archiveAll(): Promise<void> {
  const leader = await site.leader()
  await leader.query("select pg_create_restore_point('end'), pg_switch_wal()")
  await until('the archiver', () => leader.ready().length === 0, { details: site.details })
}

/** A power cut of the leader's host; returns the node that is promoted. */
async function failOver(): Promise<{ old: PatroniNode; promoted: PatroniNode }> {
  await site.synchronousStandby()
  const old = await site.leader()
  await old.kill()
  await site.dropLeaderKey()
  const promoted = await site.leader()
  return { old, promoted }
}

describe.runIf(PATRONI_PROGRAMS.every(isInstalled))('a cluster of Patroni', () => {
  beforeAll(async () => {
    site = await PatroniSite.start()
  })
  afterAll(async () => {
    await writer?.stop()
    await site?.[Symbol.asyncDispose]()
  })

  test('archives in the background, and creates its replicas with restore', async () => {
    const first = await site.addNode()
    first.start()
    await site.leader()
    await site.pgbackrest(first, 'stanza-create')
    await first.query('create table numbers (n int primary key, filler text)')
    await site.pgbackrest(first, '--type=full', 'backup')
    writer = new Writer(site)
    for (let count = 1; count < (all ? 3 : 2); count++) {
      const replica = await site.addNode()
      replica.start()
      await site.untilStreaming(replica)
      expect(replica.log()).toContain('replica has been created using pgts')
      expect(existsSync(join(replica.setup.dir, 'wal/archive_status'))).toBe(true)
    }
    await writer.more(30)
    await point('replicas')
  }, 300_000)

  test('loses no WAL that only the failed primary had, after pg_rewind', async () => {
    const primary = await site.leader()
    // From here on nothing is archived on this node, so its finished segments are lost if it does not return.
    await site.pgbackrest(primary, 'stop')
    for (let count = 0; count < 3; count++) {
      await writer.more(2)
      await primary.query('select pg_switch_wal()')
    }
    await point('before the failover')
    await writer.more(10)
    const { old, promoted } = await failOver()
    expect(old).toBe(primary)
    const lost = old.ready()
    expect(lost.length).toBeGreaterThanOrEqual(3)
    await writer.more(30)
    await site.pgbackrest(old, 'start')
    old.start()
    await site.untilStreaming(old)
    expect(old.log()).toContain(`Trying to archive ${lost[0]}`)
    expect(old.log()).not.toContain('Failed to archive')
    expect(await site.leader()).toBe(promoted)
    await writer.more(10)
    await point('after the failover')
  }, 300_000)

  if (all) more()

  test('restores every committed row at each point in time', async () => {
    await point('last')
    await writer.stop()
    await archiveAll()
    expect(points.length).toBeGreaterThanOrEqual(4)
    for (const { name, rows } of points) {
      const { count, last } = await restoredRows(name)
      expect({ name, count }).toEqual({ name, count: last })
      // The commit of one more can be unconfirmed.
      expect([rows, rows + 1]).toContain(last)
    }
  }, 300_000)
})

function more(): void {
  test('switches over and back while rows are written', async () => {
    for (let turn = 1; turn <= 2; turn++) {
      const leader = await site.leader()
      const candidate = await site.synchronousStandby()
      const answer = await fetch(`http://127.0.0.1:${leader.setup.restPort}/switchover`, {
        method: 'POST',
        body: JSON.stringify({ leader: leader.name, candidate: candidate.name }),
      })
      expect(await answer.text()).toMatch(/Successfully switched over/)
      await writer.more(30)
      await site.untilStreaming(leader)
      await point(`after switchover ${turn}`)
    }
  }, 300_000)

  test('takes a backup of the new primary, and rebuilds a failed one whose disk is lost from it', async () => {
    await site.pgbackrest(await site.leader(), '--type=diff', 'backup')
    await writer.stop()
    await archiveAll()
    const { old } = await failOver()
    writer = new Writer(site, writer.committed)
    rmSync(old.dataDir, { recursive: true })
    rmSync(join(old.setup.dir, 'wal'), { recursive: true, force: true })
    await writer.more(30)
    const before = old.log().length
    old.start()
    await site.untilStreaming(old)
    expect(old.log().slice(before)).toContain('replica has been created using pgts')
    await point('after the rebuild')
  }, 300_000)

  test('bootstraps a cluster from the backup, with a target and a hexadecimal timeline', async () => {
    await point('bootstrap')
    await writer.more(10)
    await archiveAll()
    const { rows } = points.at(-1)!
    const { timeline = 0 } = (await (await site.leader()).status()) ?? {}
    const node = await site.addNode({ scope: 'copy', stanza: 'copy', target: { name: 'bootstrap', timeline } })
    node.start()
    await until('the bootstrapped cluster', () => node.isLeader(), { everyMs: 200, details: site.details })
    expect(await node.query('select count(*)::int as rows from numbers')).toEqual([{ rows }])
    // Refused in the moment in which the background process looks for the stanza.
    let refused = ''
    const created = async () => {
      try {
        await site.pgbackrest(node, 'stanza-create')
        return true
      } catch (error) {
        refused = String(error)
        return false
      }
    }
    await until('stanza-create', created, { everyMs: 500, details: () => refused })
    await site.pgbackrest(node, 'check')
    await site.pgbackrest(node, '--type=full', 'backup')
  }, 300_000)
}
