import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  dataChecksum,
  isInstalled,
  makeTestDir,
  type RunResult,
  serverBinaries,
  startCluster,
} from '../support/postgres/postgres.ts'
import { expectRefusal } from '../support/refusal.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import { runAs, testUser } from '../support/processes/test-user.ts'

/** Slow, so that it can be interrupted: one thread with the highest compression level. */
const SLOW = ['--process-max=1', '--compress-type=gz', '--compress-level=9']

let site: Site
let expected: Record<string, string>
beforeAll(async () => {
  site = await aSite({
    walSegsizeMb: 1,
    options: { 'compress-type': 'zst', 'process-max': '2', 'repo1-retention-full': '3' },
  })
  await site.cluster.query(
    'create table t as select g as id, md5(g::text) || md5((g + 7)::text) || md5((g + 9)::text) as v from generate_series(1, 150000) g',
  )
  await site.cluster.query('alter table t add primary key (id); checkpoint')
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  expected = await dataChecksum(site.cluster)
})
afterAll(() => site[Symbol.asyncDispose]())

const path = (name = '') => join(site.repo, 'backup/main', name)
const directories = () =>
  readdirSync(path())
    .filter((name) => /^\d{8}-\d{6}F$/.test(name))
    .sort()
const finished = () => directories().filter((name) => existsSync(path(`${name}/backup.manifest`)))
const newest = () => path(directories().at(-1))

/** Run until `moment` is true, then send the signal and wait for the end. */
async function interrupted(
  args: string[],
  signal: NodeJS.Signals,
  moment: (pid: number) => boolean | Promise<boolean>,
): Promise<RunResult & { reached: boolean; endedAfterMs: number }> {
  let pid = 0
  let ended = false
  const run = site.pgts(args, { onStart: (started) => (pid = started) }).finally(() => (ended = true))
  let reached = false
  let signalled = 0
  while (!ended && !reached) {
    reached = pid !== 0 && (await moment(pid))
    if (reached) process.kill(pid, signal)
    else await sleep(2)
    signalled = performance.now()
  }
  return { ...(await run), reached, endedAfterMs: performance.now() - signalled }
}

/** No session of pgts is left on the server, so backup mode has ended. */
async function serverIsFree(): Promise<void> {
  const sessions =
    "select query, application_name from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
  await expect.poll(() => site.cluster.query(sessions), { timeout: 60_000 }).toEqual([])
}

async function infoAgrees(): Promise<void> {
  const listed = async (run: Promise<RunResult>) =>
    (JSON.parse((await run).stdout)[0].backup as { label: string }[]).map(({ label }) => label)
  const ours = await listed(site.pgtsOk('--output=json', 'info'))
  for (const label of ours) expect(finished()).toContain(label)
  if (isInstalled(PGBACKREST)) expect(await listed(site.pgbackrestOk('--output=json', 'info'))).toEqual(ours)
}

const files = (root: string) => (existsSync(root) ? readdirSync(root, { recursive: true }).length : 0)

describe('a signal during a backup', () => {
  const moments: {
    name: string
    signal: NodeJS.Signals
    args: string[]
    moment: () => boolean | Promise<boolean>
    before?: string
  }[] = [
    {
      name: 'while the server performs the checkpoint',
      signal: 'SIGINT',
      args: ['--no-start-fast'],
      before: 'update t set id = id where id < 5000',
      moment: async () =>
        (
          await site.cluster.query(
            "select 1 from pg_stat_activity where query ~ 'pg_backup_start' and pid <> pg_backend_pid()",
          )
        ).length > 0,
    },
    ...(['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => ({
      name: 'while files are copied',
      signal,
      args: SLOW,
      moment: () =>
        existsSync(join(newest(), 'backup.manifest.copy')) &&
        !existsSync(join(newest(), 'backup.manifest')) &&
        files(newest()) > 6,
    })),
    {
      name: 'while the backup waits for WAL',
      signal: 'SIGTERM',
      args: ['--archive-timeout=60s'],
      before: "alter system set archive_command = 'false # pgts'",
      moment: async () => {
        const rows = await site.cluster.query('select failed_count > 0 as failed from pg_stat_archiver')
        return rows[0]?.['failed'] === true
      },
    },
  ]
  test.each(moments)(
    '$signal $name ends the backup and backup mode, and leaves no backup',
    async ({ signal, args, moment, before }) => {
      const whole = finished()
      // The rest of the previous backup would be resumed, and the moment would be true before this backup begins.
      const left = args === SLOW ? directories().filter((name) => !whole.includes(name)) : []
      for (const label of left) rmSync(path(label), { recursive: true })
      if (before !== undefined) await site.cluster.query(before)
      await site.cluster.query('select pg_reload_conf()')
      const result = await interrupted(['--type=full', ...args, 'backup'], signal, moment)
      await site.cluster.query('alter system reset archive_command')
      await site.cluster.query('alter system reset all')
      await site.cluster.query("select pg_reload_conf(), pg_stat_reset_shared('archiver')")
      expect(result.reached, 'the moment was reached').toBe(true)
      expectRefusal(result, { code: 63, says: [`terminated on signal ${signal}`], hint: null })
      const lines = result.stdout.trim().split('\n')
      expect(lines.filter((line) => !/WARN: interrupted backup/.test(line))).toHaveLength(1)
      // The checkpoint and the wait for WAL take a minute and more.
      expect(result.endedAfterMs, 'the backup ends soon after the signal').toBeLessThan(30_000)
      if (process.env['PGTS_TEST_SHOW'] !== undefined) console.log(`ended after ${result.endedAfterMs} ms`)
      expect(finished()).toEqual(whole)
      expect(readdirSync(join(site.dir, 'lock'))).toEqual([])
      await serverIsFree()
      await infoAgrees()
    },
    120_000,
  )

  test('leaves files that the next backup removes', async () => {
    expect(directories().length).toBeGreaterThan(finished().length)
    await site.pgtsOk('--type=full', 'backup')
    expect(directories()).toEqual(finished())
    await infoAgrees()
  }, 60_000)
})

describe('a signal during a restore', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s: the cluster cannot start, and --delta completes the restore',
    async (signal) => {
      const target = join(makeTestDir('target'), 'data')
      const args = [`--pg1-path=${target}`, '--process-max=1', '--type=immediate', '--target-action=promote']
      const result = await interrupted([...args, 'restore'], signal, () => files(join(target, 'base')) > 3)
      expect(result.reached).toBe(true)
      expectRefusal(result, { code: 63, says: [`terminated on signal ${signal}`], hint: null })
      expect(existsSync(join(target, 'global/pg_control'))).toBe(false)
      expect(readdirSync(join(site.dir, 'lock'))).toEqual([])
      const start = await runAs(testUser, join(serverBinaries(15), 'postgres'), ['-D', target])
      expect(start.code).not.toBe(0)

      await site.pgtsOk(...args, '--delta', 'restore')
      await using restored = await startCluster({ dir: target, conf: { archive_mode: 'off' } })
      await restored.untilPrimary()
      expect(await dataChecksum(restored)).toEqual(expected)
    },
    90_000,
  )
})

describe('SIGKILL at any time', () => {
  test('leaves a complete backup or none, and the next backup succeeds', async () => {
    const begun = Date.now()
    await site.pgtsOk('--type=full', 'backup')
    let durationMs = Date.now() - begun
    const rounds = 15
    let died = 0
    for (let round = 0; round < rounds; round++) {
      // Spread over the whole run, with more kills near its end, where the backup is committed.
      const at = durationMs * (0.1 + 0.95 * Math.sqrt(round / rounds))
      let started = 0
      const result = await interrupted(['--type=full', 'backup'], 'SIGKILL', () => {
        started ||= Date.now()
        return Date.now() - started >= at
      })
      if (result.reached && result.signal === 'SIGKILL') died++
      // The first one was slower: other programs used the machine.
      else durationMs = Math.min(durationMs, Date.now() - started)
      await infoAgrees()
    }
    expect(died).toBeGreaterThan(rounds / 2)
    console.log(`interrupted: ${died} of ${rounds} backups were killed, the others had ended already`)

    await site.pgtsOk('--type=full', 'backup')
    expect(directories()).toEqual(finished())
    expect(directories()).toHaveLength(3)
    expect(readFileSync(path('backup.info'))).toEqual(readFileSync(path('backup.info.copy')))
    await infoAgrees()
    await serverIsFree()
    if (isInstalled(PGBACKREST)) await site.verifiedByPgbackrest()

    // Every listed backup can be restored.
    for (const label of directories()) {
      const target = join(makeTestDir('restored'), 'data')
      await site.pgtsOk(
        `--pg1-path=${target}`,
        `--set=${label}`,
        '--type=immediate',
        '--target-action=promote',
        'restore',
      )
      await using restored = await startCluster({ dir: target, conf: { archive_mode: 'off' } })
      await restored.untilPrimary()
      expect(await dataChecksum(restored)).toEqual(expected)
    }
  }, 400_000)
})
