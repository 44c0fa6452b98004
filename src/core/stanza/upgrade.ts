import { archiveIdOf, currentHistory } from '../../format/archive-info.ts'
import { archiveInfoName, backupInfoName } from '../../format/repo-path.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { describeCluster, isSameCluster } from '../cluster-identity.ts'
import { loadArchiveInfo, saveArchiveInfo } from '../archive-info-store.ts'
import { loadBackupInfo, saveBackupInfo } from '../backup-info-store.ts'
import { isCopyCurrent } from '../info-pair.ts'
import type { Repository } from '../repository.ts'
import type { NewCluster } from './create.ts'
import { repoId } from '../../util/repo-id.ts'

export interface UpgradedStanza {
  readonly repoKey: number
  /** `17-2`: the archive id from now on. */
  readonly archiveId: string
  /** Info files that were changed, or written again because of a stale copy; empty: the stanza is up to date. */
  readonly changed: readonly ('archive.info' | 'backup.info')[]
}

/**
 * Records in one repository that the cluster was upgraded: the cluster gets a new id in the history of both info files;
 * backups and WAL of the old ids stay. Each file is checked separately, so that the next run completes one that was
 * killed between them.
 *
 * @throws PgtsError file-missing; file-invalid: both files would assign different ids; nothing was written then
 */
export async function upgradeStanza(
  repository: Repository,
  stanza: string,
  cluster: NewCluster,
  options: { readonly signal: AbortSignal; readonly log: Logger },
): Promise<UpgradedStanza> {
  const { key } = repository
  let archive = await loadArchiveInfo(repository, stanza, options)
  let backup = await loadBackupInfo(repository, stanza, options)
  const { systemId, version, catalogVersion, controlVersion } = cluster
  const changed: ('archive.info' | 'backup.info')[] = []

  if (!isSameCluster(currentHistory(archive), cluster)) {
    const id = nextId(archive.history)
    archive = { ...archive, currentId: id, history: [...archive.history, { id, systemId, version }] }
    changed.push('archive.info')
  }
  if (!isSameCluster(currentHistory(backup), cluster)) {
    const id = nextId(backup.history)
    const entry = { id, systemId, version, catalogVersion, controlVersion }
    backup = { ...backup, currentId: id, history: [...backup.history, entry] }
    changed.push('backup.info')
  }
  if (archive.currentId !== backup.currentId) {
    throw new PgtsError(
      'file-invalid',
      `archive.info and backup.info of stanza ${stanza} on ${repoId(key)} would give ${describeCluster(cluster)} different ` +
        `ids, ${archive.currentId} and ${backup.currentId}`,
      {
        hints: ['their histories differ: restore both files from copies of the same time', 'no file was changed'],
      },
    )
  }
  // Order: archiving needs archive.info only, and backup recognises an incomplete upgrade by the difference.
  options.signal.throwIfAborted()
  if (!changed.includes('archive.info') && !(await isCopyCurrent(repository, archiveInfoName(stanza), options)))
    changed.push('archive.info')
  if (!changed.includes('backup.info') && !(await isCopyCurrent(repository, backupInfoName(stanza), options)))
    changed.push('backup.info')
  if (changed.includes('archive.info')) await saveArchiveInfo(repository, stanza, archive)
  if (changed.includes('backup.info')) await saveBackupInfo(repository, stanza, backup)
  return { repoKey: key, archiveId: archiveIdOf(currentHistory(archive)), changed }
}

function nextId(history: readonly { readonly id: number }[]): number {
  return Math.max(0, ...history.map(({ id }) => id)) + 1
}
