import { archiveStatus as buildStatus, type ArchiveStatus } from '../core/archive/archive-status.ts'
import { readArchivingFacts } from '../core/archive/archiving-facts.ts'
import type { ServerConnection } from '../postgres/client.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError, toPlainError } from '../util/error.ts'
import { connectCluster } from './connect.ts'
import type { CommandContext } from './context.ts'

/** A look at the server must not wait for one that hangs. */
const CONNECT_MS = 5000

/**
 * How archiving goes on this host: from the server when it answers, and from its marks and the spool in any case. Asks
 * no repository, so that it answers when the network is what is broken.
 */
export async function archiveStatus(ctx: CommandContext<'archive-status'>): Promise<ArchiveStatus> {
  const { options, stanza, program, clock, signal } = ctx
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined) {
    throw new PgtsError('option-required', 'archive-status needs pg1-path to know where PostgreSQL leaves its marks')
  }
  const files = await ctx.cluster()
  if ((await files.stat(`${textToBytes(pgPath)}/pg_wal`, { follow: true })) === undefined) {
    throw new PgtsError('path-missing', `${pgPath}/pg_wal does not exist or cannot be read`, {
      hints: ["run this where the server's data directory is, as its user; see pg1-path"],
    })
  }
  const place = {
    stanza,
    program,
    pgPath: textToBytes(pgPath),
    spoolPath: options.spoolPath,
    lockPath: options.lockPath,
  }
  const limitBytes = options.archivePushQueueMax
  try {
    await using server: ServerConnection = await connectCluster(ctx, 0, undefined, CONNECT_MS)
    return buildStatus(await readArchivingFacts(place, clock.nowMs(), server), { limitBytes })
  } catch (error) {
    signal.throwIfAborted()
    const unreachable = toPlainError(error).message
    return buildStatus(await readArchivingFacts(place, clock.nowMs()), { limitBytes, unreachable })
  }
}
