import { backupTypeOf, compareLabels, dependentsOf, parseBackupLabel } from '../../format/backup-label.ts'
import type { BackupEntry } from '../../format/backup-info.ts'
import type { BackupType } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'

/** How long backups and WAL of one repository are kept. `undefined` means: forever. */
export interface RetentionPolicy {
  readonly fullType: 'count' | 'time'
  /** Full backups (count), or days (time). */
  readonly full?: number | undefined
  /** Full and diff backups; only diffs are removed by it. */
  readonly diff?: number | undefined
  /** Which backups `archive` counts. */
  readonly archiveType: BackupType
  /** For how many of the newest backups all WAL is kept. Older ones keep what makes them consistent. */
  readonly archive?: number | undefined
  /** Days for which manifests of removed backups stay in the history; 0 keeps only those of existing backups. */
  readonly historyDays?: number | undefined
}

export interface ExpireChoice {
  /** Remove this backup and its dependents, and no other. */
  readonly set?: string | undefined
  /** Remove the oldest full and its dependents, whatever the policy says. */
  readonly oldest?: boolean | undefined
}

export type ExpireReason =
  /** More fulls than `full`. */
  | 'full'
  /** Older than the newest full that is older than `full` days. */
  | 'time'
  /** More fulls and diffs than `diff`. */
  | 'diff'
  /** Asked for. */
  | 'set'
  | 'oldest'

/** A backup that goes together with everything that builds on it. */
export interface ExpireGroup {
  readonly reason: ExpireReason
  /** The backup that the rule names. */
  readonly label: string
  /** All of them, newest first: the order in which they may be removed, so that what is left always stands. */
  readonly labels: readonly string[]
}

export interface BackupPlan {
  readonly groups: readonly ExpireGroup[]
  readonly kept: readonly BackupEntry[]
  /** For how many of the newest backups of which type all WAL is kept; undefined: no WAL is removed. */
  readonly archive: { readonly type: BackupType; readonly count: number } | undefined
  /** Why no WAL is removed. */
  readonly archiveSkipped?: 'not-set' | 'time-not-met'
  /** `set` names a backup that is not listed. */
  readonly setMissing: boolean
  /** `oldest` found no full that may go. */
  readonly oldestMissing: boolean
  /** `set` takes the newest backup away. */
  readonly newestRemoved?: string
}

const SECONDS_PER_DAY = 86_400

/**
 * Which backups go, and for which of the rest WAL is kept (repository-format 8.1, 8.2).
 *
 * @param backups as listed in backup.info, in any order; every prior that is named is among them
 * @param nowSeconds seconds since the epoch
 * @throws PgtsError backup-set-invalid when `set` is the only full of the current cluster
 */
export function planBackups(
  backups: readonly BackupEntry[],
  policy: RetentionPolicy,
  choice: ExpireChoice,
  nowSeconds: number,
): BackupPlan {
  const plan = new Plan(backups)
  const fulls = plan.labelsOf('full')
  const oldest = choice.oldest === true && fulls.length > 1
  const effective: RetentionPolicy = oldest
    ? { ...policy, fullType: 'count', full: fulls.length - 1, archiveType: 'full', archive: fulls.length - 1 }
    : policy

  const newest = plan.kept.at(-1)?.label
  let timeMetFulls: number | undefined
  if (choice.set !== undefined) {
    if (plan.has(choice.set)) {
      refuseLastFull(plan, choice.set)
      plan.remove(choice.set, 'set')
    }
  } else {
    if (effective.full !== undefined) {
      if (effective.fullType === 'count') {
        for (const label of fulls.slice(0, Math.max(0, fulls.length - effective.full))) {
          plan.remove(label, oldest ? 'oldest' : 'full')
        }
      } else {
        timeMetFulls = removeOlderThan(plan, fulls, nowSeconds - effective.full * SECONDS_PER_DAY)
      }
    }
    if (effective.diff !== undefined) {
      // Fulls count, because a full does for recovery what a diff does; but only diffs go here.
      const counted = plan.labelsOf('full', 'diff')
      for (const label of counted.slice(0, Math.max(0, counted.length - effective.diff))) {
        if (typeOf(label) === 'diff' && plan.has(label)) plan.remove(label, 'diff')
      }
    }
  }

  const archive = archiveRetention(effective, timeMetFulls)
  return {
    groups: plan.groups,
    kept: plan.kept,
    archive,
    ...(archive !== undefined
      ? {}
      : { archiveSkipped: effective.fullType === 'time' ? ('time-not-met' as const) : ('not-set' as const) }),
    setMissing: choice.set !== undefined && !backups.some(({ label }) => label === choice.set),
    oldestMissing: choice.oldest === true && !oldest,
    ...(choice.set !== undefined && newest !== undefined && !plan.has(newest) ? { newestRemoved: newest } : {}),
  }
}

/** What is still there while rules are applied one after the other. */
class Plan {
  readonly groups: ExpireGroup[] = []
  kept: BackupEntry[]

  constructor(backups: readonly BackupEntry[]) {
    this.kept = [...backups].sort((a, b) => compareLabels(a.label, b.label))
  }

  has(label: string): boolean {
    return this.kept.some((backup) => backup.label === label)
  }

  /** Oldest first. */
  labelsOf(...types: readonly BackupType[]): string[] {
    return this.kept.map(({ label }) => label).filter((label) => types.includes(typeOf(label)))
  }

  remove(label: string, reason: ExpireReason): void {
    const labels = dependentsOf(label, this.kept)
    const gone = new Set(labels)
    this.kept = this.kept.filter((backup) => !gone.has(backup.label))
    this.groups.push({ reason, label, labels })
  }
}

/** The label's own word, as everybody who reads the repository takes it. */
function typeOf(label: string): BackupType {
  return backupTypeOf(parseBackupLabel(label))
}

/** Everything before the newest full that is older than the limit goes. Answers how many fulls are left then. */
function removeOlderThan(plan: Plan, fulls: readonly string[], limit: number): number | undefined {
  const stops = new Map(plan.kept.map((backup) => [backup.label, backup.timestampStop]))
  const met = fulls.findLast((label) => (stops.get(label) as number) < limit)
  if (met === undefined) return undefined
  let removed = 0
  for (let first = plan.kept[0]; first !== undefined && first.label < met; first = plan.kept[0]) {
    plan.remove(first.label, 'time')
    removed++
  }
  return fulls.length - removed
}

function archiveRetention(policy: RetentionPolicy, timeMetFulls: number | undefined): BackupPlan['archive'] {
  const byDefault = {
    full: policy.fullType === 'count' ? policy.full : timeMetFulls,
    diff: policy.diff,
    incr: undefined,
  }[policy.archiveType]
  const count = policy.archive ?? byDefault
  return count === undefined ? undefined : { type: policy.archiveType, count }
}

/** A stanza without a full backup of the current cluster cannot be restored, so the last one is not taken. */
function refuseLastFull(plan: Plan, label: string): void {
  const fulls = plan.labelsOf('full')
  if (fulls.at(-1) !== label) return
  const historyOf = (of: string | undefined) => plan.kept.find((backup) => backup.label === of)?.historyId
  if (historyOf(fulls.at(-2)) === historyOf(label)) return
  throw new PgtsError('backup-set-invalid', `${label} is the only full backup of its cluster, so it is not removed`, {
    hints: ['make another full backup first'],
  })
}
