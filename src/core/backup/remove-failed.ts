import { backupLabelPath, manifestName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { isPgtsError, messageOf } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'

/**
 * Removes a backup that failed because the disk is full, although it could be resumed: archive-push may write to the
 * same disk, and PostgreSQL must be able to archive its WAL. A committed backup is not removed.
 *
 * @param label undefined if the backup failed before it had a label
 */
export async function removeFailedBackupIfDiskFull(
  storage: StorageDriver,
  stanza: string,
  label: string | undefined,
  error: unknown,
  log: Logger,
): Promise<void> {
  if (label === undefined || !isPgtsError(error, 'file-write')) return
  try {
    if ((await storage.stat(manifestName(stanza, label))) !== undefined) return
    await storage.removeTree(backupLabelPath(stanza, label))
    log.warn({ label }, `removed the unfinished backup ${label} to free space for WAL`)
  } catch (failure) {
    // The caller reports the first error; this warning adds that the space is still in use.
    log.warn({ label }, `cannot remove the unfinished backup ${label}: ${messageOf(failure)}`)
  }
}
