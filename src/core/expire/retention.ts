import { backupTypeOf, compareLabels, dependentsOf, parseBackupLabel } from '../../format/backup-label.ts'
import type { BackupEntry } from '../../format/backup-info.ts'
import type { BackupType } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'
import { calendarReasons, hasCalendar, type CalendarPolicy, type CalendarReason } from './calendar.ts'
import { isPinActive, type Pin } from './pins.ts'

/** How long backups and WAL of one repository are kept. `undefined` means: forever. What any rule keeps is kept. */
export interface RetentionPolicy {
  readonly fullType: 'count' | 'time'
  /** Full backups (count), or days (time). With a calendar and without this only the newest full and its set stay. */
  readonly full?: number
  /** Full and diff backups; only diffs are removed by it. */
  readonly diff?: number
  /** Which backups `archive` counts. */
  readonly archiveType: BackupType
  /** For how many of the newest backups all WAL is kept. Older ones keep what makes them consistent. */
  readonly archive?: number
  /** Days for which manifests of removed backups stay in the history; 0 keeps only those of existing backups. */
  readonly historyDays?: number
  /** pgts's own: backups kept for days, weeks, months and years. */
  readonly calendar?: CalendarPolicy
}

export interface ExpireChoice {
  /** Remove this backup and its dependents, and no other. */
  readonly set?: string
  /** Remove the oldest full and its dependents, whatever the policy. */
  readonly oldest?: boolean
}

export type ExpireReason =
  /** More fulls than `full`. */
  | 'full'
  /** Older than the newest full that is older than `full` days. */
  | 'time'
  /** More fulls and diffs than `diff`. */
  | 'diff'
  /** The calendar keeps no period for it, and no other rule applies. */
  | 'calendar'
  /** Asked for. */
  | 'set'
  | 'oldest'

/** Why a backup stays. */
export type KeepReason =
  | { readonly rule: 'pin'; readonly reason?: string; readonly until?: number }
  | CalendarReason
  /** The `rank`-th newest of the `of` fulls that are kept. */
  | { readonly rule: 'full'; readonly rank: number; readonly of: number }
  /** A full of the last `days` days, or (`edge`) the newest one from before. */
  | { readonly rule: 'time'; readonly days: number; readonly edge: boolean }
  /** The newest full, which always stays. */
  | { readonly rule: 'newest-full' }
  /** The `rank`-th newest of the `of` fulls and diffs that are kept. */
  | { readonly rule: 'diff'; readonly rank: number; readonly of: number }
  /** No retention is set. */
  | { readonly rule: 'no-retention' }
  /** One set goes by name, or the oldest; this is another. */
  | { readonly rule: 'not-asked' }
  /** It builds on `label`, and a set stays whole. */
  | { readonly rule: 'set'; readonly label: string }
  /** `by` cannot be restored without it. */
  | { readonly rule: 'needed'; readonly by: string }

/** What becomes of one backup. */
export type Verdict =
  | { readonly label: string; readonly keep: true; readonly reasons: readonly KeepReason[] }
  /** `because` of the backup that the rule names, when it is another. */
  | { readonly label: string; readonly keep: false; readonly reason: ExpireReason; readonly because: string }

/** A backup that goes together with everything that builds on it. */
export interface ExpireGroup {
  readonly reason: ExpireReason
  /** The backup that the rule names. It stays itself when a pin or the calendar keeps it. */
  readonly label: string
  /** All of them, newest first: the order in which they may be removed, so that the backups that are left are always complete. */
  readonly labels: readonly string[]
}

export interface BackupPlan {
  readonly groups: readonly ExpireGroup[]
  readonly kept: readonly BackupEntry[]
  /** Every backup, oldest first. */
  readonly verdicts: readonly Verdict[]
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
 * Which backups go, and for which of the rest WAL is kept (repository-format 8.1, 8.2). With nothing but options of
 * pgBackRest this is what its expire would do; the calendar and pins only take backups out of what goes, together with
 * all that these depend on.
 *
 * @param backups as listed in backup.info, in any order; every prior that is named is among them
 * @param nowSeconds seconds since the epoch
 * @throws PgtsError backup-set-invalid when `set` is the only full of the current cluster, or a pin keeps part of it
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
    // It takes precedence over the calendar, which then still holds against the rule for diffs.
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

/** The backups that are left while rules are applied one after the other, and the reasons. */
class Plan {
  readonly groups: ExpireGroup[] = []
  readonly all: readonly BackupEntry[]
  kept: BackupEntry[]
  readonly #reasons = new Map<string, KeepReason[]>()
  /** By label, what a pin or the calendar needs: the newest backup that does. */
  readonly #protected = new Map<string, string>()
  readonly #pinned = new Set<string>()
  /** What some rule would remove if it were not protected. */
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

  /** Is it pinned, or does a pinned backup need it? */
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

  /** The oldest backup that the calendar keeps or needs; '' without any. */
  oldestByCalendar(): string {
    return this.#oldestByCalendar ?? ''
  }

  keep(label: string, ...reasons: readonly KeepReason[]): void {
    this.#reasons.set(label, [...(this.#reasons.get(label) ?? []), ...reasons])
  }

  /** Keep all that is left, for this reason. */
  keepRest(reason: KeepReason): void {
    for (const { label } of this.kept) this.keep(label, reason)
  }

  /** Remove the backup with all that builds on it, except what is protected. */
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

  /** The backup and all that it depends on. */
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

/** From the label, as every program that reads the repository derives it. */
function typeOf(label: string): BackupType {
  return backupTypeOf(parseBackupLabel(label))
}

/** @returns how many of the newest fulls stay by time */
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

/** Fulls are counted too, because recovery can use a full like a diff; but only diffs are removed here. */
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

/** Never the newest, nor one that a pin keeps. */
function oldestRemovable(plan: Plan, fulls: readonly string[]): string | undefined {
  return fulls.slice(0, -1).find((label) => !dependentsOf(label, plan.kept).some((other) => plan.isPinned(other)))
}

/** A stanza without a full backup of the current cluster cannot be restored, so the last one is not removed. */
function refuseLastFull(plan: Plan, label: string): void {
  const fulls = plan.labelsOf('full')
  if (fulls.at(-1) !== label) return
  const historyOf = (of: string | undefined) => plan.kept.find((backup) => backup.label === of)?.historyId
  if (historyOf(fulls.at(-2)) === historyOf(label)) return
  throw new PgtsError('backup-set-invalid', `${label} is the only full backup of its cluster, so it is not removed`, {
    hints: ['make another full backup first'],
  })
}

/** A pinned backup is not removed by name either: it must be unpinned first. */
function refusePinned(plan: Plan, label: string): void {
  const pinned = dependentsOf(label, plan.kept).filter((other) => plan.isPinned(other))
  const [first] = pinned
  if (first === undefined) return
  throw new PgtsError(
    'backup-set-invalid',
    first === label
      ? `${label} is pinned, or a pinned backup needs it, so it is not removed`
      : `${label} is not removed: ${first}, which builds on it, is pinned`,
    { hints: ['see expire --explain for the reason of the pin, and run unpin to remove it'] },
  )
}
