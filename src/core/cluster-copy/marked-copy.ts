import { connectServer } from '../../postgres/client.ts'
import { recoveryMode } from '../../postgres/recovery-mode.ts'
import { readPostmasterFile } from '../../postgres/socket.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import { forbids, readCopyMark, removeCopyMark, type CopyCheck, type FoundMark } from './copy-mark.ts'
import { copyReasonText } from './judge-copy.ts'

/**
 * Refuses a restored copy in the stanza of the original. A server that was a standby is no copy: its promotion is a
 * failover.
 *
 * @throws PgtsError archive-mismatch
 */
export async function refuseMarked(check: CopyCheck, pgPath: ByteString): Promise<void> {
  const mark = readCopyMark(pgPath)
  if (mark === undefined || !forbids(mark, check.stanza, await check.places())) return
  if (!(await wasStandby(check, pgPath))) throw copyError(check.stanza, mark, pgPath)
  removeCopyMark(pgPath)
  check.log.info(`the server was a standby: it may archive into stanza ${check.stanza} from now on`)
}

/** A standby removes the mark before it is promoted, if it fetches WAL from the archive. */
export function allowStandby({ log, stanza }: Pick<CopyCheck, 'log' | 'stanza'>, pgPath: ByteString): void {
  if (readCopyMark(pgPath) === undefined || recoveryMode(pgPath) !== 'standby') return
  removeCopyMark(pgPath)
  log.info(`this server is a standby: it may archive into stanza ${stanza} after a promotion`)
}

const CONNECT_MS = 5000

/** A server that received WAL from a primary remembers the position until it is restarted. */
async function wasStandby({ command, env, signal }: CopyCheck, pgPath: ByteString): Promise<boolean> {
  if (recoveryMode(pgPath) === 'standby') return true
  const running = readPostmasterFile(pgPath)
  if (running === undefined || running.socketDirectory === '') return false
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
