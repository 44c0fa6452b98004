import { connectServer, type ServerConnection } from '../../postgres/client.ts'
import { decodeUtf8, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'

/** Commands that connect to the server of pg1. */
type DatabaseCommand =
  'archive-status' | 'backup' | 'check' | 'doctor' | 'metrics' | 'move-target' | 'stanza-create' | 'stanza-upgrade'

/**
 * Connect to the server of one configured cluster.
 *
 * @param index in `options.pg`; pg1 is first
 * @param database byte string; default: pg-database
 * @param atMostMs limit if db-timeout is too long
 */
export function connectCluster(
  ctx: CommandContext<DatabaseCommand>,
  index = 0,
  database?: ByteString,
  atMostMs = Infinity,
): Promise<ServerConnection> {
  const pg = ctx.options.pg[index]
  if (pg?.path === undefined) throw new PgtsError('option-required', `${ctx.command} requires pg${index + 1}-path`)
  return connectServer({
    port: pg.port!,
    socketPath: pg.socketPath,
    database: database === undefined ? pg.database! : decodeUtf8(database),
    user: pg.user,
    dataDirectory: textToBytes(pg.path),
    command: ctx.command,
    env: ctx.env,
    timeoutMs: Math.min(ctx.options.dbTimeout!, atMostMs),
    signal: ctx.signal,
  })
}
