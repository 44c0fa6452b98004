import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { connectClusters, requirePrimary, type Clusters, type ConnectedCluster } from '../shared/primary.ts'

/** The clusters of an online backup. Disposing them closes the connections. */
export interface BackupClusters extends AsyncDisposable {
  /** Its server starts and stops the backup, and its directory is listed: the primary, with `only` a standby. */
  readonly main: ConnectedCluster
  /** Data files are copied from here. */
  readonly standby?: ConnectedCluster
}

/**
 * Chooses the clusters of the backup by backup-standby.
 *
 * @param connected default: connects to the configured clusters
 * @throws PgtsError db-connect, db-mismatch
 */
export async function chooseClusters(ctx: CommandContext<'backup'>, connected?: Clusters): Promise<BackupClusters> {
  const clusters = connected ?? (await connectClusters(ctx))
  try {
    const chosen = ctx.options.backupStandby === 'only' ? chooseStandby(clusters) : choosePrimary(ctx, clusters)
    await clusters.keepOnly(chosen.main, ...(chosen.standby === undefined ? [] : [chosen.standby]))
    return { ...chosen, [Symbol.asyncDispose]: () => clusters[Symbol.asyncDispose]() }
  } catch (error) {
    await clusters[Symbol.asyncDispose]()
    throw error
  }
}

type Chosen = Pick<BackupClusters, 'main' | 'standby'>

function choosePrimary(ctx: CommandContext<'backup'>, clusters: Clusters): Chosen {
  const { backupStandby } = ctx.options
  const main = requirePrimary(ctx, clusters)
  if (backupStandby === 'n') return { main }
  const [standby] = clusters.standbys
  if (standby !== undefined) return { main, standby: ofSameCluster(main, standby) }
  if (backupStandby === 'prefer') {
    ctx.log.warn('no standby answers, so the files are copied from the primary')
    return { main }
  }
  throw new PgtsError('db-connect', 'no standby was found, but backup-standby=y requires one', {
    hints: [
      'check that a standby is running, and that it is configured (pg2-path, ...); see the warnings above',
      'use --backup-standby=prefer to copy from the primary if no standby answers',
    ],
  })
}

/** @throws PgtsError db-mismatch */
function ofSameCluster(main: ConnectedCluster, standby: ConnectedCluster): ConnectedCluster {
  if (standby.control.systemId === main.control.systemId) return standby
  const shown = ({ cluster, control }: ConnectedCluster) =>
    `${cluster.display} has system identifier ${control.systemId}`
  throw new PgtsError('db-mismatch', `${shown(standby)}, but ${shown(main)}`, {
    hints: ['the standby is of another cluster: check pg1-path, pg2-path, ...'],
  })
}

function chooseStandby({ standbys }: Clusters): Chosen {
  const [main] = standbys
  if (main !== undefined) return { main }
  throw new PgtsError('db-connect', 'no standby was found, but backup-standby=only requires one', {
    hints: ['check that a standby is running; see the warnings above'],
  })
}
