import { describeLease, leaseOf } from '../../core/lease/lease.ts'
import { lifeOf } from '../../core/lease/life.ts'
import type { Repository } from '../../core/repository.ts'
import { isPgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { connectClusters, type Clusters } from '../shared/primary.ts'

/** Why this host takes no backup although the command was called: another host does. */
export interface SkippedBackup {
  readonly skipped: string
}

/**
 * With `backup-standby=only` the same call on every host takes a backup on a standby, and does nothing on the primary. It is
 * decided before locks and hooks; the connections are used by the backup.
 */
export async function connectForRole(ctx: CommandContext<'backup'>): Promise<Clusters | SkippedBackup | undefined> {
  if (ctx.options.backupStandby !== 'only' || !ctx.options.online) return undefined
  const clusters = await connectClusters(ctx)
  const { primary, standbys } = clusters
  if (primary === undefined || standbys.length > 0) return clusters
  await clusters[Symbol.asyncDispose]()
  return { skipped: `backup-standby is only, and the server of ${primary.cluster.display} is the primary` }
}

/**
 * The lease of the repository. With backup-standby, several hosts may take the backups of a stanza: a live backup of another
 * host makes this one unnecessary.
 *
 * @throws PgtsError lock-acquire if another command, or one that may be dead, holds the lease
 */
export async function leaseOrSkip(
  ctx: CommandContext<'backup'>,
  repository: Repository,
): Promise<AsyncDisposable | SkippedBackup> {
  const { options, stanza, clock, signal } = ctx
  try {
    return await ctx.lease(repository)
  } catch (error) {
    if (options.backupStandby === 'n' || !isPgtsError(error, 'lock-acquire')) throw error
    const found = await leaseOf(repository.storage, stanza, signal)
    const nowMs = clock.nowMs()
    if (found?.lease?.command !== 'backup' || lifeOf(found, undefined, nowMs) !== 'alive') throw error
    return { skipped: `${repository.display} is in use: ${describeLease(found, nowMs)}` }
  }
}
