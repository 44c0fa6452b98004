import type { BackupEntry } from '../../format/backup-info.ts'
import type { Verdict, WalRange } from './reachable.ts'
import type { ExpectedDuration } from './expected-duration.ts'
import type { FileAction, RestorePlan } from './plan.ts'
import type { RecoveryPolicy } from './recovery.ts'
import type { FoundStop } from '../window/stop-target.ts'
import type { RecoverableWindow } from '../window/read.ts'
import type { FileSystemSpace } from './space.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** Something that makes a restore fail, or that its operator should know. */
export interface Problem {
  /** The restore ends with this exit code; absent: a warning. */
  readonly exitCode?: number
  readonly message: string
  readonly hints: readonly string[]
}

/** What a restore will do. Paths and settings are byte strings; sizes are bytes. */
export interface RestorePlanReport {
  readonly stanza: string
  readonly repoKey: number
  readonly backup: BackupEntry
  /** Why this backup was chosen. */
  readonly why: string
  readonly policy: RecoveryPolicy
  readonly verdict: Verdict
  /** Of --find-target. */
  readonly found?: FoundTarget
  /** The points in time that can be reached with all backups; absent: not known, or not of interest. */
  readonly window?: RecoverableWindow
  /** Absent: the archive was not read. */
  readonly wal?: WalRange
  readonly files: FileTotals
  readonly fileSystems: readonly FileSystemSpace[]
  readonly settings: PlannedSettings
  /** Absent: unknown. */
  readonly duration?: ExpectedDuration
  readonly problems: readonly Problem[]
}

/** The record at which recovery stops. */
export interface FoundTarget {
  /** For a target time the first later commit or abort: recovery stops before it. */
  readonly stop: FoundStop
  /** For a target time: the last commit or abort that is recovered, if it is near. */
  readonly before?: FoundStop
  /** Restore points of the same name in the WAL after it. */
  readonly others: readonly FoundStop[]
  /** Number of WAL segments that were read to find it. */
  readonly segmentsRead: number
}

/** The recovery settings that will be written. */
export interface PlannedSettings {
  /** Absent: none are written. */
  readonly file?: ByteString
  readonly values: ReadonlyMap<string, ByteString>
  readonly signalFile?: ByteString
}

export interface FileTotals {
  readonly files: number
  /** Files that are certainly written, with their stored size. */
  readonly write: { readonly files: number; readonly bytes: number; readonly fetchBytes: number }
  /** Existing files whose checksum decides. */
  readonly compare: { readonly files: number; readonly bytes: number; readonly fetchBytes: number }
  /** Existing files that are not read, because size and time agree. */
  readonly keep: { readonly files: number; readonly bytes: number }
  /** Files of excluded databases. */
  readonly zero: { readonly files: number; readonly bytes: number }
  /** Existing files that are written again. */
  readonly overwrite: number
  /** Entries that are not in the backup; a directory is removed with its content. */
  readonly remove: readonly ByteString[]
}

export function totalsOf(plan: RestorePlan): FileTotals {
  const totals: Record<FileAction, Totals> = {
    create: none(),
    check: none(),
    rewrite: none(),
    keep: none(),
    zero: none(),
  }
  for (const { file, action } of plan.files) {
    const total = totals[action]
    total.files++
    total.bytes += file.sizeBytes
    total.fetchBytes += file.repoSizeBytes ?? file.sizeBytes
  }
  const { create, check, rewrite, keep, zero } = totals
  const withoutFetch = ({ files, bytes }: Totals) => ({ files, bytes })
  return {
    files: plan.files.length,
    write: {
      files: create.files + rewrite.files,
      bytes: create.bytes + rewrite.bytes,
      fetchBytes: create.fetchBytes + rewrite.fetchBytes,
    },
    compare: check,
    keep: withoutFetch(keep),
    zero: withoutFetch(zero),
    overwrite: rewrite.files,
    remove: plan.remove.map(({ path }) => path),
  }
}

interface Totals {
  files: number
  bytes: number
  fetchBytes: number
}

function none(): Totals {
  return { files: 0, bytes: 0, fetchBytes: 0 }
}
