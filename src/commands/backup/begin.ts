import { waitForSegments, type ArchivedSegment } from '../../core/archive/wait-for-wal.ts'
import type { CopyPolicy } from '../../core/backup/plan.ts'
import { startOnServer, type StartedBackup } from '../../core/backup/server-side.ts'
import { isStreaming, waitForReplay } from '../../core/backup/standby-replay.ts'
import type { Repository } from '../../core/repository.ts'
import { archiveIdOf, currentHistory } from '../../format/archive-info.ts'
import type { BackupType, Manifest } from '../../format/manifest.ts'
import { parseWalSegment, type WalSegment } from '../../format/wal-segment.ts'
import { switchWal } from '../../postgres/backup-session.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import { readControlFile } from '../../postgres/control-file.ts'
import type { CommandContext } from '../context.ts'
import type { BackupSource } from './identify.ts'

/** Values shared by the steps of a backup, from its begin on. */
export interface BackupRun {
  readonly ctx: CommandContext<'backup'>
  readonly repository: Repository
  readonly source: BackupSource
  readonly type: BackupType
  /** The manifest of the prior backup of a diff or incr. */
  readonly prior?: Manifest
  readonly policy: CopyPolicy
  /** Absent for an offline backup, as is `started`. */
  readonly server: ServerConnection | undefined
  readonly started: StartedBackup | undefined
  /** Seconds since the epoch. */
  readonly timestampStart: number
}

/** Starts backup mode. The caller disposes `started.session`, which ends it. */
export async function begin(ready: Omit<BackupRun, 'started' | 'timestampStart'>): Promise<BackupRun> {
  const { ctx, server, source } = ready
  const { options, clock, log } = ctx
  if (server === undefined) return { ...ready, started: undefined, timestampStart: Math.floor(clock.nowMs() / 1000) }
  const settings = { startFast: options.startFast, timeoutMs: options.dbTimeout, log }
  ctx.progress.phase('waiting for checkpoint')
  const started = await startOnServer(server, settings, source.readControl)
  return { ...ready, started, timestampStart: Math.floor(started.session.start.timeMs / 1000) }
}

/** Waits until the files of the standby contain what was changed before the start. */
export async function awaitStandby({ ctx, source, server: primary, started }: BackupRun): Promise<void> {
  const { options, clock, log, signal } = ctx
  const { standby } = source
  if (standby === undefined || primary === undefined || started === undefined) return
  ctx.progress.phase('waiting for the standby')
  const { cluster, control, server } = standby
  // Without streaming it gets the start of the backup only with its segment.
  if (!(await isStreaming(server))) await switchWal(primary, 'pgts backup from standby')
  await waitForReplay({
    server,
    readControl: () => readControlFile(cluster.files, cluster.pgPath, { signal }),
    before: control,
    start: started.session.start,
    checkpointLsn: started.checkpointLsn,
    timeoutMs: options.archiveTimeout,
    clock,
    log,
    signal,
  })
}

/** Wait for the segment before the backup, which proves that archiving works. A standby cannot end a segment. */
export async function checkArchiving(run: BackupRun): Promise<void> {
  const { ctx, started } = run
  if (started?.firstSegment === undefined || !ctx.options.archiveCheck) return
  const { firstSegment, session } = started
  ctx.log.info(`check archive for ${firstSegment === session.start.walFile ? '' : 'prior '}segment ${firstSegment}`)
  await waitForWal(run, [parseWalSegment(firstSegment)])
}

/** True if the backup was started on a standby: it contains its WAL, and its files have the times of the standby. */
export function isOnStandby({ server }: Pick<BackupRun, 'server'>): boolean {
  return server?.facts.inRecovery === true
}

/** @throws PgtsError `archive-timeout` with what is known about why a segment did not arrive */
export function waitForWal(run: BackupRun, segments: Iterable<WalSegment>): Promise<ArchivedSegment[]> {
  const { ctx, repository, source, server } = run
  const { options, stanza, clock, log, signal } = ctx
  return waitForSegments({
    repository,
    stanza,
    archiveId: archiveIdOf(currentHistory(source.archiveInfo)),
    segments: [...segments],
    timeoutMs: options.archiveTimeout,
    explain: (segment) => source.cluster.explainWal(segment, { patienceMs: options.archiveTimeout, server }),
    clock,
    log,
    signal,
  })
}
