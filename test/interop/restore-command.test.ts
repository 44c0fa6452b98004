import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import {
  dataChecksum,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  pgtsProgram,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const cell = countCells('pgts restore in recovery and after a crash', 10)

/** pgts restores a backup of pgbackrest: to a point in time, and after a crash. */
describe.runIf(installed)('pgts restore of a pgbackrest backup', () => {
  let site: Site
  /** Data of the cluster at the recovery targets. */
  const moments: { name: string; time: string; lsn: string; rows: number }[] = []

  beforeAll(async () => {
    site = await aSite({ archiver: 'pgbackrest', options: { 'compress-type': 'lz4', 'process-max': '2' } })
    const ts = join(site.dir, 'ts')
    mkdirSync(ts)
    giveToTestUser(ts)
    await site.pgbackrestOk('stanza-create')
    await site.cluster.query(`create tablespace fast location '${ts}'`)
    await site.cluster.query('create table steps (i int) tablespace fast')
    await site.cluster.query('create table bulk as select i, md5(i::text) as t from generate_series(1, 200000) i')
    for (const name of ['one', 'two']) {
      await site.pgbackrestOk('backup', '--type=full')
      await sleep(1100) // the stop of a backup must be in an earlier second than the target
      await site.cluster.query('insert into steps values (1), (2), (3)')
      await site.cluster.query(`select pg_create_restore_point('${name}')`)
      const [row] = await site.cluster.query(
        `select now()::text as time, pg_current_wal_lsn()::text as lsn, (select count(*) from steps)::int as rows`,
      )
      moments.push({ name, ...(row as { time: string; lsn: string; rows: number }) })
      await sleep(1100)
    }
    await site.cluster.query('drop table steps')
    await site.cluster.query('select pg_switch_wal()')
    await site.cluster.stop()
  }, 180_000)
  afterAll(() => site[Symbol.asyncDispose]())

  const target = () => join(makeTestDir('target'), 'data')
  const args = (pgPath: string) => [
    `--pg1-path=${pgPath}`,
    `--tablespace-map=fast=${pgPath}-ts`,
    '--log-level-console=info',
    'restore',
  ]
  const rowsAfterRecovery = async (pgPath: string): Promise<number> => {
    await using cluster = await startCluster({ dir: pgPath, conf: { archive_mode: 'off' } })
    await cluster.untilPrimary()
    const [row] = await cluster.query('select count(*)::int as rows from steps')
    return row?.['rows'] as number
  }

  test.each([0, 1])(
    'recovers to moment %i by name, time and LSN, from the newest backup before it',
    async (index) => {
      const { name, time, lsn, rows } = moments[index]!
      for (const [type, value] of [
        ['name', name],
        ['time', time],
        ['lsn', lsn],
      ] as const) {
        const pgPath = target()
        const set = type === 'name' && index === 0 ? ['--set=' + (await labels())[0]] : []
        const result = await site.pgtsOk(
          ...[`--type=${type}`, `--target=${value}`, '--target-action=promote', ...set, ...args(pgPath)],
        )
        // Without --set the newest backup before the target was taken.
        expect(result.stdout).toContain(`restore backup set ${(await labels())[index]}`)
        expect(await rowsAfterRecovery(pgPath)).toBe(rows)
        cell(`${type} ${index}`)
      }
    },
    120_000,
  )

  test('refuses a time before every backup [075] and names the oldest backup', async () => {
    const pgPath = target()
    const result = await site.pgts(['--type=time', '--target=2001-01-01 00:00:00+00', ...args(pgPath)])
    expect(result.code).toBe(75)
    expect(result.stdout + result.stderr).toContain(`the oldest backup is ${(await labels())[0]}`)
    expect(existsSync(pgPath)).toBe(false)
  })

  test.each<[string, (pgPath: string) => boolean, boolean?]>([
    ['when the first files exist', (pgPath: string) => existsSync(join(pgPath, 'base/1'))],
    [
      'when pg_control has its temporary name',
      (pgPath: string) => existsSync(join(pgPath, 'global/pg_control.pgbackrest.tmp')),
    ],
    ['at once', () => true],
    ['when the recovery settings are written', (pgPath: string) => existsSync(join(pgPath, 'recovery.signal')), true],
  ])(
    'killed %s leaves a cluster that does not start, and --delta completes it',
    async (when, reached, mayBeComplete = false) => {
      const killed = async () => {
        const pgPath = target()
        const all = [`--config=${site.config}`, '--stanza=main', ...args(pgPath)]
        const child = spawn(pgtsProgram(), all, {
          cwd: site.dir,
          stdio: 'ignore',
          ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
        })
        const ended = new Promise((resolve) => child.once('exit', resolve))
        while (child.exitCode === null && !reached(pgPath)) await sleep(0)
        child.kill('SIGKILL')
        await ended
        return { pgPath, child, complete: existsSync(join(pgPath, 'global/pg_control')) }
      }
      let { pgPath, child, complete } = await killed()
      // The moment may pass while this process waits for a processor.
      for (let retry = 0; complete && !mayBeComplete && retry < 5; retry++)
        ({ pgPath, child, complete } = await killed())
      if (!mayBeComplete) {
        expect(child.signalCode, 'the restore was over before it could be killed').toBe('SIGKILL')
        expect(complete).toBe(false)
      }
      if (!complete && existsSync(join(pgPath, 'PG_VERSION'))) {
        await expect(startCluster({ dir: pgPath })).rejects.toThrow(/did not start/)
        rmSync(join(pgPath, 'postmaster.pid'), { force: true })
      }
      const started = existsSync(join(pgPath, 'backup.manifest')) || existsSync(join(pgPath, 'PG_VERSION'))
      const again = await site.pgts([...(started ? ['--delta'] : []), ...args(pgPath)])
      expect(again.code, again.stdout + again.stderr).toBe(0)
      await using cluster = await startCluster({ dir: pgPath, conf: { archive_mode: 'off' } })
      await cluster.untilPrimary()
      expect(Object.keys(await dataChecksum(cluster)).some((name) => name.includes('bulk'))).toBe(true)
      cell(`killed ${when}`)
    },
    120_000,
  )

  test('writes files of the current user with the modes of the backup', async () => {
    const pgPath = target()
    await site.pgtsOk(...args(pgPath))
    const data = statSync(pgPath)
    expect([data.uid, data.mode & 0o7777]).toEqual([testUser.uid, 0o700])
    expect(statSync(join(pgPath, 'PG_VERSION')).mode & 0o7777).toBe(0o600)
    expect(readFileSync(join(pgPath, 'postgresql.auto.conf'), 'latin1')).toMatch(
      new RegExp(`restore_command = '.*pgts .*--config=${site.config}.* archive-get %f "%p"'`),
    )
  })

  async function labels(): Promise<string[]> {
    const { stdout } = await site.pgbackrestOk('info', '--output=json')
    return (JSON.parse(stdout) as { backup: { label: string }[] }[])[0]!.backup.map(({ label }) => label)
  }
})
