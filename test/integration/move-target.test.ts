import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type Cluster, makeTestDir, pgts, type ServerVersion, startCluster } from '../support/postgres/postgres.ts'
import { giveToTestUser, type RunResult } from '../support/processes/test-user.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

/** With PGTS_TEST_MATRIX=full also the versions between. */
const VERSIONS: ServerVersion[] = process.env['PGTS_TEST_MATRIX'] === 'full' ? [10, 13, 17, 18] : [10, 17]

interface Moments {
  /** Times after each of the tables t0, t1, t2. */
  readonly times: readonly string[]
  /** The LSN after the second table. */
  readonly lsn: string
}

async function history(site: Site): Promise<Moments> {
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  await sleep(1100)
  const times: string[] = []
  let lsn = ''
  for (let i = 0; i < 3; i++) {
    await cluster.query(`create table t${i} as select 1 as a`)
    const [row] = await cluster.query('select clock_timestamp()::text as at, pg_current_wal_lsn()::text as lsn')
    times.push(String(row!['at']))
    if (i === 1) lsn = String(row!['lsn'])
    await sleep(20)
  }
  await cluster.query('create table last as select 1 as a')
  await cluster.query('select pg_switch_wal()')
  await untilArchived(cluster)
  return { times, lsn }
}

async function untilPaused(cluster: Cluster): Promise<void> {
  await until('the pause at the target', async () => {
    const [row] = await cluster.query('select pg_is_wal_replay_paused() as paused').catch(() => [])
    return row?.['paused'] === true
  })
}

async function tablesOf(cluster: Cluster): Promise<string[]> {
  const rows = await cluster.query("select relname from pg_class where relname ~ '^(t[0-9]|last)$' order by 1")
  return rows.map((row) => String(row['relname']))
}

/** A configuration for the restored copy, which has its own port and directory. */
function configOf(site: Site, copy: Cluster, dir: string): string {
  const config = join(makeTestDir('copy'), 'pgbackrest.conf')
  const text = readFileSync(site.config, 'utf8')
    .replaceAll(site.cluster.dataDir, dir)
    .replace(/^pg1-socket-path=.*$/m, `pg1-socket-path=${copy.socketDir}`)
    .replace(/^pg1-port=.*$/m, `pg1-port=${copy.port}`)
  writeFileSync(config, text)
  giveToTestUser(join(config, '..'))
  return config
}

describe.each(VERSIONS)('a paused, restored cluster of PostgreSQL %i', (version) => {
  test('is moved to later targets, and not back', { timeout: 180_000 }, async () => {
    await using site = await aSite({ version, walSegsizeMb: version >= 11 ? 1 : 16 })
    const { times, lsn } = await history(site)
    const dir = join(makeTestDir('restored'), 'data')
    await site.pgtsOk('--type=time', `--target=${times[0]}`, `--pg1-path=${dir}`, '--archive-mode=preserve', 'restore')
    await using copy = await startCluster({ version, dir, conf: { archive_command: 'false', hot_standby: 'on' } })
    await untilPaused(copy)
    expect(await tablesOf(copy)).toEqual(['t0'])

    const config = configOf(site, copy, dir)
    const move = (...args: string[]): Promise<RunResult> =>
      pgts([`--config=${config}`, '--stanza=main', ...args, 'move-target'], { cwd: site.dir, deadlineMs: 60_000 })
    const file = join(dir, version >= 12 ? 'postgresql.auto.conf' : 'recovery.conf')

    const back = await move('--type=lsn', '--target=0/100028')
    expect(back.code).toBe(75)
    expect(back.stdout).toMatch(
      /ERROR: \[075\]: cannot move the recovery target to lsn '0\/100028': recovery has reached/,
    )
    expect(back.stdout).toContain("HINT: run: pgts --stanza=main --delta --type=lsn --target='0/100028' restore")
    const early = await move('--type=time', '--target=2020-01-01 00:00:00+00')
    expect(early.code).toBe(75)
    const beyond = await move('--type=lsn', '--target=FF/0')
    expect(beyond.code).toBe(75)
    expect(beyond.stdout).toContain('the archive ends with WAL segment')
    expect(readFileSync(file, 'utf8')).not.toContain('move-target')

    const result = await move('--type=lsn', `--target=${lsn}`, '--log-level-console=info')
    expect(result.stdout).toContain(`is now lsn '${lsn}'`)
    expect(result.code).toBe(0)
    await copy.restart()
    await untilPaused(copy)
    expect(await tablesOf(copy)).toEqual(['t0', 't1'])

    const marker = join(makeTestDir('restart'), 'restarted')
    giveToTestUser(join(marker, '..'))
    const restart = `--restart-cmd=echo restarted > '${marker}'`
    expect((await move('--type=time', `--target=${times[2]}`, restart)).code).toBe(0)
    expect(readFileSync(marker, 'utf8')).toBe('restarted\n')
    await copy.restart()
    await untilPaused(copy)
    expect(await tablesOf(copy)).toEqual(['t0', 't1', 't2'])

    expect((await move()).code).toBe(0)
    await copy.restart()
    await copy.untilPrimary()
    expect(await tablesOf(copy)).toEqual(['last', 't0', 't1', 't2'])
    const ended = await move('--type=lsn', '--target=FF/0')
    expect(ended.code).toBe(75)
    expect(ended.stdout).toContain('its recovery has ended, or it was not restored')
  })
})
