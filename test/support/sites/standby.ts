import { appendFileSync, cpSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, giveToTestUser, makeTestDir, startCluster } from '../postgres/postgres.ts'
import { until } from '../until.ts'
import type { Site } from './site.ts'

/** Settings of a primary from which standbys stream, and which keeps their WAL. */
export const STREAMED = { max_wal_senders: '6', wal_keep_size: '128MB', hot_standby: 'on' } as const

/** As `standbyOf`, added to the configuration of a site as pg2. */
export async function aStandby(site: Site, conf: Readonly<Record<string, string>> = {}): Promise<Cluster> {
  const standby = await standbyOf(site.cluster, conf)
  const lines = Object.entries(clusterOptions(standby, 2)).map(([name, value]) => `${name}=${value}\n`)
  appendFileSync(site.config, lines.join(''))
  return standby
}

/**
 * A streaming standby of a primary (PostgreSQL 12 and later) on this host, made of a copy of the stopped primary; its
 * tablespaces are beside its directory.
 */
export async function standbyOf(primary: Cluster, conf: Readonly<Record<string, string>> = {}): Promise<Cluster> {
  await primary.stop()
  const runDir = makeTestDir('standby')
  const dir = join(runDir, 'data')
  cpSync(primary.dataDir, dir, { recursive: true, verbatimSymlinks: true })
  for (const oid of readdirSync(join(dir, 'pg_tblspc'))) {
    const link = join(dir, 'pg_tblspc', oid)
    cpSync(readlinkSync(link), join(runDir, oid), { recursive: true })
    rmSync(link)
    symlinkSync(join(runDir, oid), link)
  }
  writeFileSync(join(dir, 'standby.signal'), '')
  giveToTestUser(runDir)
  await primary.start()
  return startCluster({
    version: primary.version,
    dir,
    conf: { primary_conninfo: `host=${primary.socketDir} port=${primary.port} user=${primary.user}`, ...conf },
  })
}

/** Options of a cluster with this number. */
export function clusterOptions(cluster: Cluster, key: number): Record<string, string> {
  return Object.fromEntries(
    Object.entries(cluster.pgOptions()).map(([name, value]) => [name.replace('pg1', `pg${key}`), value]),
  )
}

/** Waits until a standby has replayed everything that its primary has written. */
export async function untilReplayed(primary: Cluster, standby: Cluster): Promise<void> {
  const [row] = await primary.query('select pg_current_wal_lsn()::text as lsn')
  const reached = async () => {
    const [found] = await standby.query('select pg_last_wal_replay_lsn() >= $1::pg_lsn as yes', [row!['lsn']])
    return found!['yes'] === true
  }
  await until('replay on the standby', reached, { details: () => standby.log() })
}
