import { compareBytes } from '../util/byte-string.ts'
import type { BackupEntry } from './backup-info.ts'
import { REPOSITORY_FORMAT } from './info-file.ts'
import type { ManifestFile, WritableManifest } from './manifest.ts'

/** Totals of the files of a manifest, as in backup.info and the info command. */
export interface ManifestTotals {
  /** Original sizes of all files. */
  readonly sizeBytes: number
  /** Of the files stored in this backup. */
  readonly sizeDeltaBytes: number
  /** Stored sizes. */
  readonly repoSizeBytes: number
  readonly repoSizeDeltaBytes: number
  /** Stored sizes of block maps; also part of the stored sizes. */
  readonly repoSizeMapBytes: number
  readonly repoSizeMapDeltaBytes: number
  /** True if any file has an invalid page checksum. */
  readonly error: boolean
}

export function manifestTotals(manifest: { readonly files: Iterable<ManifestFile> }): ManifestTotals {
  let [size, sizeDelta, repo, repoDelta, map, mapDelta] = [0, 0, 0, 0, 0, 0]
  let error = false
  for (const file of manifest.files) {
    // For a file that is not stored, pgBackRest records a stored size of 0 and uses the original size in its totals.
    const stored = file.repoSizeBytes || file.sizeBytes
    size += file.sizeBytes
    repo += stored
    map += file.blockMapSize ?? 0
    if (file.reference === undefined) {
      sizeDelta += file.sizeBytes
      repoDelta += stored
      mapDelta += file.blockMapSize ?? 0
    }
    if (file.checksumPage === false) error = true
  }
  return {
    sizeBytes: size,
    sizeDeltaBytes: sizeDelta,
    repoSizeBytes: repo,
    repoSizeDeltaBytes: repoDelta,
    repoSizeMapBytes: map,
    repoSizeMapDeltaBytes: mapDelta,
    error,
  }
}

/** The entry of backup.info for a complete backup. */
export function backupEntryOf(manifest: WritableManifest): BackupEntry {
  const { options, type } = manifest
  const totals = manifestTotals(manifest)
  const chain = manifest.references.filter((label) => label !== manifest.label).sort(compareBytes)
  return {
    label: manifest.label,
    backrestFormat: REPOSITORY_FORMAT,
    backrestVersion: manifest.backrestVersion,
    annotations: manifest.annotations,
    archiveStart: manifest.archiveStart ?? null,
    archiveStop: manifest.archiveStop ?? null,
    error: totals.error,
    repoSizeBytes: totals.repoSizeBytes,
    repoSizeDeltaBytes: totals.repoSizeDeltaBytes,
    ...(manifest.blockIncremental
      ? { repoSizeMapBytes: totals.repoSizeMapBytes, repoSizeMapDeltaBytes: totals.repoSizeMapDeltaBytes }
      : {}),
    sizeBytes: totals.sizeBytes,
    sizeDeltaBytes: totals.sizeDeltaBytes,
    lsnStart: manifest.lsnStart,
    lsnStop: manifest.lsnStop,
    prior: type === 'full' ? undefined : manifest.prior,
    references: type === 'full' ? undefined : chain,
    timestampStart: manifest.timestampStart,
    timestampStop: manifest.timestampStop,
    type,
    historyId: manifest.db.historyId,
    optionArchiveCheck: options.archiveCheck,
    optionArchiveCopy: options.archiveCopy,
    optionBackupStandby: options.backupStandby ?? false,
    optionChecksumPage: options.checksumPage,
    optionCompress: options.compressType !== 'none',
    optionHardlink: options.hardlink,
    optionOnline: options.online,
  }
}
