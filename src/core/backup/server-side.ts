import type { ManifestDatabase } from '../../format/manifest.ts'
import {
  beginBackup,
  checkControlReached,
  listDatabases,
  listTablespaces,
  serverTimeMs,
  switchWal,
} from '../../postgres/backup-session.ts'
import type { BackupSession, BackupStopPoint } from '../../postgres/backup-session.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import type { ControlFile } from '../../postgres/control-file.ts'
import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/log.ts'

/** What the server gives at the start of an online backup; an offline one has none of it. */
export interface StartedBackup {
  readonly session: BackupSession
  /** The segment that must reach the archive before anything is copied: proof that archiving works. */
  readonly firstSegment: string
  readonly databases: readonly ManifestDatabase[]
  /** Oid to name. */
  readonly tablespaces: ReadonlyMap<number, string>
}

/**
 * Put the server into backup mode, and make sure that what we are about to copy is this server's.
 *
 * @param readControl reads pg_control anew: it must show the checkpoint with which the backup begins
 */
export async function startOnServer(
  connection: ServerConnection,
  options: { readonly startFast: boolean; readonly timeoutMs: number; readonly log: Logger },
  readControl: () => Promise<ControlFile>,
): Promise<StartedBackup> {
  const { log, startFast } = options
  log.info(
    `execute backup start: backup begins after the ${startFast ? 'requested immediate' : 'next regular'} checkpoint completes`,
  )
  const session = await beginBackup(connection, { startFast, timeoutMs: options.timeoutMs })
  try {
    const { lsn, walFile, walFileBefore } = session.start
    checkControlReached(await readControl(), session.start)
    // An idle server may begin the backup in the segment it was in before. Then that one has to be closed.
    if (walFile === walFileBefore) await switchWal(connection, 'pgts backup start')
    log.info(`backup start archive = ${walFile}, lsn = ${lsn}`)
    return {
      session,
      firstSegment: walFileBefore,
      databases: await listDatabases(connection),
      tablespaces: await listTablespaces(connection),
    }
  } catch (error) {
    await session[Symbol.asyncDispose]()
    throw error
  }
}

/** End backup mode; the WAL up to the returned point makes the backup consistent. */
export async function stopOnServer(session: BackupSession, log: Logger): Promise<BackupStopPoint> {
  log.info('execute backup stop and wait for all WAL segments to archive')
  const stop = await session.finish()
  log.info(`backup stop archive = ${stop.walFile}, lsn = ${stop.lsn}`)
  return stop
}

/**
 * The moment after which a changed file has a later mtime than any file in the list: the next whole second by the
 * server's clock. Restore with --delta --force trusts times before it.
 *
 * @returns seconds since the epoch
 */
export async function waitForNextSecond(
  connection: ServerConnection | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<number> {
  const nowMs = await timeMs(connection, clock)
  await clock.sleep(1000 - (nowMs % 1000), signal)
  return Math.floor(nowMs / 1000) + (connection === undefined ? 0 : 1)
}

/** The server's clock where there is a server, else ours; milliseconds since the epoch. */
export function timeMs(connection: ServerConnection | undefined, clock: Clock): Promise<number> {
  return connection === undefined ? Promise.resolve(clock.nowMs()) : serverTimeMs(connection)
}
