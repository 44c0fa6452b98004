import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Cluster,
  describeRun,
  giveToTestUser,
  makeTestDir,
  pgts,
  pgtsProgram,
  startCluster,
} from '../postgres/postgres.ts'
import type { Site } from './site.ts'
import { until } from '../until.ts'

/** A restored copy of a site with a configuration of its own: WAL is fetched asynchronously, through a spool of its own. */
export interface Replica {
  readonly dir: string
  readonly dataDir: string
  readonly config: string
  /** `<spool-path>/archive/main` */
  readonly spool: string
  readonly restoreCommand: string
}

export interface ReplicaOptions {
  /** Replace options of the site. */
  readonly options?: Readonly<Record<string, string>>
  /** More arguments for archive-get in restore_command. */
  readonly getWords?: string
  /** Prefix of restore_command for the shell: `NAME=value`. */
  readonly environment?: string
}

export function aReplica(site: Site, { options = {}, getWords = '', environment = '' }: ReplicaOptions = {}): Replica {
  const dir = makeTestDir('replica')
  const dataDir = join(dir, 'data')
  const config = join(dir, 'pgbackrest.conf')
  for (const name of ['data', 'log', 'spool']) mkdirSync(join(dir, name), { mode: 0o700 })
  const settings: Record<string, string> = {
    'archive-async': 'y',
    'spool-path': join(dir, 'spool'),
    'log-path': join(dir, 'log'),
    'log-level-file': 'detail',
    'process-max': '2',
    ...options,
  }
  const lines = readFileSync(site.config, 'utf8').replaceAll(site.cluster.dataDir, dataDir).split('\n')
  const kept = lines.filter((line) => !(line.split('=')[0]! in settings))
  const added = Object.entries(settings).map(([name, value]) => `${name}=${value}`)
  writeFileSync(config, [kept[0], ...added, ...kept.slice(1)].join('\n'))
  giveToTestUser(dir)
  const words = [
    environment,
    `'${pgtsProgram()}'`,
    `--config=${config} --stanza=main --log-level-console=info`,
    getWords,
  ]
  const restoreCommand = `${words.filter((word) => word !== '').join(' ')} archive-get %f "%p"`
  return { dir, dataDir, config, spool: join(settings['spool-path']!, 'archive', 'main'), restoreCommand }
}

export async function restore(replica: Replica, ...args: string[]): Promise<void> {
  const run = await pgts([`--config=${replica.config}`, '--stanza=main', ...args, 'restore'], {
    cwd: replica.dir,
    deadlineMs: 120_000,
  })
  if (run.code !== 0) throw new Error(describeRun('restore', [], run))
}

/** A server on the restored copy; it reads WAL through the spool, and archives nothing. */
export function recovering(site: Site, replica: Replica, conf: Record<string, string> = {}): Promise<Cluster> {
  const settings = { restore_command: replica.restoreCommand, archive_mode: 'off', ...conf }
  return startCluster({
    version: site.cluster.version,
    dir: replica.dataDir,
    conf: settings,
    startDeadlineMs: 120_000,
  })
}

export async function restored(site: Site, replica: Replica, conf: Record<string, string> = {}): Promise<Cluster> {
  await restore(replica)
  return recovering(site, replica, conf)
}

/** Segments of WAL that wait to be archived. */
export function readyOf(cluster: Cluster): string[] {
  const status = join(cluster.dataDir, 'pg_wal', 'archive_status')
  return readdirSync(status)
    .flatMap((name) => /^([0-9A-F]{24})\.ready$/.exec(name)?.[1] ?? [])
    .sort()
}

/**
 * Waits until all finished segments are archived, except `left` of them. An archiver that waits for its next
 * attempt, which it does for a minute after the third failure, is woken.
 */
export async function untilArchived(cluster: Cluster, deadlineMs = 60_000, left = 0): Promise<void> {
  let asked = 0
  const archived = async () => {
    if (readyOf(cluster).length <= left) return true
    if (++asked % 100 === 0) await cluster.query('select pg_reload_conf()')
    return false
  }
  await until('the archiver', archived, { deadlineMs, details: () => cluster.log() })
}

/** Fails, and is accepted by the checks of both programs. */
export const FAILING_COMMAND = 'false # pgts, pgbackrest'

/** Stops archiving. @returns a finished segment that is not archived: the archiver reads its configuration some time after the reload */
export async function unarchivedSegment(cluster: Cluster): Promise<string> {
  await cluster.query(`alter system set archive_command = '${FAILING_COMMAND}'`)
  const [reload] = await cluster.query('select pg_reload_conf(), clock_timestamp()::text as at')
  for (;;) {
    await cluster.query('create table if not exists unarchived as select 1')
    await cluster.query('insert into unarchived select 1')
    const [row] = await cluster.query('select pg_walfile_name(pg_switch_wal()) as name')
    const name = String(row!['name'])
    let isRefused = false
    await until('the archiver', async () => {
      const [stat] = await cluster.query(
        'select last_archived_wal, last_failed_wal, last_failed_time > $1::timestamptz as fails from pg_stat_archiver',
        [reload!['at']],
      )
      // An older file is refused first, for example the history file of a backup.
      const refused = join(cluster.dataDir, 'pg_wal/archive_status', `${String(stat!['last_failed_wal'])}.ready`)
      isRefused = stat!['fails'] === true && existsSync(refused)
      return isRefused || stat!['last_archived_wal'] === name
    })
    if (isRefused) return name
  }
}

export function asyncGetLog(replica: Replica): string {
  const path = join(replica.dir, 'log', 'main-archive-get-async.log')
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

/** Process id of the background process when it has started. */
export async function backgroundOf(replica: Replica): Promise<number> {
  const path = join(replica.spool, 'pgts', 'get.pid')
  await until('the background process', () => existsSync(path))
  return Number(readFileSync(path, 'utf8'))
}

/** Segments that a call fetched by itself, and those that the background process fetched. */
export function ways(copy: Cluster, replica: Replica): { synchronous: Set<string>; ahead: Set<string> } {
  const all = (text: string, pattern: RegExp) => new Set([...text.matchAll(pattern)].map((match) => match[1]!))
  return {
    synchronous: all(copy.log(), /found ([0-9A-F]{24}) in the repo/g),
    ahead: all(asyncGetLog(replica), /fetched ([0-9A-F]{24}) ahead/g),
  }
}
