import { forbids, readCopyMark, removeCopyMark, type FoundMark } from '../../core/cluster-copy/copy-mark.ts'
import { copyReasonText } from '../../core/cluster-copy/judge-copy.ts'
import { connectServer } from '../../postgres/client.ts'
import { recoveryMode } from '../../postgres/recovery-mode.ts'
import { readPostmasterFile } from '../../postgres/socket.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import type { CommandContext } from '../context.ts'
import { repositoryPlaces } from './repository-place.ts'

type Context = CommandContext<'archive-push' | 'backup' | 'check'>

/**
 * Refuses a restored copy in the stanza of the original. A server that was a standby is no copy: its promotion is a
 * failover.
 *
 * @throws PgtsError archive-mismatch
 */
export async function refuseMarked(ctx: Context, pgPath: ByteString): Promise<void> {
  const mark = readCopyMark(pgPath)
  if (mark === undefined || !forbids(mark, ctx.stanza, repositoryPlaces(ctx.options.repo))) return
  if (!(await wasStandby(ctx, pgPath))) throw copyError(ctx.stanza, mark, pgPath)
  removeCopyMark(pgPath)
  ctx.log.info(`the server was a standby: it may archive into stanza ${ctx.stanza} from now on`)
}

/** A standby removes the mark before it is promoted, if it fetches WAL from the archive. */
export function allowStandby({ log, stanza }: CommandContext<'archive-get'>, pgPath: ByteString): void {
  if (readCopyMark(pgPath) === undefined || recoveryMode(pgPath) !== 'standby') return
  removeCopyMark(pgPath)
  log.info(`this server is a standby: it may archive into stanza ${stanza} after a promotion`)
}

const CONNECT_MS = 5000

/** A server that received WAL from a primary remembers the position until it is restarted. */
async function wasStandby(ctx: Context, pgPath: ByteString): Promise<boolean> {
  if (recoveryMode(pgPath) === 'standby') return true
  const running = readPostmasterFile(pgPath)
  if (running === undefined || running.socketDirectory === '') return false
  const { command, env, signal } = ctx
  try {
    const { port, socketDirectory } = running
    const where = { port, socketPath: socketDirectory, dataDirectory: pgPath, database: 'postgres' }
    await using server = await connectServer({ ...where, command, env, signal, timeoutMs: CONNECT_MS })
    const position = server.facts.versionNum < 100000 ? 'pg_last_xlog_receive_location' : 'pg_last_wal_receive_lsn'
    const [row] = await server.query<{ received: boolean }>(`select pg_catalog.${position}() is not null as received`)
    return row?.received === true
  } catch {
    signal.throwIfAborted()
    return false
  }
}

function copyError(stanza: string, mark: FoundMark, pgPath: ByteString): PgtsError {
  const why =
    mark === 'unknown'
      ? `'${bytesToText(pgPath)}/pgts.copy' exists`
      : `${copyReasonText(mark.reason, mark.host)} (${zonedDateTime(Math.floor(mark.restoredMs / 1000))})`
  return new PgtsError('archive-mismatch', `this cluster is a copy and cannot archive into stanza ${stanza}: ${why}`, {
    hints: [
      `if it replaces the original, run on this host: pgts --stanza=${stanza} archive-allow`,
      'else set archive_mode = off, or give it a stanza of its own; the server keeps its WAL until then',
    ],
  })
}
