import type { CommandContext } from '../commands/context.ts'
import { repositoryPlaces } from '../commands/shared/repository-place.ts'
import type { AnyResolved } from '../config/resolve.ts'
import { localCluster } from '../core/cluster/local-cluster.ts'
import type { ClusterAccess } from '../postgres/cluster-access.ts'
import { textToBytes } from '../util/byte-string.ts'
import { systemClock } from '../util/clock.ts'
import { PgtsError } from '../util/error.ts'

/** The cluster of `options.pg[index]`. @throws PgtsError option-required without pgN-path */
export async function openCluster(
  { command, options }: AnyResolved,
  { log, signal, env, program }: Pick<CommandContext, 'log' | 'signal' | 'env' | 'program'>,
  index: number,
): Promise<ClusterAccess> {
  const pg = options.pg[index]
  if (pg?.path === undefined) throw new PgtsError('option-required', `${command} requires pg${index + 1}-path`)
  const { port, socketPath, database, user } = pg
  return localCluster({
    key: pg.key,
    pgPath: textToBytes(pg.path),
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
