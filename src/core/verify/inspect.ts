import { parseArchiveInfo, type ArchiveInfo } from '../../format/archive-info.ts'
import { parseBackupInfo, type BackupEntry, type BackupInfo } from '../../format/backup-info.ts'
import { compareLabels } from '../../format/backup-label.ts'
import { checkManifest } from '../../format/manifest-check.ts'
import { parseManifest } from '../../format/manifest-parse.ts'
import type { Manifest, ManifestFileList } from '../../format/manifest.ts'
import { archiveInfoName, backupInfoName, manifestName } from '../../format/repo-path.ts'
import { inParallel } from '../../util/parallel.ts'
import { manifestCipherOf, infoCipherOf, type InfoCipher } from '../info-cipher.ts'
import { loadBackupInfo } from '../backup-info-store.ts'
import { labelDirectories } from '../reconcile.ts'
import { isSameHistory } from '../stanza/check-info.ts'
import { hasStanza } from '../stanza/delete.ts'
import { backupPieces } from './backup-pieces.ts'
import type { Problems } from './findings.ts'
import { inspectPair, type InspectedPair } from './info-pair.ts'
import { scopeOf, type KnownBackup, type VerifyRequest } from './request.ts'

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

/** All backups that are listed or have a directory, oldest first. With --set the files of its chain only. */
export async function inspectBackups(
  request: VerifyRequest,
  info: BackupInfo,
  problems: Problems,
): Promise<KnownBackup[]> {
  const { repository, stanza, set, signal } = request
  const { storage } = repository
  const directories = await labelDirectories(storage, stanza, signal)
  const listed = new Map<string, BackupEntry>(info.backups.map((entry) => [entry.label, entry]))
  const labels = [...new Set([...directories, ...listed.keys()])].sort(compareLabels)
  const inspected = new Map<string, InspectedBackup>()
  const inspect = async (label: string, withFiles: boolean) => {
    inspected.set(label, await inspectBackup(request, label, manifestCipherOf(info), withFiles))
  }
  if (set !== undefined) await inspect(set, true)
  const { hasBackup } = scopeOf(request, [...inspected.values()])
  const others = labels.filter((label) => label !== set)
  await inParallel(others, storage.parallel ?? 1, (label) => inspect(label, hasBackup(label)))

  const newest = directories.at(-1)
  const known: KnownBackup[] = []
  for (const label of labels) {
    const { pair, ...backup } = inspected.get(label)!
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
    if (pair.otherLabel !== undefined) problems.error(`the manifest in ${label} belongs to backup ${pair.otherLabel}`)
    known.push(backup)
  }
  return known
}

interface InspectedBackup extends KnownBackup {
  readonly pair: Omit<InspectedPair<Manifest>, 'value'> & { readonly otherLabel?: string }
}

/** Keeps what is needed of a manifest only: the files of all backups together may be many millions. */
async function inspectBackup(
  { repository, stanza, signal }: VerifyRequest,
  label: string,
  cipher: InfoCipher,
  withFiles: boolean,
): Promise<InspectedBackup> {
  const { storage } = repository
  const { value, ...pair } = await inspectPair(storage, manifestName(stanza, label), cipher, parseComplete, signal)
  const usable = value !== undefined && !pair.mainMissing && value.db.historyId !== 0
  const unused = { label, inProgress: false }
  if (!usable) return { ...unused, pair }
  if (value.label !== label) return { ...unused, pair: { ...pair, otherLabel: value.label } }
  const { files: _, ...manifest } = value
  const pieces = withFiles ? await backupPieces(storage, stanza, value, signal) : undefined
  return { ...unused, manifest, pieces, pair }
}

/** The files of a manifest that was usable before; undefined: it is no longer. */
export async function filesOf(
  { repository, stanza, signal }: VerifyRequest,
  info: BackupInfo,
  label: string,
): Promise<ManifestFileList | undefined> {
  const name = manifestName(stanza, label)
  return (await inspectPair(repository.storage, name, manifestCipherOf(info), parseComplete, signal)).value?.files
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
