import { loadArchiveInfo } from '../../core/archive-info-store.ts'
import { loadBackupInfo } from '../../core/backup-info-store.ts'
import { reconcileBackupInfo } from '../../core/reconcile.ts'
import type { Repository } from '../../core/repository.ts'
import { assertSameCluster } from '../../core/stanza/check-info.ts'
import { currentHistory, type ArchiveInfo } from '../../format/archive-info.ts'
import type { BackupHistory, BackupInfo } from '../../format/backup-info.ts'
import type { ClusterFiles } from '../../postgres/cluster-access.ts'
import { readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import { textToBytes, type ByteString } from '../../util/byte-string.ts'
import type { CommandContext } from '../context.ts'
import { refuseCopy } from '../shared/refuse-copy.ts'

/** The cluster to back up, and the info files of its stanza. */
export interface BackupSource {
  readonly archiveInfo: ArchiveInfo
  readonly backupInfo: BackupInfo
  /** The row of backup.info that describes this cluster. */
  readonly history: BackupHistory
  readonly files: ClusterFiles
  /** Byte string. */
  readonly pgPath: ByteString
  readonly control: ControlFile
  /** Reads pg_control again. */
  readonly readControl: () => Promise<ControlFile>
}

/** @throws PgtsError `backup-mismatch` if the stanza belongs to another cluster, `archive-mismatch` if this one is a copy */
export async function identify(ctx: CommandContext<'backup'>, repository: Repository): Promise<BackupSource> {
  const { options, stanza, log, signal } = ctx
  const [archiveInfo, listed] = await Promise.all([
    loadArchiveInfo(repository, stanza, { log, signal }),
    loadBackupInfo(repository, stanza, { log, signal }),
  ])
  const backupInfo = await reconcileBackupInfo(repository.storage, stanza, listed, log)
  const history = currentHistory(backupInfo)
  const files = await ctx.cluster()
  const pgPath = textToBytes(options.pg[0]!.path)
  await refuseCopy(ctx, [pgPath])
  const readControl = () => readControlFile(files, pgPath, { signal })
  const control = await readControl()
  assertSameCluster(repository, stanza, history, control, 'backup-mismatch')
  return { archiveInfo, backupInfo, history, files, pgPath, control, readControl }
}
