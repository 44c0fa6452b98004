import { backupTypeOf, compareLabels, dependentsOf, parseBackupLabel } from '../../format/backup-label.ts'
import type { BackupEntry } from '../../format/backup-info.ts'
import type { BackupType } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'
import { calendarReasons, hasCalendar, type CalendarPolicy, type CalendarReason } from './calendar.ts'
import { isPinActive, type Pin } from './pins.ts'

/** How long backups and WAL of one repository are kept. `undefined`: forever. A backup is kept if any rule keeps it. */
export interface RetentionPolicy {
  readonly fullType: 'count' | 'time'
  /**
   * Number of full backups, or of days (time). With a calendar and without this, only the newest full and its set are
   * kept in addition.
   */
  readonly full?: number
  /** Number of full and diff backups; removes diffs only. */
  readonly diff?: number
  /** Type of the backups that `archive` counts. */
  readonly archiveType: BackupType
  /** Number of the newest backups for which all WAL is kept. Older ones keep the WAL that makes them consistent. */
  readonly archive?: number
  /** Days for which manifests of removed backups are kept in backup.history; 0 keeps only those of existing backups. */
  readonly historyDays?: number
  /** pgts only: backups kept for days, weeks, months and years. */
  readonly calendar?: CalendarPolicy
}

export interface ExpireChoice {
  /** Remove this backup and its dependents, and no other. */
  readonly set?: string
  /** Remove the oldest full and its dependents, whatever the policy. */
  readonly oldest?: boolean
}

export type ExpireReason =
  /** There are more fulls than `full`. */
  | 'full'
  /** Older than the newest full that is older than `full` days. */
  | 'time'
  /** There are more fulls and diffs than `diff`. */
  | 'diff'
  /** No calendar rule and no other rule keeps it. */
  | 'calendar'
  /** Removed by --set. */
  | 'set'
  | 'oldest'

/** Why a backup is kept. */
export type KeepReason =
  | { readonly rule: 'pin'; readonly reason?: string; readonly until?: number }
  | CalendarReason
  /** The `rank`-th newest of the `of` fulls that are kept. */
  | { readonly rule: 'full'; readonly rank: number; readonly of: number }
  /** A full of the last `days` days, or (`edge`) the newest full before them. */
  | { readonly rule: 'time'; readonly days: number; readonly edge: boolean }
  /** The newest full, which is always kept. */
  | { readonly rule: 'newest-full' }
  /** The `rank`-th newest of the `of` fulls and diffs that are kept. */
  | { readonly rule: 'diff'; readonly rank: number; readonly of: number }
  /** No retention is set. */
  | { readonly rule: 'no-retention' }
  /** The run removes one set (`set` or `oldest`), and this is another one. */
  | { readonly rule: 'not-asked' }
  /** It builds on `label`, and a set is kept as a whole. */
  | { readonly rule: 'set'; readonly label: string }
  /** `by` cannot be restored without it. */
  | { readonly rule: 'needed'; readonly by: string }

/** The decision for one backup. */
export type Verdict =
  | { readonly label: string; readonly keep: true; readonly reasons: readonly KeepReason[] }
  /** `because`: the backup that the rule removes, with its dependents. */
  | { readonly label: string; readonly keep: false; readonly reason: ExpireReason; readonly because: string }

/** A backup that is removed together with all its dependents. */
export interface ExpireGroup {
  readonly reason: ExpireReason
  /** The backup that the rule selects. A pin or the calendar may still keep the backup itself. */
  readonly label: string
  /** All removed backups, newest first: in this order the remaining backups are always complete. */
  readonly labels: readonly string[]
}

export interface BackupPlan {
  readonly groups: readonly ExpireGroup[]
  readonly kept: readonly BackupEntry[]
  /** Every backup, oldest first. */
  readonly verdicts: readonly Verdict[]
  /** All WAL is kept for this number of the newest backups of this type; undefined: no WAL is removed. */
  readonly archive: { readonly type: BackupType; readonly count: number } | undefined
  /** Why no WAL is removed. */
  readonly archiveSkipped?: 'not-set' | 'time-not-met'
  /** `set` names a backup that is not listed. */
  readonly setMissing: boolean
  /** `oldest` found no full that can be removed. */
  readonly oldestMissing: boolean
  /** `set` removes this backup, which is the newest. */
  readonly newestRemoved?: string
}

const SECONDS_PER_DAY = 86_400

/**
 * Decides which backups are removed, and for which of the others WAL is kept (repository-format 8.1, 8.2). With
 * pgBackRest's options only, the result is that of pgBackRest's expire; the calendar and pins only keep further
 * backups, with all backups that these depend on.
 *
 * @param backups as listed in backup.info, in any order; it includes every prior backup that an entry names
 * @param nowSeconds seconds since the epoch
 * @throws PgtsError backup-set-invalid if `set` is the only full of the current cluster, or a pin protects part of it
 */
export function planBackups(
  backups: readonly BackupEntry[],
  policy: RetentionPolicy,
  choice: ExpireChoice,
  nowSeconds: number,
  pins: readonly Pin[] = [],
): BackupPlan {
  const plan = new Plan(backups)
  plan.pin(pins.filter((pin) => isPinActive(pin, nowSeconds)))
  const fulls = plan.labelsOf('full')
  const newest = plan.kept.at(-1)?.label
  const oldest = choice.oldest === true ? oldestRemovable(plan, fulls) : undefined
  const effective: RetentionPolicy =
    oldest === undefined
      ? policy
      : { ...policy, fullType: 'count', full: fulls.length - 1, archiveType: 'full', archive: fulls.length - 1 }

  let timeMetFulls: number | undefined
  let calendarFulls: number | undefined
  if (choice.set !== undefined) {
    if (plan.has(choice.set)) {
      refuseLastFull(plan, choice.set)
      refusePinned(plan, choice.set)
      plan.remove(choice.set, 'set')
    }
    plan.keepRest({ rule: 'not-asked' })
  } else if (oldest !== undefined) {
    plan.remove(oldest, 'oldest')
    plan.keepRest({ rule: 'not-asked' })
    // --oldest takes precedence over the calendar for this set; the calendar still applies to the rule for diffs.
    if (hasCalendar(policy.calendar)) plan.keepByCalendar(policy.calendar)
  } else {
    if (hasCalendar(policy.calendar)) plan.keepByCalendar(policy.calendar)
    timeMetFulls = applyFull(plan, fulls, policy, nowSeconds)
    if (policy.full === undefined && hasCalendar(policy.calendar)) {
      calendarFulls = fulls.filter((label) => plan.has(label) && label >= plan.oldestByCalendar()).length
    }
  }
  // pgBackRest applies the diff retention also with --oldest.
  if (choice.set === undefined && policy.diff !== undefined) applyDiff(plan, policy.diff)

  const archive = archiveRetention(effective, timeMetFulls ?? calendarFulls)
  return {
    groups: plan.groups,
    kept: plan.kept,
    verdicts: plan.verdicts(),
    archive,
    archiveSkipped:
      archive !== undefined
        ? undefined
        : effective.fullType === 'time' && effective.full !== undefined
          ? ('time-not-met' as const)
          : ('not-set' as const),
    setMissing: choice.set !== undefined && !backups.some(({ label }) => label === choice.set),
    oldestMissing: choice.oldest === true && oldest === undefined,
    newestRemoved: choice.set !== undefined && newest !== undefined && !plan.has(newest) ? newest : undefined,
  }
}

/** The backups that remain while rules are applied one after the other, and the reasons. */
class Plan {
  readonly groups: ExpireGroup[] = []
  readonly all: readonly BackupEntry[]
  kept: BackupEntry[]
  readonly #reasons = new Map<string, KeepReason[]>()
  /** Label of a protected backup -> the newest backup that a pin or the calendar keeps and that needs it. */
  readonly #protected = new Map<string, string>()
  readonly #pinned = new Set<string>()
  /** Backups that a rule selected for removal, protected or not. */
  readonly #candidates = new Set<string>()
  #oldestByCalendar: string | undefined

  constructor(backups: readonly BackupEntry[]) {
    this.all = [...backups].sort((a, b) => compareLabels(a.label, b.label))
    this.kept = [...this.all]
  }

  has(label: string): boolean {
    return this.kept.some((backup) => backup.label === label)
  }

  /** Oldest first. */
  labelsOf(...types: readonly BackupType[]): string[] {
    return this.kept.map(({ label }) => label).filter((label) => types.includes(typeOf(label)))
  }

  pin(pins: readonly Pin[]): void {
    for (const { label, reason, until } of pins) {
      if (!this.has(label)) continue
      this.keep(label, {
        rule: 'pin',
        reason,
        until,
      })
      for (const needed of this.#protect(label)) this.#pinned.add(needed)
    }
  }

  /** True if it is pinned, or a pinned backup needs it. */
  isPinned(label: string): boolean {
    return this.#pinned.has(label)
  }

  keepByCalendar(calendar: CalendarPolicy): void {
    for (const [label, reasons] of calendarReasons(this.kept, calendar)) {
      this.keep(label, ...reasons)
      const needed = this.#protect(label)
      for (const other of needed)
        if (this.#oldestByCalendar === undefined || other < this.#oldestByCalendar) this.#oldestByCalendar = other
    }
  }

  /** The oldest backup that the calendar keeps or needs; '' if there is none. */
  oldestByCalendar(): string {
    return this.#oldestByCalendar ?? ''
  }

  keep(label: string, ...reasons: readonly KeepReason[]): void {
    this.#reasons.set(label, [...(this.#reasons.get(label) ?? []), ...reasons])
  }

  /** Records this reason for all remaining backups. */
  keepRest(reason: KeepReason): void {
    for (const { label } of this.kept) this.keep(label, reason)
  }

  /** Removes the backup with all dependents, except protected ones. */
  remove(label: string, reason: ExpireReason): void {
    const candidates = dependentsOf(label, this.kept)
    for (const other of candidates) this.#candidates.add(other)
    const labels = candidates.filter((other) => !this.#protected.has(other))
    if (labels.length === 0) return
    const gone = new Set(labels)
    this.kept = this.kept.filter((backup) => !gone.has(backup.label))
    this.groups.push({ reason, label, labels })
  }

  verdicts(): Verdict[] {
    const kept = new Set(this.kept.map(({ label }) => label))
    const gone = new Map(
      this.groups.flatMap(({ reason, label, labels }) => labels.map((one) => [one, { reason, label }])),
    )
    const reasonsOf = (backup: BackupEntry): KeepReason[] => {
      const own = this.#reasons.get(backup.label) ?? []
      if (own.length > 0) return own
      if (this.#candidates.has(backup.label))
        return [{ rule: 'needed', by: this.#protected.get(backup.label) as string }]
      return [{ rule: 'set', label: backup.prior as string }]
    }
    return this.all.map((backup): Verdict => {
      const { label } = backup
      if (kept.has(label)) return { label, keep: true, reasons: reasonsOf(backup) }
      const { reason, label: because } = gone.get(label)!
      return { label, keep: false, reason, because }
    })
  }

  /** Protects the backup and all that it depends on. */
  #protect(label: string): string[] {
    const byLabel = new Map(this.all.map((backup) => [backup.label, backup]))
    const needed = new Set([label])
    for (const current of needed) {
      const backup = byLabel.get(current)
      for (const other of [backup?.prior, ...(backup?.references ?? [])]) {
        if (other !== undefined && byLabel.has(other)) needed.add(other)
      }
    }
    for (const other of needed) {
      const by = this.#protected.get(other)
      if (by === undefined || by < label) this.#protected.set(other, label)
    }
    return [...needed]
  }
}

/** Derived from the label, as in every program that reads the repository. */
function typeOf(label: string): BackupType {
  return backupTypeOf(parseBackupLabel(label))
}

/** @returns the number of newest fulls that are kept by time */
function applyFull(
  plan: Plan,
  fulls: readonly string[],
  { full, fullType, calendar }: RetentionPolicy,
  nowSeconds: number,
): number | undefined {
  if (full === undefined) {
    if (!hasCalendar(calendar)) {
      for (const label of fulls) plan.keep(label, { rule: 'no-retention' })
      return undefined
    }
    for (const label of fulls.slice(0, -1)) plan.remove(label, 'calendar')
    if (fulls.length > 0) plan.keep(fulls.at(-1)!, { rule: 'newest-full' })
    return undefined
  }
  if (fullType === 'count') {
    const first = Math.max(0, fulls.length - full)
    for (const label of fulls.slice(0, first)) plan.remove(label, 'full')
    for (const [index, label] of fulls.entries())
      if (index >= first) plan.keep(label, { rule: 'full', rank: fulls.length - index, of: full })
    return undefined
  }
  // Everything before the newest full that is older than the limit is removed.
  const limit = nowSeconds - full * SECONDS_PER_DAY
  const stops = new Map(plan.all.map((backup) => [backup.label, backup.timestampStop]))
  const met = fulls.findLastIndex((label) => (stops.get(label) as number) < limit)
  for (const label of fulls.slice(0, Math.max(0, met))) plan.remove(label, 'time')
  for (const [index, label] of fulls.entries())
    if (index >= met) plan.keep(label, { rule: 'time', days: full, edge: index === met })
  return met === -1 ? undefined : fulls.length - met
}

/** Fulls count towards the limit, because a full serves recovery as well as a diff; but only diffs are removed here. */
function applyDiff(plan: Plan, count: number): void {
  const counted = plan.labelsOf('full', 'diff')
  const first = Math.max(0, counted.length - count)
  for (const label of counted.slice(0, first))
    if (typeOf(label) === 'diff' && plan.has(label)) plan.remove(label, 'diff')
  for (const [index, label] of counted.entries()) {
    if (index >= first && typeOf(label) === 'diff') {
      plan.keep(label, { rule: 'diff', rank: counted.length - index, of: count })
    }
  }
}

function archiveRetention(policy: RetentionPolicy, keptFulls: number | undefined): BackupPlan['archive'] {
  const byDefault = {
    full: policy.fullType === 'count' && policy.full !== undefined ? policy.full : keptFulls,
    diff: policy.diff,
    incr: undefined,
  }[policy.archiveType]
  const count = policy.archive ?? byDefault
  return count === undefined ? undefined : { type: policy.archiveType, count }
}

/** Never the newest full, nor one that a pinned backup needs. */
function oldestRemovable(plan: Plan, fulls: readonly string[]): string | undefined {
  return fulls.slice(0, -1).find((label) => !dependentsOf(label, plan.kept).some((other) => plan.isPinned(other)))
}

/** Without a full backup of the current cluster the stanza cannot be restored, so the last one is not removed. */
function refuseLastFull(plan: Plan, label: string): void {
  const fulls = plan.labelsOf('full')
  if (fulls.at(-1) !== label) return
  const historyOf = (of: string | undefined) => plan.kept.find((backup) => backup.label === of)?.historyId
  if (historyOf(fulls.at(-2)) === historyOf(label)) return
  throw new PgtsError('backup-set-invalid', `${label} is the only full backup of its cluster, so it is not removed`, {
    hints: ['take another full backup first'],
  })
}

/** --set does not remove a pinned backup: it must be unpinned first. */
function refusePinned(plan: Plan, label: string): void {
  const pinned = dependentsOf(label, plan.kept).filter((other) => plan.isPinned(other))
  const [first] = pinned
  if (first === undefined) return
  throw new PgtsError(
    'backup-set-invalid',
    first === label
      ? `${label} is pinned, or a pinned backup needs it, so it is not removed`
      : `${label} is not removed: ${first}, which builds on it, is pinned`,
    { hints: ['run expire --explain to see the reason of the pin, and unpin to remove the pin'] },
  )
}
