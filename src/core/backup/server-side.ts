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
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** What the server returns at the start of an online backup. */
export interface StartedBackup {
  readonly session: BackupSession
  /** This segment must reach the archive before files are copied, to show that archiving works. Absent on a standby. */
  readonly firstSegment?: string
  /** Position of the checkpoint record, at or after the start. */
  readonly checkpointLsn: bigint
  readonly databases: readonly ManifestDatabase[]
  /** Oid -> name. */
  readonly tablespaces: ReadonlyMap<number, ByteString>
}

/**
 * Starts backup mode, and checks that the files to copy belong to this server.
 *
 * @param readControl reads pg_control again: it must contain the checkpoint with which the backup begins
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
    // Sent at the same time: each would be a round trip to another host.
    const [control, databases, tablespaces] = await Promise.all([
      readControl(),
      listDatabases(connection),
      listTablespaces(connection),
    ])
    checkControlReached(control, session.start)
    // An idle server may begin the backup in the current segment. Then that segment must be closed.
    if (walFile === walFileBefore) await switchWal(connection, 'pgts backup start')
    log.info(`backup start archive = ${walFile}, lsn = ${lsn}`)
    return {
      session,
      firstSegment: walFileBefore,
      checkpointLsn: control.checkpointLsn,
      databases,
      tablespaces,
    }
  } catch (error) {
    await session[Symbol.asyncDispose]()
    throw error
  }
}

/** Ends backup mode; the WAL up to the returned point makes the backup consistent. */
export async function stopOnServer(session: BackupSession, log: Logger): Promise<BackupStopPoint> {
  log.info(
    session.start.walFileBefore === undefined
      ? 'execute backup stop'
      : 'execute backup stop and wait for all WAL segments to archive',
  )
  const stop = await session.finish()
  log.info(`backup stop archive = ${stop.walFile}, lsn = ${stop.lsn}`)
  return stop
}

/** When a listing was complete. Times are seconds since the epoch. */
export interface ListedAt {
  readonly timestampListed: number
  /** Restore with --delta --force trusts times before it. */
  readonly timestampCopyStart: number
  /** A file with an earlier time in the list gets a later one by any change from now on, so it may be copied now. */
  readonly settledBefore: number
  /**
   * Waits until any file changed from then on gets a later second than every file in the list.
   *
   * @throws PgtsError `clock` if the clock does not advance
   */
  nextSecond(signal: AbortSignal): Promise<void>
}

/** Called when the list is complete. File systems use a clock that lags by up to a tick of the kernel (10 ms). */
export async function timeOfListing(connection: ServerConnection | undefined, clock: Clock): Promise<ListedAt> {
  const listedMs = await timeMs(connection, clock)
  const timestampListed = Math.floor(listedMs / 1000)
  const wantedMs = (timestampListed + 1) * 1000 + KERNEL_TICK_MS
  return {
    timestampListed,
    timestampCopyStart: timestampListed + (connection === undefined ? 0 : 1),
    settledBefore: Math.floor((listedMs - KERNEL_TICK_MS) / 1000),
    async nextSecond(signal) {
      let nowMs = await timeMs(connection, clock)
      for (let attempt = 0; nowMs < wantedMs; attempt++) {
        if (attempt === 5) throw new PgtsError('clock', 'the clock of the database host does not advance')
        await clock.sleep(wantedMs - nowMs, signal)
        nowMs = await timeMs(connection, clock)
      }
    },
  }
}

const KERNEL_TICK_MS = 20

/** The server's clock if there is a connection, else the local clock; milliseconds since the epoch. */
export function timeMs(connection: ServerConnection | undefined, clock: Clock): Promise<number> {
  return connection === undefined ? Promise.resolve(clock.nowMs()) : serverTimeMs(connection)
}
