import { loadArchiveInfo } from '../../core/archive-info-store.ts'
import { loadBackupInfo } from '../../core/backup-info-store.ts'
import { reconcileBackupInfo } from '../../core/reconcile.ts'
import type { Repository } from '../../core/repository.ts'
import { assertSameCluster } from '../../core/stanza/check-info.ts'
import { currentHistory, type ArchiveInfo } from '../../format/archive-info.ts'
import type { BackupHistory, BackupInfo } from '../../format/backup-info.ts'
import type { ClusterAccess } from '../../postgres/cluster-access.ts'
import { readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import type { CommandContext } from '../context.ts'
import type { ConnectedCluster } from '../shared/primary.ts'

/** The info files of a stanza. */
export interface BackupInfos {
  readonly archiveInfo: ArchiveInfo
  readonly backupInfo: BackupInfo
  /** The row of backup.info that describes the cluster. */
  readonly history: BackupHistory
}

/** The cluster to back up, and the info files of its stanza. */
export interface BackupSource extends BackupInfos {
  /** The directory that is listed. */
  readonly cluster: ClusterAccess
  readonly control: ControlFile
  /** Reads pg_control again. */
  readonly readControl: () => Promise<ControlFile>
  /** The files with data are copied from this standby of the cluster. */
  readonly standby?: ConnectedCluster
}

export async function loadInfos(
  { stanza, log, signal }: CommandContext<'backup'>,
  repository: Repository,
): Promise<BackupInfos> {
  const [archiveInfo, listed] = await Promise.all([
    loadArchiveInfo(repository, stanza, { log, signal }),
    loadBackupInfo(repository, stanza, { log, signal }),
  ])
  const backupInfo = await reconcileBackupInfo(repository.storage, stanza, listed, log)
  return { archiveInfo, backupInfo, history: currentHistory(backupInfo) }
}

/** @throws PgtsError `backup-mismatch` if the stanza belongs to another cluster, `archive-mismatch` if this one is a copy */
export async function identify(
  { stanza, signal }: CommandContext<'backup'>,
  repository: Repository,
  infos: BackupInfos,
  { cluster, ...connected }: Pick<ConnectedCluster, 'cluster'> & Partial<ConnectedCluster>,
): Promise<Omit<BackupSource, 'standby'>> {
  await (connected.checkedCopy ?? cluster.refuseCopy())
  const readControl = () => readControlFile(cluster.files, cluster.pgPath, { signal })
  const control = connected.control ?? (await readControl())
  assertSameCluster(repository, stanza, infos.history, control, 'backup-mismatch')
  return { ...infos, cluster, control, readControl }
}
