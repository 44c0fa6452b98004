import type { ArchiveInfo } from '../../format/archive-info.ts'
import { withBackup, type BackupInfo } from '../../format/backup-info.ts'
import { backupEntryOf } from '../../format/manifest-totals.ts'
import { serialiseManifest } from '../../format/manifest-serialise.ts'
import { type Manifest } from '../../format/manifest.ts'
import { backupLabelPath, latestLinkName } from '../../format/repo-path.ts'
import { inParallel } from '../../util/parallel.ts'
import { compressManifest, saveArchiveInfo, saveBackupInfo, saveManifest, saveManifestHistory } from '../info-store.ts'
import type { Repository } from '../repository.ts'

/**
 * Make a finished backup visible. The order is the promise: a process killed between two lines leaves either no
 * backup or a whole one.
 *  1. the data, and the directory entries that lead to it, are durable before a manifest names them
 *  2. backup.manifest.copy, then backup.manifest: from here on the backup exists
 *  3. the compressed copy in backup.history, and the convenience link `latest`
 *  4. backup.info lists it (a backup that is not listed is found by the next backup or expire, and added)
 *  5. archive.info is written again, unchanged, so that tools that age objects out do not take it for old
 * What comes after 2 only follows, in any order; where each write waits for a network, it is written at once.
 */
export async function commitBackup(
  repository: Repository,
  stanza: string,
  state: { readonly backupInfo: BackupInfo; readonly archiveInfo: ArchiveInfo; readonly linkLatest: boolean },
  manifest: Manifest,
): Promise<void> {
  const { storage } = repository
  const text = serialiseManifest(manifest)
  const compressing = compressManifest(text)
  // Awaited below; until then a rejection must not count as unhandled.
  compressing.catch(() => undefined)
  await storage.sync(backupLabelPath(stanza, manifest.label))
  await saveManifest(storage, stanza, manifest, state.backupInfo, text)
  const rest = [
    async () => {
      await saveManifestHistory(storage, stanza, manifest, state.backupInfo, compressing)
      if (state.linkLatest && storage.links !== undefined)
        await storage.links.symlink(latestLinkName(stanza), manifest.label)
    },
    () => saveBackupInfo(repository, stanza, withBackup(state.backupInfo, backupEntryOf(manifest))),
    () => saveArchiveInfo(repository, stanza, state.archiveInfo),
  ]
  await inParallel(rest, storage.parallel ?? 1, (step) => step())
}
