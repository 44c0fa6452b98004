import type { Fault } from './prove-stored.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** The findings of verify in one repository of a stanza. Names are byte strings, messages text. */
export interface VerifyReport {
  readonly stanza: string
  readonly repoKey: number
  /** No fault was found. Skipped parts (verified recently, or beyond the time limit) are not faults. */
  readonly ok: boolean
  /** Faults of the repository as a whole: info files, directories, unreadable parts. */
  readonly problems: readonly Problem[]
  readonly archives: readonly ArchiveResult[]
  readonly backups: readonly BackupResult[]
  /** Stored bytes that were read. */
  readonly readBytes: number
  /** Parts not read in this run, because they were verified recently or the time limit was reached. */
  readonly skipped: { readonly recent: number; readonly late: number }
}

export interface Problem {
  /** `note`: information; nothing is lost. */
  readonly level: 'error' | 'note'
  readonly message: string
}

export interface FaultyFile {
  readonly name: ByteString
  readonly repoName: ByteString
  readonly fault: Fault
  readonly reason: string
}

export interface ArchiveResult {
  /** `15-1` */
  readonly archiveId: string
  readonly checked: number
  readonly valid: number
  readonly faulty: readonly FaultyFile[]
  /** Consecutive segments, as first and last name. */
  readonly ranges: readonly { readonly first: string; readonly last: string }[]
  /** Missing segments of a timeline. Expire leaves gaps after backups whose WAL is kept for consistency only. */
  readonly gaps: readonly {
    readonly first: string
    readonly last: string
    readonly missing: number
    readonly byExpire: boolean
  }[]
}

export type BackupStatus = 'valid' | 'invalid' | 'manifest missing' | 'in-progress'

export interface BackupResult {
  readonly label: string
  readonly status: BackupStatus
  readonly checked: number
  readonly valid: number
  readonly faulty: readonly FaultyFile[]
  /** Why it cannot be restored although its own files may be intact: another backup, WAL. */
  readonly reasons: readonly string[]
  /** Recovery is possible from the end of the backup to the end of this segment; absent: offline, or not possible. */
  readonly recoverableTo?: string
  /** A faulty segment before that: recovery from this backup ends before it. */
  readonly stopsBefore?: string
  /** Files in its directory that are not in its manifest. */
  readonly orphans: readonly ByteString[]
  /** Number of files of which only the size could be checked. */
  readonly unproven: number
}

/** Totals of one run of verify in one repository. */
export interface VerifyCounts {
  readonly backups: number
  /** Files of backups; a file that several backups refer to is counted once. */
  readonly backupFiles: number
  readonly walSegments: number
  /** Stored bytes that were read. */
  readonly readBytes: number
  /** Above 0 exactly when the report is not ok. */
  readonly errors: number
}

export function countsOf({ backups, archives, problems, readBytes }: VerifyReport): VerifyCounts {
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)
  const finished = backups.filter(({ status }) => status !== 'in-progress')
  const unusable = finished.filter(({ status, faulty }) => status !== 'valid' && faulty.length === 0)
  const faulty = sum([...archives, ...backups].map((result) => result.faulty.length))
  const errors = problems.filter(({ level }) => level === 'error').length + faulty + unusable.length
  return {
    backups: finished.length,
    backupFiles: sum(finished.map(({ checked }) => checked)),
    walSegments: sum(archives.map(({ checked }) => checked)),
    readBytes,
    errors,
  }
}
