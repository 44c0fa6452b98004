import { parseArchiveInfo, type ArchiveInfo } from '../../format/archive-info.ts'
import { parseBackupInfo, type BackupEntry, type BackupInfo } from '../../format/backup-info.ts'
import { compareLabels } from '../../format/backup-label.ts'
import { checkManifest } from '../../format/manifest-check.ts'
import { parseManifest } from '../../format/manifest-parse.ts'
import { type Manifest } from '../../format/manifest.ts'
import { archiveInfoName, backupInfoName, manifestName } from '../../format/repo-path.ts'
import { inParallel } from '../../util/parallel.ts'
import { manifestCipherOf, infoCipherOf } from '../info-cipher.ts'
import { loadBackupInfo } from '../backup-info-store.ts'
import { labelDirectories } from '../reconcile.ts'
import { isSameHistory } from '../stanza/check-info.ts'
import { hasStanza } from '../stanza/delete.ts'
import type { KnownBackup } from './request.ts'
import type { Problems } from './findings.ts'
import { inspectPair } from './info-pair.ts'
import type { VerifyRequest } from './request.ts'

/**
 * Reads archive.info and backup.info with their copies. A member is absent if neither file nor copy is usable.
 *
 * @throws PgtsError file-missing if the repository has nothing of the stanza
 */
export async function inspectInfo(
  { repository, stanza, signal }: VerifyRequest,
  problems: Problems,
): Promise<{ archiveInfo?: ArchiveInfo; backupInfo?: BackupInfo }> {
  const cipher = infoCipherOf(repository)
  const { storage } = repository
  const [archive, backup] = await Promise.all([
    inspectPair(storage, archiveInfoName(stanza), cipher, parseArchiveInfo, signal),
    inspectPair(storage, backupInfoName(stanza), cipher, parseBackupInfo, signal),
  ])
  if (archive.value === undefined && backup.value === undefined && !(await hasStanza(storage, stanza, signal)))
    await loadBackupInfo(repository, stanza, { signal })
  for (const fault of [...archive.faults, ...backup.faults]) problems.error(fault)
  if (archive.value === undefined) problems.error('archive.info is unusable: archiving and recovery require it')
  if (backup.value === undefined) problems.error('backup.info is unusable: no backup can be restored without it')
  if (archive.value !== undefined && backup.value !== undefined && !isSameHistory(archive.value, backup.value)) {
    problems.error(
      'archive.info and backup.info do not list the same clusters: run stanza-upgrade again, or restore one of them from a copy',
    )
  }
  return {
    archiveInfo: archive.value,
    backupInfo: backup.value,
  }
}

/** All backups that are listed or have a directory, oldest first. */
export async function inspectBackups(
  { repository, stanza, signal }: VerifyRequest,
  info: BackupInfo,
  problems: Problems,
): Promise<KnownBackup[]> {
  const { storage } = repository
  const directories = await labelDirectories(storage, stanza, signal)
  const listed = new Map<string, BackupEntry>(info.backups.map((entry) => [entry.label, entry]))
  const newest = directories.at(-1)
  const known: KnownBackup[] = []
  const labels = [...new Set([...directories, ...listed.keys()])].sort(compareLabels)
  const pairs = await inParallel(labels, storage.parallel ?? 1, (label) =>
    inspectPair(storage, manifestName(stanza, label), manifestCipherOf(info), parseComplete, signal),
  )
  for (const [index, label] of labels.entries()) {
    const pair = pairs[index]!
    const entry = listed.get(label)
    if (entry === undefined && pair.mainMissing) {
      const running = label === newest
      if (running) known.push({ label, inProgress: true })
      else
        problems.note(
          `backup/${stanza}/${label} was left by an interrupted backup; the next backup or expire removes it`,
        )
      continue
    }
    if (entry === undefined) problems.note(`backup ${label} is not in backup.info; the next backup or expire adds it`)
    for (const fault of pair.faults) problems.error(fault)
    const { value: manifest } = pair
    const usable = manifest !== undefined && !pair.mainMissing && manifest.db.historyId !== 0
    if (usable && manifest.label !== label)
      problems.error(`the manifest in ${label} belongs to backup ${manifest.label}`)
    known.push({ label, inProgress: false, manifest: usable && manifest.label === label ? manifest : undefined })
  }
  return known
}

/** The manifest of an unfinished backup has no history id yet, so it is refused as incomplete. */
function parseComplete(bytes: Buffer): Manifest {
  const manifest = parseManifest(bytes)
  if (manifest.db.historyId !== 0) checkManifest(manifest, manifest.label)
  return manifest
}

/** @returns a function: is a backup that was found at first still listed or has its directory? Expire removes both */
export async function backupsLeft(
  { repository, stanza, signal }: VerifyRequest,
  backups: readonly KnownBackup[],
): Promise<(label: string) => boolean> {
  const labels = new Set(await labelDirectories(repository.storage, stanza, signal))
  const cipher = infoCipherOf(repository)
  const { value } = await inspectPair(repository.storage, backupInfoName(stanza), cipher, parseBackupInfo, signal)
  const listed = new Set(value?.backups.map(({ label }) => label))
  const before = new Set(backups.filter(({ manifest }) => manifest !== undefined).map(({ label }) => label))
  // Missing in both: expire removed it during the run. Missing in one of them: a fault.
  return (label) => !before.has(label) || labels.has(label) || listed.has(label)
}
