import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Cluster, makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

const CONF = { min_wal_size: '2MB', max_wal_size: '64MB', track_commit_timestamp: 'on', max_prepared_transactions: '2' }

interface Commit {
  readonly row: number
  readonly xid: number
  /** As in a plan: `2026-11-29 14:02:11.123456+00`. */
  readonly at: string
}

/** A row, with the commit as the server records it itself. */
async function commit(cluster: Cluster, row: number): Promise<Commit> {
  await cluster.query(`insert into t values (${row})`)
  const [found] = await cluster.query(
    `select xmin::text::int as xid,
       to_char(pg_xact_commit_timestamp(xmin) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00' as at
     from t where i = ${row}`,
  )
  return { row, ...(found as { xid: number; at: string }) }
}

const point = (cluster: Cluster, name: string) => cluster.query('select pg_create_restore_point($1)', [name])

async function backUp(site: Site): Promise<string> {
  await site.pgtsOk('--type=full', 'backup')
  // A backup that stops in the second of the target is too late for it.
  await sleep(1100)
  const labels = readdirSync(join(site.repo, 'backup/main')).filter((name) => /^\d{8}-\d{6}F$/.test(name))
  return labels.sort().at(-1)!
}

/** Commits and restore points before and after two backups, all archived. */
async function history(site: Site) {
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await cluster.query('create table t (i int)')
  await point(cluster, 'too early')
  const first = await backUp(site)
  const one = await commit(cluster, 1)
  await point(cluster, 'between')
  const two = await commit(cluster, 2)
  await point(cluster, 'twice')
  await cluster.query('begin; insert into t values (3); prepare transaction $$p$$')
  const [prepared] = await cluster.query('select transaction::text::int as xid from pg_prepared_xacts')
  await cluster.query("commit prepared 'p'")
  await cluster.query('select pg_switch_wal()')
  const four = await commit(cluster, 4)
  const second = await backUp(site)
  const five = await commit(cluster, 5)
  await point(cluster, 'twice')
  const six = await commit(cluster, 6)
  await point(cluster, 'twice')
  await point(cluster, 'the end')
  const seven = await commit(cluster, 7)
  await cluster.query('select pg_switch_wal()')
  await untilArchived(cluster)
  return { first, second, one, two, prepared: Number(prepared!['xid']), four, five, six, seven }
}

interface Plan {
  readonly code: number | null
  readonly backup: { readonly label: string }
  readonly problems: readonly { exitCode: number | null; message: string; hints: string[] }[]
  readonly target: { readonly verdict: string; readonly found: Record<string, unknown> | null }
  readonly window: { readonly to: string | null; readonly timeline: number; readonly unscanned: number } | null
}

async function plan(site: Site, type: string, target: string | number, ...more: string[]): Promise<Plan> {
  const args = ['--dry-run', '--output=json', `--type=${type}`, `--target=${target}`, ...more, ...elsewhere()]
  const { code, stdout } = await site.pgts([...args, 'restore'])
  return { ...(JSON.parse(stdout) as Omit<Plan, 'code'>), code }
}

const elsewhere = (dir = join(makeTestDir('restored'), 'data')) => [`--pg1-path=${dir}`, '--archive-mode=off']

/** The rows of a restored server that has stopped at its target, and its log. */
async function restored(site: Site, type: string, target: string | number, ...more: string[]) {
  const dir = join(makeTestDir('restored'), 'data')
  const args = [`--type=${type}`, `--target=${target}`, '--find-target', ...more, ...elsewhere(dir)]
  await site.pgtsOk(...args, 'restore')
  await using copy = await startCluster({ version: site.cluster.version, dir, conf: { hot_standby: 'on' } })
  await until('recovery has stopped', async () => {
    const [row] = await copy.query('select pg_is_wal_replay_paused() as paused')
    return row!['paused'] === true
  })
  const rows = await copy.query('select i from t order by 1')
  return { rows: rows.map((row) => row['i']), log: copy.log() }
}

const microsecondBefore = (at: string) =>
  at.replace(/\d+(?=\+00)/, (digits) => String(Number(digits) - 1).padStart(6, '0'))

// PGTS_TEST_MATRIX=all: also a version between the oldest and the newest.
const VERSIONS = process.env['PGTS_TEST_MATRIX'] === 'all' ? ([13, 15, 18] as const) : ([13, 18] as const)

test.each(VERSIONS)(
  'restore --find-target chooses the backup before the target, and PostgreSQL %i stops there, on two timelines',
  { timeout: 300_000 },
  async (version) => {
    await using site = await aSite({ version, walSegsizeMb: 1, conf: CONF })
    const facts = await history(site)
    const { first, second, one, two, prepared, five, six, seven } = facts
    const find = (type: string, target: string | number, ...more: string[]) =>
      plan(site, type, target, '--find-target', ...more)

    // Without the option, the newest backup is chosen for a transaction before it.
    expect((await plan(site, 'xid', two.xid)).backup.label).toBe(second)
    expect(await find('xid', two.xid)).toMatchObject({
      code: 0,
      backup: { label: first },
      target: { verdict: 'reachable', found: { kind: 'commit', xid: two.xid, time: two.at } },
    })
    expect(await find('xid', prepared)).toMatchObject({
      backup: { label: first },
      target: { found: { xid: prepared } },
    })
    expect(await find('xid', six.xid)).toMatchObject({ backup: { label: second }, target: { found: { time: six.at } } })
    expect(await find('name', 'between')).toMatchObject({
      backup: { label: first },
      target: { found: { name: 'between' } },
    })
    const twice = await find('name', 'twice')
    expect(twice).toMatchObject({ code: 0, backup: { label: second }, target: { found: { name: 'twice' } } })
    expect(twice.target.found!['others']).toHaveLength(1)
    expect(twice.problems[0]!.message).toContain(
      "restore point 'twice' exists 2 times: recovery stops at the first one",
    )
    expect((await find('name', 'twice', `--set=${first}`)).target.found!['others']).toHaveLength(2)
    expect(await find('time', two.at)).toMatchObject({
      backup: { label: first },
      target: { found: { xid: prepared, before: { xid: two.xid, time: two.at } } },
    })

    // What is not there is refused, with what is near.
    const unknown = await find('name', 'betwen')
    expect(unknown).toMatchObject({ code: 75, target: { verdict: 'unknown', found: null } })
    expect(unknown.problems[0]!.message).toMatch(
      /restore point 'betwen' is not in the archived WAL from \w{24} to \w{24}/,
    )
    expect(unknown.problems[0]!.hints[0]).toMatch(/^restore points: 'between' \(.*'the end'/)
    expect((await find('name', 'too early')).code).toBe(75)
    const future = await find('xid', seven.xid + 1000)
    expect(future.code).toBe(75)
    expect(future.problems[0]!.hints[0]).toContain(`to ${seven.xid}, commits from`)
    const beyond = await find('time', seven.at)
    expect(beyond).toMatchObject({ code: 75 })
    expect(beyond.problems[0]!.message).toContain(`is of ${seven.at}`)
    expect(beyond.problems[0]!.hints).toContain(`latest reachable target: ${microsecondBefore(seven.at)}`)
    expect(await find('time', microsecondBefore(seven.at))).toMatchObject({
      code: 0,
      target: { found: { xid: seven.xid } },
    })

    // The recorded commit times say the same without reading WAL.
    await until('the times are recorded', async () => (await plan(site, 'time', seven.at)).code === 75)
    const judged = await plan(site, 'time', seven.at)
    expect(judged).toMatchObject({ target: { verdict: 'unreachable' }, window: { to: seven.at, timeline: 1 } })
    expect(judged.problems[0]!.hints).toContain(`latest reachable target: ${microsecondBefore(seven.at)}`)
    expect(await plan(site, 'time', microsecondBefore(seven.at))).toMatchObject({
      code: 0,
      target: { verdict: 'reachable' },
    })

    const atXid = await restored(site, 'xid', one.xid)
    expect(atXid.rows).toEqual([1])
    expect(atXid.log).toContain(`recovery stopping after commit of transaction ${one.xid}`)
    expect((await restored(site, 'name', 'twice')).rows).toEqual([1, 2, 3, 4, 5])
    expect((await restored(site, 'time', microsecondBefore(seven.at))).rows).toEqual([1, 2, 3, 4, 5, 6])

    // The original continues on timeline 2, without the rows 6 and 7.
    await site.cluster.stop()
    const back = ['--type=xid', `--target=${five.xid}`, '--target-action=promote', '--find-target']
    await site.pgtsOk('--delta', ...back, 'restore')
    await site.cluster.start()
    await site.cluster.untilPrimary()
    const eight = await commit(site.cluster, 8)
    await point(site.cluster, 'on the second')
    await commit(site.cluster, 9)
    await site.cluster.query('select pg_switch_wal()')
    await untilArchived(site.cluster)
    expect(await find('xid', eight.xid)).toMatchObject({ code: 0, target: { found: { time: eight.at } } })
    expect((await find('name', 'the end')).code).toBe(75)
    expect((await find('name', 'the end', '--target-timeline=1')).code).toBe(0)
    // Segments that were archived while the server stopped can be without recorded times.
    await site.pgtsOk('expire')
    const old = await plan(site, 'time', seven.at, '--target-timeline=1')
    expect(old).toMatchObject({ code: 75, window: { to: seven.at, timeline: 1 } })
    expect((await find('time', two.at)).backup.label).toBe(first)
    expect((await restored(site, 'name', 'on the second')).rows).toEqual([1, 2, 3, 4, 5, 8])
  },
)

test(
  'a target in WAL that pgbackrest archived is found without recorded times, not beyond a gap',
  { timeout: 200_000 },
  async () => {
    const options = { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'secret', 'compress-type': 'zst' }
    await using site = await aSite({ walSegsizeMb: 1, archiver: 'pgbackrest', conf: CONF, options })
    const { first, second, two, six, seven } = await history(site)
    const find = (type: string, target: string | number) => plan(site, type, target, '--find-target')
    // As in a repository that pgts has never written to.
    rmSync(join(site.repo, 'pgts/main/wal-times'), { recursive: true, force: true })
    const early = await find('xid', two.xid)
    expect(early).toMatchObject({ code: 0, backup: { label: first }, target: { found: { time: two.at } } })
    expect(await find('name', 'the end')).toMatchObject({
      backup: { label: second },
      target: { found: { name: 'the end' } },
    })
    const before = await find('time', microsecondBefore(seven.at))
    expect(before.target.found).toMatchObject({ xid: seven.xid, before: { xid: six.xid, time: six.at } })

    // pg_waldump of the server's own segments agrees on the positions.
    const waldump = '/usr/lib/postgresql/15/bin/pg_waldump'
    if (existsSync(waldump)) {
      const found = before.target.found!
      const dump = execFileSync(waldump, ['-p', join(site.cluster.dataDir, 'pg_wal'), String(found['segment'])], {
        encoding: 'latin1',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      expect(dump).toMatch(new RegExp(`tx: +${seven.xid}, lsn: ${paddedLsn(String(found['lsn']))}.*desc: COMMIT`))
    }

    // A missing segment: what is before it is found, what is after it is not.
    const missing = String(early.target.found!['segment'])
    const directory = join(site.repo, 'archive/main/15-1', missing.slice(0, 16))
    for (const name of readdirSync(directory)) if (name.startsWith(missing)) rmSync(join(directory, name))
    expect((await find('xid', two.xid)).code).toBe(75)
    expect(await find('xid', six.xid)).toMatchObject({ code: 0, backup: { label: second } })
  },
)

/** `0/3000148` as pg_waldump prints it: `0/03000148`. */
function paddedLsn(lsn: string): string {
  const [high, low] = lsn.split('/') as [string, string]
  return `${high}/${low.padStart(8, '0')}`
}
