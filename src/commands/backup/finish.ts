import { copyArchivedWal } from '../../core/backup/archive-copy.ts'
import { carryWal, type CarryRequest } from '../../core/backup/carry-wal.ts'
import { commitBackup } from '../../core/backup/commit.ts'
import { stopOnServer } from '../../core/backup/server-side.ts'
import { storeReturnedFile, type BackupInProgress } from '../../core/backup/stored-text.ts'
import { archiveIdOf, currentHistory } from '../../format/archive-info.ts'
import type { BackupEntry } from '../../format/backup-info.ts'
import type { WritableManifest } from '../../format/manifest.ts'
import { backupLabelPath } from '../../format/repo-path.ts'
import { parseLsn, parseWalSegment, segmentsBetween, type WalSegment } from '../../format/wal-segment.ts'
import type { BackupStopPoint } from '../../postgres/backup-session.ts'
import { walDirectory } from '../../postgres/versions.ts'
import { bytes } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { markHandled } from '../../util/mark-handled.ts'
import { isOnStandby, waitForWal, type BackupRun } from './begin.ts'
import { optionsOf } from './choices.ts'
import type { PlannedBackup } from './plan.ts'

export interface FinishedBackup {
  readonly manifest: WritableManifest
  /** In backup.info. */
  readonly entry: BackupEntry
}

/** Ends backup mode, stores the files that the server returns, waits for the WAL, and makes the backup visible. */
export async function finish(run: BackupRun, { backup, policy, draft }: PlannedBackup): Promise<FinishedBackup> {
  const { ctx, repository, source, server, started } = run
  const { stanza, log, clock, signal } = ctx
  const { label } = backup
  ctx.progress.phase('waiting for WAL')
  const pings = Promise.all([server?.ping(), source.standby?.server.ping()])
  // Sent at the same time: if a server does not answer as before, its error is reported, and the stop has no effect.
  const stopping = started === undefined ? undefined : stopOnServer(started.session, log)
  if (stopping !== undefined) markHandled(stopping)
  await pings
  const stop = await stopping
  const timestampStop = Math.floor((stop?.timeMs ?? clock.nowMs()) / 1000)
  const written: BackupInProgress = { repository, stanza, label, policy, signal }
  if (stop !== undefined) {
    draft.add(await storeReturnedFile(written, 'backup_label', stop.backupLabel, draft.pgData, timestampStop))
    if (stop.tablespaceMap !== undefined)
      draft.add(await storeReturnedFile(written, 'tablespace_map', stop.tablespaceMap, draft.pgData, timestampStop))
    await requireWal(run, draft, written, stop, timestampStop)
  }
  const manifest = draft.complete({
    timestampStop,
    databases: started?.databases ?? [],
    archiveStop: stop?.walFile,
    lsnStop: stop?.lsn,
  })
  assertCopiedControl(manifest, backupLabelPath(stanza, label))
  log.info(`new backup label = ${label}`)
  ctx.progress.phase('storing the manifest')
  const { backupInfo, archiveInfo } = source
  const linkLatest = optionsOf(ctx, repository).symlink
  return { manifest, entry: await commitBackup(repository, stanza, { backupInfo, archiveInfo, linkLatest }, manifest) }
}

/** The WAL up to the stop point makes the copy consistent, so it belongs to the backup. */
async function requireWal(
  run: BackupRun,
  draft: PlannedBackup['draft'],
  written: BackupInProgress,
  stop: BackupStopPoint,
  timestampStop: number,
): Promise<void> {
  const { ctx, source, started } = run
  if (started === undefined || !(ctx.options.archiveCheck || isOnStandby(run))) return
  const [first, last] = [parseWalSegment(started.session.start.walFile), parseWalSegment(stop.walFile)]
  const wanted = segmentsBetween(first, last, source.control.walSegmentSize)
  if (isOnStandby(run)) {
    ctx.log.info(`copy segment(s) ${first}:${last}`)
    for await (const file of carryWal(carryRequest(run, draft, written, { stop, timestampStop, segments: wanted })))
      draft.add(file)
    return
  }
  ctx.log.info(`check archive for segment(s) ${first}:${last}`)
  const segments = await waitForWal(run, wanted)
  if (!ctx.options.archiveCopy) return
  for await (const file of copyArchivedWal(written, source.archiveInfo, segments, draft.pgData, timestampStop))
    draft.add(file)
}

function carryRequest(
  run: BackupRun,
  { pgData }: PlannedBackup['draft'],
  backup: BackupInProgress,
  known: {
    readonly stop: BackupStopPoint
    readonly timestampStop: number
    readonly segments: Iterable<WalSegment>
  },
): CarryRequest {
  const { archiveInfo, cluster, control } = run.source
  return {
    backup,
    archive: { archiveId: archiveIdOf(currentHistory(archiveInfo)), cipherPass: archiveInfo.cipherPass },
    segments: known.segments,
    files: cluster.files,
    walPath: bytes`${cluster.pgPath}/${walDirectory(control.postgres)}`,
    segmentSize: control.walSegmentSize,
    stopLsn: parseLsn(known.stop.lsn),
    pgData,
    timestamp: known.timestampStop,
    log: run.ctx.log,
    wait: (segment) => waitForWal(run, [segment]),
  }
}

/** Without pg_control nothing can be restored; an option exclude may have excluded it. */
function assertCopiedControl({ files }: WritableManifest, place: string): void {
  for (const { name } of files) if (name === 'pg_data/global/pg_control') return
  throw new PgtsError('file-missing', `global/pg_control is not in the backup ${place}`, {
    hints: ['check the option exclude'],
  })
}
