import { COMPRESS_EXTENSIONS, type CompressType } from '../util/compress-type.ts'
import { bytes, type ByteString } from '../util/byte-string.ts'

/**
 * Locations of all files of a repository. All names are byte strings relative to the root of the repository
 * (docs/format/files.md).
 */
export const INFO_COPY_SUFFIX = '.copy'
export const BLOCK_INCR_EXTENSION = '.pgbi'

const ARCHIVE_ID = /^[0-9]+(\.[0-9]+)*-[0-9]+$/
const WAL_DIRECTORY = /^[0-9A-F]{16}$/
const HISTORY_YEAR = /^2[0-9]{3}$/
const HISTORY_MANIFEST = /^([0-9]{8}-[0-9]{6}F(?:_[0-9]{8}-[0-9]{6}[DI])?)\.manifest\.gz$/

export function archivePath(stanza: string): string {
  return `archive/${stanza}`
}

export function backupPath(stanza: string): string {
  return `backup/${stanza}`
}

/** Directory for pgts's own files, which no command of pgBackRest reads. */
export function ownPath(stanza: string): string {
  return `pgts/${stanza}`
}

/** Directory of the records of drills: `pgts/main/drill`. */
export function drillPath(stanza: string): string {
  return `${ownPath(stanza)}/drill`
}

/** Directory of what pgts knows about the WAL of one archive id: `pgts/main/wal-times/15-1`. */
export function walTimesPath(stanza: string, archiveId: string): string {
  return `${ownPath(stanza)}/wal-times/${archiveId}`
}

/** @param group first 22 characters of the names of up to 256 segments */
export function walTimesName(stanza: string, archiveId: string, group: string): ByteString {
  return bytes`${walTimesPath(stanza, archiveId)}/${group}.json`
}

/** One row for each of these files but the newest ones. */
export function walTimesIndexName(stanza: string, archiveId: string): ByteString {
  return bytes`${walTimesPath(stanza, archiveId)}/index.json`
}

export function archiveInfoName(stanza: string): ByteString {
  return bytes`${archivePath(stanza)}/archive.info`
}

export function backupInfoName(stanza: string): ByteString {
  return bytes`${backupPath(stanza)}/backup.info`
}

/** Name of the identical copy that every info file and manifest has. */
export function copyName(name: string): ByteString {
  return bytes`${name}${INFO_COPY_SUFFIX}`
}

/** Directory of one backup. */
export function backupLabelPath(stanza: string, label: string): string {
  return `${backupPath(stanza)}/${label}`
}

export function manifestName(stanza: string, label: string): ByteString {
  return bytes`${backupLabelPath(stanza, label)}/backup.manifest`
}

/** Directory of the manifests of all backups, expired ones included. */
export function manifestHistoryPath(stanza: string): string {
  return `${backupPath(stanza)}/backup.history`
}

/** The manifest of a backup in backup.history: always gz, whatever the compression of the backup is. */
export function manifestHistoryName(stanza: string, label: string): string {
  return `${manifestHistoryPath(stanza)}/${label.slice(0, 4)}/${label}.manifest.gz`
}

/** Label of a file of backup.history, or undefined. */
export function labelOfHistoryManifest(fileName: string): string | undefined {
  return HISTORY_MANIFEST.exec(fileName)?.[1]
}

export function isHistoryYear(name: string): boolean {
  return HISTORY_YEAR.test(name)
}

/** The symbolic link to the newest backup; no program reads it. */
export function latestLinkName(stanza: string): string {
  return `${backupPath(stanza)}/latest`
}

export function bundleName(stanza: string, label: string, bundleId: number): ByteString {
  return bytes`${backupLabelPath(stanza, label)}/bundle/${bundleId}`
}

/** The members that decide where a file of a manifest is stored. */
export interface StoredFileOf {
  readonly name: string
  /** Backup that stores the content, if it is not that of the manifest. */
  readonly reference?: string
  readonly bundleId?: number
  readonly blockMapSize?: number
}

/**
 * The repository file with the content of a manifest file: a bundle, a block incremental file, or a file under its own
 * name.
 *
 * @param ownLabel label of the manifest with this entry
 * @param compressType `option-compress-type` of that manifest (the same for a whole chain)
 */
export function fileRepoName(
  stanza: string,
  file: StoredFileOf,
  ownLabel: string,
  compressType: CompressType,
): ByteString {
  const label = file.reference ?? ownLabel
  if (file.bundleId !== undefined) return bundleName(stanza, label, file.bundleId)
  const extension = file.blockMapSize === undefined ? COMPRESS_EXTENSIONS[compressType] : BLOCK_INCR_EXTENSION
  return bytes`${backupLabelPath(stanza, label)}/${file.name}${extension}`
}

/** `archive/<stanza>/15-1` */
export function archiveIdPath(stanza: string, archiveId: string): string {
  return `${archivePath(stanza)}/${archiveId}`
}

/**
 * Directory of a file of the archive: the first 16 characters of a segment name, or the archive id itself for other
 * files.
 */
export function archiveDirectory(stanza: string, archiveId: string, walFile: string): string {
  const path = archiveIdPath(stanza, archiveId)
  return /^[0-9A-F]{24}/.test(walFile) ? `${path}/${walFile.slice(0, 16)}` : path
}

/**
 * @param walFile name in the archive: `<segment>-<sha1>.gz` (archivedSegmentName), `00000002.history`,
 *   `<segment>.00000028.backup`
 */
export function archiveFileName(stanza: string, archiveId: string, walFile: string): ByteString {
  return bytes`${archiveDirectory(stanza, archiveId, walFile)}/${walFile}`
}

/** `15-1`, `9.6-2` */
export function isArchiveId(name: string): boolean {
  return ARCHIVE_ID.test(name)
}

/** `0000000100000000` */
export function isWalDirectory(name: string): boolean {
  return WAL_DIRECTORY.test(name)
}
