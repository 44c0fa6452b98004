import type { ArchiveRule, WalRange } from './archive-retention.ts'
import type { CalendarPolicy } from './calendar.ts'
import type { ArchiveRemoval } from './remove-archive.ts'
import type { BackupPlan, ExpireReason, KeepReason, Verdict } from './retention.ts'
import type { LeftOver } from './unfinished.ts'

/** Why all WAL of a repository is kept. */
export type ArchiveStays =
  | 'not-set'
  | 'time-not-met'
  /** Fewer backups exist than the retention asks for. */
  | 'too-few'
  /** A backup cannot be assessed, so the WAL it needs is unknown. */
  | 'unknown-backup'
  /** A backup on another host may be in progress beside a newer one. */
  | 'runs-beside'

/** Segments that are kept, and the purpose. Without `stop`: to the end of the archive. */
export interface WalKept {
  readonly start: string
  readonly stop?: string
  /**
   * `consistency`: to restore the backup to its end. `recovery`: to recover from it to any later point in time.
   * `asked`: --archive-expire-before.
   */
  readonly why: 'consistency' | 'recovery' | 'asked'
  readonly label?: string
}

/** The action for the WAL of one cluster. */
export interface ArchiveVerdict {
  readonly archiveId: string
  readonly why: 'ranges' | 'no-backup-left' | 'current-without-backup' | 'offline-backup'
  readonly keep: readonly WalKept[]
  /** Consecutive removals as first and last name, of 24 characters or (a whole directory) 16 characters. */
  readonly remove: readonly { readonly start: string; readonly stop: string }[]
}

/** For each backup and WAL range whether `expire` removes it, and the rule that decides it. */
export interface Explanation {
  readonly calendar?: CalendarPolicy
  /** Oldest first. */
  readonly backups: readonly Verdict[]
  /** Label directories that are not listed, newest first. */
  readonly unlisted: readonly LeftOver[]
  /** All WAL is kept for this number of the newest backups of this type. */
  readonly archiveRetention?: { readonly type: string; readonly count: number }
  /** Absent: see `archives`. */
  readonly archiveStays?: ArchiveStays
  readonly archives: readonly ArchiveVerdict[]
}

export function explainExpire(
  plan: BackupPlan,
  calendar: CalendarPolicy | undefined,
  leftOvers: readonly LeftOver[],
  archive: { readonly stays: ArchiveStays } | { readonly rules: readonly ArchiveRule[] },
  removals: readonly ArchiveRemoval[],
): Explanation {
  return {
    calendar,
    backups: plan.verdicts,
    unlisted: leftOvers.filter((leftOver) => leftOver.keep || leftOver.why !== 'expired'),
    archiveRetention: plan.archive,
    archiveStays: 'stays' in archive ? archive.stays : undefined,
    archives: 'stays' in archive ? [] : archive.rules.map((rule) => archiveVerdict(rule, removals)),
  }
}

function archiveVerdict(rule: ArchiveRule, removals: readonly ArchiveRemoval[]): ArchiveVerdict {
  const { archiveId } = rule
  const remove = removals.find((removal) => removal.archiveId === archiveId)?.ranges ?? []
  if (rule.action === 'keep-all') return { archiveId, why: rule.reason, keep: [], remove }
  if (rule.action === 'remove-all') return { archiveId, why: 'no-backup-left', keep: [], remove }
  return { archiveId, why: 'ranges', keep: rule.keep.map(walKept), remove }
}

function walKept({ start, stop, label }: WalRange): WalKept {
  return {
    start,
    stop,
    label,
    why: label === undefined ? 'asked' : stop === undefined ? 'recovery' : 'consistency',
  }
}

export type { ExpireReason, KeepReason, LeftOver, Verdict }
