import type { ArchiveInfo } from '../../format/archive-info.ts'
import { withoutBackups, type BackupInfo } from '../../format/backup-info.ts'
import { latestLinkName, manifestName, copyName } from '../../format/repo-path.ts'
import { removeFiles } from '../../storage/whole-file.ts'
import { readOnly } from '../../storage/wrappers.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { eachInParallel } from '../../util/parallel.ts'
import { loadArchiveInfo } from '../archive-info-store.ts'
import { loadBackupInfo, saveBackupInfo } from '../backup-info-store.ts'
import { completeManifests, reconcile, type Reconciled } from '../reconcile.ts'
import type { Repository } from '../repository.ts'
import { abortUploads } from './abort-uploads.ts'
import { planArchive, type ArchiveRule } from './archive-retention.ts'
import { explainExpire, type ArchiveStays, type Explanation } from './explain.ts'
import { archiveIdsIn, removeArchive, type ArchiveRemoval } from './remove-archive.ts'
import type { Pin } from './pins.ts'
import { isPinActive } from './pins.ts'
import { loadPins } from './pins-store.ts'
import { type PhaseDisplay, RemovalProgress } from './removal-progress.ts'
import { removeDirectories } from './remove-directories.ts'
import { removeHistory } from './remove-history.ts'
import {
  planBackups,
  type BackupPlan,
  type ExpireChoice,
  type ExpireGroup,
  type ExpireReason,
  type RetentionPolicy,
} from './retention.ts'
import { assessLeftOvers, type LeftOver } from './unfinished.ts'
import type { ExpireRun } from './expire-run.ts'
import { forgetTimes } from '../window/expire.ts'
import { repoId } from '../../util/repo-id.ts'
import { markHandled } from '../../util/mark-handled.ts'

export interface ExpireRequest {
  readonly repository: Repository
  readonly stanza: string
  /** Absent: it is loaded. */
  readonly archiveInfo?: Promise<ArchiveInfo>
  /** This process has saved backup.info a moment ago: it is saved again only if it changes. */
  readonly savedNow?: boolean
  readonly policy: RetentionPolicy
  readonly choice: ExpireChoice
  /** Segments before this 24-character segment are removed too, except those that a backup needs. */
  readonly archiveExpireBefore?: string
  readonly nowMs: number
  /** Report what would be removed, and write nothing. */
  readonly dryRun: boolean
  /** Remove nothing if the oldest backup that would remain has invalid page checksums. False: only warn about it. */
  readonly refusePageErrors: boolean
  /** Update the link `latest` to the newest backup, if the storage has links. */
  readonly linkLatest: boolean
  readonly log: Logger
  readonly signal: AbortSignal
  /** Absent: nothing is shown. */
  readonly progress?: PhaseDisplay
}

/** What was removed or, with --dry-run, would be removed. */
export interface ExpireReport {
  readonly repoKey: number
  readonly dryRun: boolean
  readonly groups: readonly ExpireGroup[]
  /** The backup of --set is not in this repository. */
  readonly setMissing: boolean
  /** Labels of removed directories, newest first; includes those of interrupted backups. */
  readonly directories: readonly string[]
  readonly archive: readonly ArchiveRemoval[]
  /** Names in backup.history: years, and manifests. */
  readonly history: readonly string[]
  /** The reason of every decision. */
  readonly explanation: Explanation
}

/**
 * Applies retention to one repository. The repository is usable after each step, even if the process is killed:
 *  1. the manifests of removed backups are removed, dependents first: from here on these backups do not exist
 *  2. backup.info is saved without them (if the process is killed before that, the next reconciliation does it)
 *  3. their directories are removed, and those of interrupted backups
 *  4. WAL that no remaining backup needs is removed
 *  5. old manifests in backup.history are removed
 *  6. incomplete uploads that a crash left in an object store are aborted
 * Nothing depends on what steps 3 to 6 remove, so they run in parallel on storage with a network latency.
 */
export async function expireRepository(request: ExpireRequest): Promise<ExpireReport> {
  const { stanza, dryRun, signal, log } = request
  const run = runOf(request)
  const { storage } = run
  const requested = requestAll(run, request)
  const found = await reconcile(run.storage, stanza, requested.backupInfo, log, signal)
  const pins = await requested.pins
  const nowSeconds = Math.floor(request.nowMs / 1000)
  const plan = planBackups(found.info.backups, request.policy, request.choice, nowSeconds, pins)
  logPlan(run, plan)
  warnOfLostPins(run, pins, found.info, nowSeconds)

  const gone = plan.groups.flatMap(({ labels }) => labels)
  const info = withoutBackups(found.info, gone)
  if (gone.length > 0) requireIntactOldest(run, plan, request.refusePageErrors)
  const leftOvers = await assessLeftOvers(run, found, info, new Set(gone), request.choice.set)
  await removeManifests(run, found.info, gone)
  if (!dryRun) {
    const copyOnly = found.copyOnly.filter((label) => !gone.includes(label))
    await completeManifests(storage, stanza, copyOnly, signal)
    const isSaved = gone.length === 0 && copyOnly.length === 0 && found.info === (await requested.backupInfo)
    // A command that has not saved it also replaces a missing or damaged copy.
    if (!isSaved || !request.savedNow) await saveBackupInfo(run.repository, stanza, info)
    await relinkLatest(run, plan, info, request.linkLatest)
  }
  const [directories, { rules, removals: archive }, history] = await eachInParallel(
    [
      () => removeDirectories(run, leftOvers, found.info),
      async () => {
        const rules = await archiveRules(run, request, {
          plan,
          found,
          leftOvers,
          info,
          archiveInfo: requested.archiveInfo,
        })
        const removals = 'rules' in rules ? await removeArchive(run, rules.rules, await requested.archiveIds) : []
        return { rules, removals: await forgetTimes(run, removals, requested.archiveInfo) }
      },
      () => removeHistory(run, request.policy.historyDays, nowSeconds, info),
      () => abortUploads(run, request.nowMs),
    ],
    storage.parallel ?? 1,
  )
  return {
    repoKey: request.repository.key,
    dryRun,
    groups: plan.groups,
    setMissing: plan.setMissing,
    directories,
    archive,
    history,
    explanation: explainExpire(plan, request.policy.calendar, leftOvers, rules, archive),
  }
}

function runOf({ repository, stanza, dryRun, nowMs, signal, log, progress }: ExpireRequest): ExpireRun {
  const { key, display } = repository
  const storage = dryRun ? readOnly(repository.storage) : repository.storage
  return {
    storage,
    repository: { ...repository, storage },
    stanza,
    dryRun,
    nowMs,
    signal,
    progress: new RemovalProgress(progress, repoId(key)),
    say: (level, message) => log[level]({ repo: key }, `${display}: ${message}`),
  }
}

/**
 * Removing what is older than a backup with invalid page checksums can remove the last copy of these pages that was
 * intact.
 *
 * @throws PgtsError checksum if `refuse`
 */
function requireIntactOldest(run: ExpireRun, { kept }: BackupPlan, refuse: boolean): void {
  const [oldest] = kept
  if (oldest?.error !== true) return
  const message = `the oldest remaining backup ${oldest.label} would contain invalid page checksums`
  if (!refuse) return run.say('warn', message)
  throw new PgtsError('checksum', `${message}, so nothing is removed`, {
    hints: [
      'repair the files that info --set shows, and take a full backup; older backups may contain the pages undamaged',
      'or use --no-checksum-page-error to expire regardless',
    ],
  })
}

/** Warns about a pinned backup that is missing from the repository. */
function warnOfLostPins(run: ExpireRun, pins: readonly Pin[], info: BackupInfo, nowSeconds: number): void {
  for (const pin of pins) {
    if (!isPinActive(pin, nowSeconds) || info.backups.some(({ label }) => label === pin.label)) continue
    run.say(
      'warn',
      `backup ${pin.label} is pinned, but no longer in the repository` +
        '\nHINT: pgbackrest may have expired it, because it does not know pins: do not configure retention for pgbackrest if you use pins' +
        `\nHINT: 'pgts --stanza=${run.stanza} unpin ${pin.label}' removes the pin`,
    )
  }
}

interface Requested {
  readonly backupInfo: Promise<BackupInfo>
  readonly pins: Promise<readonly Pin[]>
  readonly archiveInfo: Promise<ArchiveInfo>
  readonly archiveIds: Promise<readonly string[]>
}

/**
 * Requests the small files in parallel, because each answer of a remote store is slow; a failure is reported when the
 * value is used.
 */
function requestAll(run: ExpireRun, { archiveInfo, log }: ExpireRequest): Requested {
  const { repository, stanza, signal } = run
  const requested = {
    backupInfo: loadBackupInfo(repository, stanza, { log, signal }),
    pins: loadPins(repository, stanza, signal),
    archiveInfo: archiveInfo ?? loadArchiveInfo(repository, stanza, { log, signal }),
    archiveIds: archiveIdsIn(run),
  }
  for (const answer of Object.values(requested)) markHandled(answer)
  return requested
}

const REASONS: Record<ExpireReason, string> = {
  full: 'expire full backup',
  time: 'expire time-based backup',
  diff: 'expire diff backup',
  calendar: 'expire backup that no calendar rule keeps',
  set: 'expire adhoc backup',
  oldest: 'expire oldest full backup',
}

function logPlan(run: ExpireRun, plan: BackupPlan): void {
  if (plan.oldestMissing) run.say('warn', 'no full backup can be removed: at most one is left')
  for (const { reason, labels } of plan.groups) {
    const set = labels.length > 1 ? ' set' : ''
    run.say('info', `${REASONS[reason]}${set} ${[...labels].reverse().join(', ')}`)
  }
  if (plan.newestRemoved !== undefined) {
    run.say(
      'warn',
      `the newest backup ${plan.newestRemoved} is removed: recovery to a recent point in time may no longer be possible` +
        '\nHINT: WAL between older backups may have been removed already (repo-retention-archive); take a new backup soon',
    )
  }
}

/**
 * Removes manifests. A backup without its manifest does not exist for any command, so manifests are removed before
 * data. Copies are removed first, because a copy alone means a backup in progress; then the manifests, dependents
 * before the backups that they need.
 *
 * @param gone labels, dependents first
 */
async function removeManifests(run: ExpireRun, info: BackupInfo, gone: readonly string[]): Promise<void> {
  if (run.dryRun) return
  const { storage, stanza, signal } = run
  const names = gone.map((label) => manifestName(stanza, label))
  await removeFiles(storage, names.map(copyName), { signal })
  for (const labels of independentOf(info, gone)) {
    signal.throwIfAborted()
    await removeFiles(
      storage,
      labels.map((label) => manifestName(stanza, label)),
      { signal },
    )
  }
}

/**
 * Splits the labels into runs, in the same order; within a run no backup needs another, so its files can be removed in
 * any order.
 */
function independentOf(info: BackupInfo, labels: readonly string[]): string[][] {
  const needs = new Map(info.backups.map(({ label, prior, references }) => [label, [prior, ...(references ?? [])]]))
  const runs: string[][] = []
  for (const label of labels) {
    const last = runs.at(-1)
    if (last === undefined || last.some((other) => needs.get(other)?.includes(label))) runs.push([label])
    else last.push(label)
  }
  return runs
}

/** No command reads the link `latest`, so it is updated last. Only `set` removes the newest backup, never retention. */
async function relinkLatest(run: ExpireRun, plan: BackupPlan, info: BackupInfo, wanted: boolean): Promise<void> {
  const newest = info.backups.at(-1)
  if (plan.newestRemoved === undefined || newest === undefined || !wanted) return
  await run.storage.links?.symlink(latestLinkName(run.stanza), newest.label)
}

/** What is known when the backups to remove are decided. */
interface AfterBackups {
  readonly plan: BackupPlan
  readonly found: Reconciled
  readonly leftOvers: readonly LeftOver[]
  /** Without the removed backups. */
  readonly info: BackupInfo
  readonly archiveInfo: Promise<ArchiveInfo>
}

async function archiveRules(
  run: ExpireRun,
  request: ExpireRequest,
  { plan, found, leftOvers, info, archiveInfo }: AfterBackups,
): Promise<{ readonly stays: ArchiveStays } | { readonly rules: readonly ArchiveRule[] }> {
  if (plan.archive === undefined) {
    const stays = plan.archiveSkipped ?? 'not-set'
    const why = stays === 'time-not-met' ? 'no full backup is old enough' : 'repo-retention-archive is not set'
    run.say('info', `no WAL is removed: ${why}`)
    return { stays }
  }
  if (found.notAssessed.length > 0) {
    run.say(
      'warn',
      `no WAL is removed, because it is unknown which WAL these backups need: ${found.notAssessed.join(', ')}`,
    )
    return { stays: 'unknown-backup' }
  }
  const beside = leftOvers.filter(({ keep, why }) => keep && why === 'runs-beside')
  if (beside.length > 0) {
    const labels = beside.map(({ label }) => label).join(', ')
    run.say('warn', `no WAL is removed, because these backups may be in progress on another host: ${labels}`)
    return { stays: 'runs-beside' }
  }
  const archive = await archiveInfo
  const rules = planArchive({
    archive,
    backup: info,
    kept: info.backups,
    retention: plan.archive,
    expireBefore: request.archiveExpireBefore,
  })
  if (rules !== undefined) return { rules }
  const { type, count } = plan.archive
  run.say('info', `no WAL is removed: fewer than ${count} backups exist (archive retention type ${type})`)
  return { stays: 'too-few' }
}
