import type { Fault } from './prove-stored.ts'

/** What verify found out about one repository of a stanza. Names are byte strings, sentences text. */
export interface VerifyReport {
  readonly stanza: string
  readonly repoKey: number
  /** Nothing is wrong. What was skipped because it was proven lately, or for want of time, does not count. */
  readonly ok: boolean
  /** Of the repository as a whole: info files, directories, what verify could not read. */
  readonly problems: readonly Problem[]
  readonly archives: readonly ArchiveResult[]
  readonly backups: readonly BackupResult[]
  /** Stored bytes that were read. */
  readonly readBytes: number
  /** Parts that were not read this time, because they were proven lately or time ran out. */
  readonly skipped: { readonly recent: number; readonly late: number }
}

export interface Problem {
  /** `note`: information; nothing is lost. */
  readonly level: 'error' | 'note'
  readonly message: string
}

export interface FaultyFile {
  readonly name: string
  readonly repoName: string
  readonly fault: Fault
  readonly reason: string
}

export interface ArchiveResult {
  /** `15-1` */
  readonly archiveId: string
  readonly checked: number
  readonly valid: number
  readonly faulty: readonly FaultyFile[]
  /** Segments in a row, as first and last name. */
  readonly ranges: readonly { readonly first: string; readonly last: string }[]
  /** What is missing on a timeline. Expire leaves gaps behind backups whose WAL is kept for consistency only. */
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
  /** Why it cannot be restored although its own files may be whole: another backup, WAL. */
  readonly reasons: readonly string[]
  /** The backup can be recovered from its end up to the end of this segment; absent: offline, or it cannot at all. */
  readonly recoverableTo?: string
  /** A damaged segment on that way: recovery from this backup ends before it. */
  readonly stopsBefore?: string
  /** Files in its directory that its manifest does not know. */
  readonly orphans: readonly string[]
  /** Files of which only the size is known. */
  readonly unproven: number
}

/** What one run of verify has looked at in one repository, as numbers. */
export interface VerifyCounts {
  readonly backups: number
  /** Files of backups; a file that several backups refer to is one. */
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
