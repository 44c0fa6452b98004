import type { BackupStartPoint } from '../../postgres/backup-session.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import type { ControlFile } from '../../postgres/control-file.ts'
import type { Clock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { formatLsn, parseLsn } from '../../util/lsn.ts'

export interface ReplayRequest {
  readonly server: ServerConnection
  /** Reads pg_control of the standby. */
  readonly readControl: () => Promise<ControlFile>
  /** pg_control of the standby before the backup was started. */
  readonly before: ControlFile
  readonly start: Pick<BackupStartPoint, 'lsn' | 'walFile'>
  /** The checkpoint with which the backup began, at or after its start. */
  readonly checkpointLsn: bigint
  /** Without progress, ms. */
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Waits until the files of a standby contain every change before the start of the backup: the standby has replayed the
 * checkpoint of the start, and has written its own pages.
 *
 * @throws PgtsError archive-timeout without progress; db-mismatch if the standby does not follow this primary, or was
 *   promoted
 */
export async function waitForReplay(request: ReplayRequest): Promise<void> {
  const { before, start, log } = request
  if (before.checkpointLsn > parseLsn(start.lsn)) {
    throw new PgtsError(
      'db-mismatch',
      `the checkpoint of the standby at ${formatLsn(before.checkpointLsn)} is ahead of the start of the backup at ${start.lsn}`,
      { hints: ['the standby does not follow this primary: check the configuration of pg1, pg2, ...'] },
    )
  }
  log.info(`wait for replay on the standby to reach ${start.lsn}`)
  await untilReplayed(request)
  const { timeline } = await untilCheckpointed(request)
  log.info(`replay on the standby reached ${start.lsn}`)
  const wanted = parseInt(start.walFile.slice(0, 8), 16)
  if (timeline === wanted) return
  throw new PgtsError('db-mismatch', `the standby is on timeline ${timeline}, but the primary on timeline ${wanted}`, {
    hints: ['check whether the standby follows this primary'],
  })
}

/** False if the standby reads WAL only from the archive. */
export async function isStreaming(server: ServerConnection): Promise<boolean> {
  return (await server.query('select from pg_catalog.pg_stat_wal_receiver')).length > 0
}

const PAUSE_MS = 100

/** The wait begins again whenever replay has advanced. */
async function untilReplayed(request: ReplayRequest): Promise<void> {
  const { server, checkpointLsn, timeoutMs, clock, signal } = request
  let reached: bigint | undefined
  let deadlineMs = 0
  for (;;) {
    await server.ping()
    const [row] = await server.query<{ lsn: string | null }>('select pg_catalog.pg_last_wal_replay_lsn()::text as lsn')
    const lsn = parseLsn(row?.lsn ?? '0/0')
    // The function returns the end of the last record, so the record of the checkpoint was replayed.
    if (lsn > checkpointLsn) return
    const nowMs = clock.nowMs()
    if (reached === undefined || lsn > reached) {
      reached = lsn
      deadlineMs = nowMs + timeoutMs
    }
    if (nowMs >= deadlineMs) throw timeout(`replayed WAL only to ${formatLsn(lsn)}`, request)
    await clock.sleep(PAUSE_MS, signal)
  }
}

/** A standby can skip a checkpoint, so it is requested until pg_control shows one. */
async function untilCheckpointed(request: ReplayRequest): Promise<ControlFile> {
  const { server, readControl, start, timeoutMs, clock, signal } = request
  const deadlineMs = clock.nowMs() + timeoutMs
  for (;;) {
    await server.query('checkpoint')
    const control = await readControl()
    if (control.checkpointLsn >= parseLsn(start.lsn)) return control
    if (clock.nowMs() >= deadlineMs)
      throw timeout(`has its checkpoint only at ${formatLsn(control.checkpointLsn)}`, request)
    await clock.sleep(PAUSE_MS, signal)
  }
}

function timeout(what: string, { checkpointLsn, timeoutMs }: ReplayRequest): PgtsError {
  const seconds = Math.round(timeoutMs / 100) / 10
  return new PgtsError(
    'archive-timeout',
    `the standby ${what}, not past ${formatLsn(checkpointLsn)}, without progress for ${seconds} seconds`,
    {
      hints: [
        'check replication: pg_stat_wal_receiver, recovery_min_apply_delay, and pg_is_wal_replay_paused() on the standby',
        'use --backup-standby=n to copy from the primary',
      ],
    },
  )
}
