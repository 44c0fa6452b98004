import { isBackupLabel, dependentsOf } from '../format/backup-label.ts'
import { withBackup, withoutBackups, type BackupInfo } from '../format/backup-info.ts'
import { backupEntryOf } from '../format/manifest-totals.ts'
import { type Manifest } from '../format/manifest.ts'
import { backupPath, copyName, manifestName } from '../format/repo-path.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { putFile } from '../storage/whole-file.ts'
import { compareBytes } from '../util/byte-string.ts'
import { messageOf } from '../util/error.ts'
import type { Logger } from '../util/log.ts'
import { inParallel } from '../util/parallel.ts'
import { getInfoFile, isDamage } from './info-pair.ts'
import { loadManifest } from './manifest-store.ts'

export interface Reconciled {
  readonly info: BackupInfo
  /** Labels of all directories, sorted, listed or not. */
  readonly directories: readonly string[]
  /**
   * Directories with a manifest that could not be assessed: unreadable, of a cluster that is not in the history, or
   * depending on such a one. They are not listed, but must not be removed as unlisted.
   */
  readonly notAssessed: readonly string[]
  /** Listed backups with a complete copy of their manifest, but no manifest; `completeManifests` writes it. */
  readonly copyOnly: readonly string[]
}

/**
 * Corrects backup.info to match the directories. The manifest proves that a backup exists: an entry without a manifest
 * is removed with its dependents; a finished backup that is not listed is added. If only the copy of a manifest exists,
 * the manifest is written again, so the caller must be allowed to write.
 */
export async function reconcileBackupInfo(
  storage: StorageDriver,
  stanza: string,
  info: BackupInfo,
  log: Logger,
  signal?: AbortSignal,
): Promise<BackupInfo> {
  const { info: reconciled, copyOnly } = await reconcile(storage, stanza, info, log, signal)
  await completeManifests(storage, stanza, copyOnly, signal)
  return reconciled
}

/**
 * Writes backup.manifest from its copy, byte for byte. pgBackRest looks for backup.manifest only: it would remove the
 * backup from the list and treat its directory as an interrupted backup.
 */
export async function completeManifests(
  storage: StorageDriver,
  stanza: string,
  labels: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const options = signal === undefined ? {} : { signal }
  for (const label of labels) {
    const name = manifestName(stanza, label)
    await putFile(storage, name, await getInfoFile(storage, copyName(name), options), options)
  }
}

/**
 * As `reconcileBackupInfo`, without writing, with all findings. @param listed backup.info, which may still be loading
 */
export async function reconcile(
  storage: StorageDriver,
  stanza: string,
  listed: BackupInfo | Promise<BackupInfo>,
  log: Logger,
  signal?: AbortSignal,
): Promise<Reconciled> {
  const options = signal === undefined ? {} : { signal }
  const [info, directories] = await Promise.all([listed, labelDirectories(storage, stanza, signal)])
  const finished = new Set<string>()
  const labels = [...new Set([...directories, ...info.backups.map((backup) => backup.label)])]
  await inParallel(labels, 2 * (storage.parallel ?? 1), async (label) => {
    if ((await storage.stat(manifestName(stanza, label), options)) !== undefined) finished.add(label)
  })

  let current = info
  const copyOnly: string[] = []
  for (const { label } of info.backups) {
    if (finished.has(label)) continue
    if (await hasWholeCopy(storage, stanza, label, info, signal)) {
      log.warn(
        { label },
        `backup.manifest of ${label} is missing and is written again from its copy: the backup is listed, so it was finished`,
      )
      copyOnly.push(label)
      continue
    }
    for (const gone of dependentsOf(label, current.backups)) {
      if (!current.backups.some((backup) => backup.label === gone)) continue
      log.warn({ label: gone }, `backup ${gone} is removed from backup.info: ${reasonOf(gone, label)}`)
      current = withoutBackups(current, [gone])
    }
  }

  const notAssessed: string[] = []
  for (const label of directories) {
    if (!finished.has(label) || info.backups.some((backup) => backup.label === label)) continue
    const manifest = await readUnlisted({ storage, stanza, log, signal }, label, info)
    if (manifest === undefined || !isKnownCluster(info, manifest)) {
      if (manifest !== undefined) log.warn({ label }, unknownClusterMessage(label))
      notAssessed.push(label)
    } else if (manifest.prior === undefined || current.backups.some((backup) => backup.label === manifest.prior)) {
      log.warn({ label }, `backup ${label} was found in the repository and is added to backup.info`)
      current = withBackup(current, backupEntryOf(manifest))
    } else if (notAssessed.includes(manifest.prior)) {
      log.warn({ label }, `backup ${label} is kept but not listed, because it depends on ${manifest.prior}`)
      notAssessed.push(label)
    } else {
      log.warn({ label }, `backup ${label} cannot be used: it depends on ${manifest.prior}, which is missing`)
    }
  }
  return { info: current, directories, notAssessed, copyOnly }
}

/** True if the copy is the manifest of a finished backup of a cluster of this stanza. */
async function hasWholeCopy(
  storage: StorageDriver,
  stanza: string,
  label: string,
  info: BackupInfo,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    return isKnownCluster(
      info,
      await loadManifest(storage, stanza, label, info, signal === undefined ? {} : { signal }),
    )
  } catch (error) {
    signal?.throwIfAborted()
    // Only if this copy is missing or unusable: a failing store must not remove a backup from the list.
    if (isDamage(error)) return false
    throw error
  }
}

/** Labels of the backup directories of a stanza, sorted. */
export async function labelDirectories(
  storage: StorageDriver,
  stanza: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const labels: string[] = []
  const path = backupPath(stanza)
  for await (const entry of storage.list(path, { namesOnly: true, signal })) {
    const name = entry.name.slice(path.length + 1)
    if (entry.kind === 'path' && isBackupLabel(name)) labels.push(name)
  }
  return labels.sort(compareBytes)
}

function reasonOf(label: string, missing: string): string {
  return label === missing ? 'its manifest does not exist' : `it depends on ${missing}, whose manifest does not exist`
}

function unknownClusterMessage(label: string): string {
  return (
    `backup ${label} belongs to a cluster that is not in backup.info, so it is kept but not listed` +
    '\nHINT: if it is no longer needed, remove its directory'
  )
}

function isKnownCluster(info: BackupInfo, manifest: Manifest): boolean {
  const { historyId, systemId, version } = manifest.db
  return info.history.some(
    (entry) => entry.id === historyId && entry.systemId === systemId && entry.version === version,
  )
}

/** One unusable directory must not prevent backups, so it is only a warning. */
async function readUnlisted(
  { storage, stanza, log, signal }: { storage: StorageDriver; stanza: string; log: Logger; signal?: AbortSignal },
  label: string,
  info: BackupInfo,
): Promise<Manifest | undefined> {
  try {
    return await loadManifest(storage, stanza, label, info, signal === undefined ? {} : { signal })
  } catch (error) {
    signal?.throwIfAborted()
    log.warn(
      { label },
      `backup ${label} is not listed, and its manifest cannot be read; it is kept: ${messageOf(error)}` +
        '\nHINT: if it cannot be repaired, remove its directory',
    )
    return undefined
  }
}
