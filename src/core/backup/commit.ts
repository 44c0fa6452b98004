import type { ArchiveInfo } from '../../format/archive-info.ts'
import { withBackup, type BackupEntry, type BackupInfo } from '../../format/backup-info.ts'
import { backupEntryOf } from '../../format/manifest-totals.ts'
import { serialiseManifest } from '../../format/manifest-serialise.ts'
import type { WritableManifest } from '../../format/manifest.ts'
import { backupLabelPath, latestLinkName } from '../../format/repo-path.ts'
import { inParallel } from '../../util/parallel.ts'
import { saveArchiveInfo } from '../archive-info-store.ts'
import { saveBackupInfo } from '../backup-info-store.ts'
import { compressManifest, saveManifest, saveManifestHistory } from '../manifest-store.ts'
import type { Repository } from '../repository.ts'
import { markHandled } from '../../util/mark-handled.ts'

/**
 * Makes a finished backup visible. The order ensures that a process killed between two steps leaves either no backup or
 * a complete one.
 *  1. the data, and the directory entries that lead to it, are durable before a manifest names them
 *  2. backup.manifest.copy, then backup.manifest: from here on the backup exists
 *  3. the compressed copy in backup.history, and the convenience link `latest`
 *  4. backup.info lists it (the next backup or expire adds a finished backup that is not listed)
 *  5. archive.info is written again, unchanged, so that lifecycle rules of a store do not remove it by age
 * The order of the steps after 2 does not matter; on storage with a network latency they run in parallel.
 *
 * @returns the entry of the backup in backup.info
 */
export async function commitBackup(
  repository: Repository,
  stanza: string,
  state: { readonly backupInfo: BackupInfo; readonly archiveInfo: ArchiveInfo; readonly linkLatest: boolean },
  manifest: WritableManifest,
): Promise<BackupEntry> {
  const { storage } = repository
  const text = serialiseManifest(manifest)
  const compressing = compressManifest(text)
  // Awaited below; until then this avoids an unhandled rejection.
  markHandled(compressing)
  await storage.sync(backupLabelPath(stanza, manifest.label))
  await saveManifest(storage, stanza, manifest, state.backupInfo, text)
  const entry = backupEntryOf(manifest)
  const rest = [
    async () => {
      await saveManifestHistory(storage, stanza, manifest, state.backupInfo, compressing)
      if (state.linkLatest && storage.links !== undefined)
        await storage.links.symlink(latestLinkName(stanza), manifest.label)
    },
    () => saveBackupInfo(repository, stanza, withBackup(state.backupInfo, entry)),
    () => saveArchiveInfo(repository, stanza, state.archiveInfo),
  ]
  await inParallel(rest, storage.parallel ?? 1, (step) => step())
  return entry
}
