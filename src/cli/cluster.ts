import type { CommandContext } from '../commands/context.ts'
import { repositoryPlaces } from '../commands/shared/repository-place.ts'
import { commandRow } from '../config/command-table.ts'
import type { AnyResolved } from '../config/resolve.ts'
import { localCluster } from '../core/cluster/local-cluster.ts'
import { lockHost, type HostLock } from '../core/serve/remote-locks.ts'
import type { ClusterAccess } from '../postgres/cluster-access.ts'
import { RemoteCluster } from '../postgres/remote/cluster.ts'
import type { Connection } from '../remote/connection.ts'
import { logTo, openHost, type HostDescription } from '../remote/host.ts'
import { textToBytes, type ByteString } from '../util/byte-string.ts'
import { systemClock } from '../util/clock.ts'
import { PgtsError } from '../util/error.ts'
import { hostOf } from './remote-host.ts'

export interface ClusterRun extends Pick<CommandContext, 'log' | 'signal' | 'env' | 'program'> {
  /** Repositories of the command. */
  readonly repos: readonly { readonly key: number }[]
  /** The locks of another host are lost. */
  readonly onLost: (reason: unknown) => void
}

/** The cluster of `options.pg[index]`. @throws PgtsError option-required without pgN-path; host-connect */
export async function openCluster(resolved: AnyResolved, run: ClusterRun, index: number): Promise<ClusterAccess> {
  const { command, options } = resolved
  const pg = options.pg[index]
  if (pg?.path === undefined) throw new PgtsError('option-required', `${command} requires pg${index + 1}-path`)
  const pgPath = textToBytes(pg.path)
  const host = hostOf(resolved, 'pg', pg.key)
  if (host !== undefined) return openRemote(resolved, run, { key: pg.key, pgPath, host })
  const { port, socketPath, database, user } = pg
  const { log, signal, env, program } = run
  return localCluster({
    key: pg.key,
    pgPath,
    versionForce: options.pgVersionForce,
    server: {
      port: port ?? 5432,
      socketPath,
      database: database ?? 'postgres',
      user,
      timeoutMs: options.dbTimeout ?? 0,
    },
    stanza: options.stanza ?? '',
    program,
    command,
    env,
    log,
    signal,
    clock: systemClock,
    places: async () => repositoryPlaces(options.repo),
    spoolPath: options.spoolPath,
    lockPath: options.lockPath,
  })
}

interface RemotePlace {
  readonly key: number
  readonly pgPath: ByteString
  readonly host: HostDescription
}

async function openRemote(
  { command, options }: AnyResolved,
  run: ClusterRun,
  { key, pgPath, host }: RemotePlace,
): Promise<ClusterAccess> {
  const { log, signal } = run
  const description = { ...host, open: { ...host.open, pgPath } }
  const { connection } = await openHost(description, { onLog: logTo(log), signal })
  try {
    const locks = await lockThere(connection, command, run)
    const remote = { description, connection }
    return new RemoteCluster({ key, pgPath, remote, locks, signal, versionForce: options.pgVersionForce })
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  }
}

/** A command has the locks of this host when it opens a cluster, so two commands take them in the same order. */
async function lockThere(
  connection: Connection,
  command: AnyResolved['command'],
  { repos, signal, onLost }: ClusterRun,
): Promise<HostLock | undefined> {
  const { locks: types = [], stops = false } = commandRow(command)
  if (types.length === 0) return undefined
  return lockHost(connection, { types, repoKeys: repos.map(({ key }) => key), stops, signal, onLost })
}
