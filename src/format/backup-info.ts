import type { BackupType } from './manifest.ts'

/** backup.info: the clusters of a stanza and its usable backups (docs/format/info-files.md). */
export interface BackupHistory {
  readonly id: number
  readonly systemId: bigint
  readonly version: string
  readonly catalogVersion: number
  readonly controlVersion: number
}

export interface BackupEntry {
  readonly label: string
  readonly backrestFormat: number
  readonly backrestVersion: string
  /** Keys and values are byte strings. */
  readonly annotations: ReadonlyMap<string, string>
  /** Segment that holds the start LSN; null for an offline backup. */
  readonly archiveStart: string | null
  readonly archiveStop: string | null
  /** Any page checksum error; undefined in backups made before 2.36. */
  readonly error?: boolean
  readonly repoSizeBytes: number
  readonly repoSizeDeltaBytes: number
  readonly repoSizeMapBytes?: number
  readonly repoSizeMapDeltaBytes?: number
  readonly sizeBytes: number
  readonly sizeDeltaBytes: number
  readonly lsnStart?: string
  readonly lsnStop?: string
  readonly prior?: string
  /** Every label of the chain but the own one, sorted; undefined for a full. */
  readonly references?: readonly string[]
  /** Seconds since the epoch. */
  readonly timestampStart: number
  readonly timestampStop: number
  readonly type: BackupType
  readonly historyId: number
  readonly optionArchiveCheck: boolean
  readonly optionArchiveCopy: boolean
  readonly optionBackupStandby: boolean
  readonly optionChecksumPage: boolean
  readonly optionCompress: boolean
  readonly optionHardlink: boolean
  readonly optionOnline: boolean
}

export interface BackupInfo {
  readonly backrestVersion: string
  readonly currentId: number
  /** Oldest first. */
  readonly history: readonly BackupHistory[]
  /** Sorted by label. */
  readonly backups: readonly BackupEntry[]
  /** Passphrase of the manifests, in an encrypted repository. */
  readonly cipherPass?: string
}
