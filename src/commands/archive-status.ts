import { archiveStatus as buildStatus, type ArchiveStatus } from '../core/archive/status/archive-status.ts'
import { readArchivingFacts } from '../core/archive/status/archiving-facts.ts'
import type { ServerConnection } from '../postgres/client.ts'
import { bytes, bytesToText } from '../util/byte-string.ts'
import { messageOf, PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'

/** Timeout of the query to the server, which may hang. */
const CONNECT_MS = 5000

/**
 * The state of archiving on this host: from archive_status, the spool, and the server if it answers. No repository is
 * read, so that the command works without the network.
 */
export function archiveStatus(ctx: CommandContext<'archive-status'>): Promise<ArchiveStatus> {
  return readArchiveStatus(ctx)
}

/** Also for the metrics. */
export async function readArchiveStatus(ctx: CommandContext<'archive-status' | 'metrics'>): Promise<ArchiveStatus> {
  const { options, stanza, program, clock, signal } = ctx
  const cluster = await ctx.cluster()
  const { files, pgPath } = cluster
  if ((await files.stat(bytes`${pgPath}/pg_wal`, { follow: true })) === undefined) {
    throw new PgtsError('path-missing', `${bytesToText(pgPath)}/pg_wal does not exist or cannot be read`, {
      hints: ['run this on the host of the server as its user, and check pg1-path'],
    })
  }
  const place = { stanza, program, pgPath, spoolPath: options.spoolPath, lockPath: options.lockPath }
  const limitBytes = options.archivePushQueueMax
  try {
    await using server: ServerConnection = await cluster.connect({ atMostMs: CONNECT_MS })
    return buildStatus(await readArchivingFacts(place, clock.nowMs(), server), { limitBytes })
  } catch (error) {
    signal.throwIfAborted()
    const unreachable = messageOf(error)
    return buildStatus(await readArchivingFacts(place, clock.nowMs()), { limitBytes, unreachable })
  }
}
