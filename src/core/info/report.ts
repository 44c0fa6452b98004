import type { BackupType } from '../../format/manifest.ts'
import type { RecoverableWindow } from '../window/read.ts'
import type { DrillRecord } from '../drill/record.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** The report of `info`: plain data, in the shape of pgBackRest's JSON (repository-format, appendix B). Names are byte strings. */
export interface InfoReport {
  readonly detail: 'full' | 'progress'
  /** Set with --set: only this backup. */
  readonly set?: string
  /** Present if no repository has the requested stanza, or any stanza at all; byte strings. */
  readonly notFound?: { readonly stanza?: ByteString; readonly present: readonly ByteString[] }
  /** Sorted by name. */
  readonly stanzas: readonly InfoStanza[]
}

/** Shared with monitoring: numbers never change. */
export const STATUS = {
  ok: 0,
  missingPath: 1,
  noBackup: 2,
  missingData: 3,
  mixed: 4,
  clusterMismatch: 5,
  backupMissing: 6,
  other: 99,
} as const

export type StatusCode = (typeof STATUS)[keyof typeof STATUS]

export const STATUS_MESSAGES: Readonly<Record<StatusCode, string>> = {
  0: 'ok',
  1: 'missing stanza path',
  2: 'no valid backups',
  3: 'missing stanza data',
  4: 'different across repos',
  5: 'database mismatch across repos',
  6: 'requested backup not found',
  99: 'other',
}

export interface Status {
  readonly code: StatusCode
  /** Text in lines. */
  readonly message: string
}

/** Progress of a running command, in bytes. */
export interface Progress {
  readonly sizeBytes: number
  readonly doneBytes: number
}

export interface InfoLock {
  readonly held: boolean
  /** Sum over all repositories; undefined if no process reports progress. */
  readonly progress?: Progress
  /** From 0 to 10000, for a process that reports no bytes: pgBackRest before 2.53. */
  readonly hundredths?: number
  /** Backup only: the repositories with progress. */
  readonly repos?: readonly (Progress & { readonly repoKey: number })[]
}

export interface InfoStanza {
  readonly name: ByteString
  readonly status: Status & { readonly lock: { readonly backup: InfoLock; readonly restore: InfoLock } }
  readonly cipher: string
  readonly repos: readonly { readonly key: number; readonly cipher: string; readonly status: Status }[]
  /** The cluster that is backed up now, from the first readable repository. */
  readonly current?: { readonly systemId: bigint; readonly version: string }
  /** By repository, then oldest first. */
  readonly clusters: readonly InfoCluster[]
  readonly archives: readonly InfoArchive[]
  /** By stop time, over all repositories. */
  readonly backups: readonly InfoBackup[]
  /** pgts only: the last drill. */
  readonly drill?: InfoDrill
}

export interface InfoDrill {
  /** The repository of its backup. */
  readonly repoKey: number
  readonly record: DrillRecord
}

export interface InfoCluster {
  readonly repoKey: number
  readonly historyId: number
  readonly systemId: bigint
  readonly version: string
}

export interface InfoArchive {
  readonly repoKey: number
  /** Id in backup.info. */
  readonly historyId: number
  readonly archiveId: string
  /** First and last segment, null if there is none. */
  readonly min: string | null
  readonly max: string | null
  /** pgts only: the points in time that a restore can reach. */
  readonly window?: RecoverableWindow
}

/** The archive of the newest cluster among those of one repository. */
export function currentArchive(archives: readonly InfoArchive[]): InfoArchive | undefined {
  return archives.reduce<InfoArchive | undefined>(
    (newest, one) => (newest === undefined || one.historyId > newest.historyId ? one : newest),
    undefined,
  )
}

export interface InfoBackup {
  readonly repoKey: number
  readonly historyId: number
  readonly label: string
  readonly type: BackupType
  readonly prior: string | null
  readonly references: readonly string[] | null
  readonly archiveStart: string | null
  readonly archiveStop: string | null
  readonly lsnStart?: string
  readonly lsnStop?: string
  readonly backrestFormat: number
  readonly backrestVersion: string
  readonly sizeBytes: number
  readonly sizeDeltaBytes: number
  readonly repoSizeBytes: number
  readonly repoSizeDeltaBytes: number
  readonly repoSizeMapBytes?: number
  readonly repoSizeMapDeltaBytes?: number
  /** Seconds since the epoch. */
  readonly timestampStart: number
  readonly timestampStop: number
  /** undefined: the backup does not record it. */
  readonly error?: boolean
  readonly annotations: ReadonlyMap<ByteString, ByteString>
  /** pgts only: the pin that keeps it. Times are seconds since the epoch, the reason is a byte string. */
  readonly pin?: { readonly reason?: ByteString; readonly since: number; readonly until?: number }
  /** From the manifest; only with --set. */
  readonly details?: InfoDetails
}

export interface InfoDetails {
  /** Without template databases. */
  readonly databases: readonly { readonly name: ByteString; readonly oid: number }[]
  readonly links: readonly { readonly name: ByteString; readonly destination: ByteString }[]
  readonly tablespaces: readonly { readonly name: ByteString; readonly oid: number; readonly destination: ByteString }[]
  /** Files with page checksum errors. */
  readonly errorFiles: readonly ByteString[]
}
