import type { ArchiveInfo } from '../../format/archive-info.ts'
import { withoutBackups, type BackupInfo } from '../../format/backup-info.ts'
import { latestLinkName, manifestName, copyName } from '../../format/repo-path.ts'
import { removeFiles } from '../../storage/whole-file.ts'
import { readOnly } from '../../storage/wrappers.ts'
import type { Logger } from '../../util/log.ts'
import { eachInParallel } from '../../util/parallel.ts'
import { loadArchiveInfo, loadBackupInfo, saveBackupInfo } from '../info-store.ts'
import { completeManifests, reconcile, type Reconciled } from '../reconcile.ts'
import type { Repository } from '../repository.ts'
import { abortUploads } from './abort-uploads.ts'
import { planArchive, type ArchiveRule } from './archive-retention.ts'
import { explainExpire, type ArchiveStays, type Explanation } from './explain.ts'
import { archiveIdsIn, removeArchive, type ArchiveRemoval } from './remove-archive.ts'
import type { Pin } from './pins.ts'
import { isPinActive } from './pins.ts'
import { loadPins } from './pins-store.ts'
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

export interface ExpireRequest {
  readonly repository: Repository
  readonly stanza: string
  readonly policy: RetentionPolicy
  readonly choice: ExpireChoice
  /** WAL before this 24-character segment goes too, except what a backup needs. */
  readonly archiveExpireBefore?: string
  readonly nowMs: number
  /** Say what would go, and write nothing. */
  readonly dryRun: boolean
  /** Keep the link `latest` on the newest backup, where the storage has links. */
  readonly linkLatest: boolean
  readonly log: Logger
  readonly signal: AbortSignal
}

/** What was removed, or would be removed without --dry-run. */
export interface ExpireReport {
  readonly repoKey: number
  readonly dryRun: boolean
  readonly groups: readonly ExpireGroup[]
  /** The backup of --set is not in this repository. */
  readonly setMissing: boolean
  /** Labels whose directories were removed, newest first; also leftovers of interrupted backups. */
  readonly directories: readonly string[]
  readonly archive: readonly ArchiveRemoval[]
  /** Names in backup.history: years, and manifests. */
  readonly history: readonly string[]
  /** Why all of this, and why the rest stays. */
  readonly explanation: Explanation
}

/**
 * Apply retention to one repository. Each step leaves it usable, whenever the process is killed:
 *  1. manifests of what goes are removed, dependents first: from here on those backups do not exist
 *  2. backup.info is saved without them (a kill before that is repaired by the next reconciliation)
 *  3. their directories are removed, and leftovers of interrupted backups
 *  4. WAL goes that no remaining backup needs
 *  5. old manifests in backup.history go
 *  6. uploads that a crash left in an object store are aborted
 * As nothing needs any of what 3 to 6 remove, they go side by side where each request takes a while.
 */
export async function expireRepository(request: ExpireRequest): Promise<ExpireReport> {
  const { stanza, dryRun, signal, log } = request
  const { key: repoKey, display } = request.repository
  const storage = dryRun ? readOnly(request.repository.storage) : request.repository.storage
  const run: ExpireRun = {
    storage,
    repository: { ...request.repository, storage },
    stanza,
    dryRun,
    nowMs: request.nowMs,
    signal,
    say: (level, message) => log[level]({ repo: repoKey }, `${display}: ${message}`),
  }
  const requested = requestAll(run, log)
  const found = await reconcile(run.storage, stanza, requested.backupInfo, log, signal)
  const pins = await requested.pins
  const nowSeconds = Math.floor(request.nowMs / 1000)
  const plan = planBackups(found.info.backups, request.policy, request.choice, nowSeconds, pins)
  logPlan(run, plan)
  tellLostPins(run, pins, found.info, nowSeconds)

  const gone = plan.groups.flatMap(({ labels }) => labels)
  const info = withoutBackups(found.info, gone)
  const leftOvers = await assessLeftOvers(run, found, info, new Set(gone), request.choice.set)
  await removeManifests(run, found.info, gone)
  if (!dryRun) {
    const halved = found.halved.filter((label) => !gone.includes(label))
    await completeManifests(storage, stanza, halved, signal)
    await saveBackupInfo(run.repository, stanza, info)
    await relinkLatest(run, plan, info, request.linkLatest)
  }
  const [directories, { rules, removals: archive }, history] = await eachInParallel(
    [
      () => removeDirectories(run, leftOvers),
      async () => {
        const rules = await archiveRules(run, request, plan, found, leftOvers, info, requested.archiveInfo)
        const removals = 'rules' in rules ? await removeArchive(run, rules.rules, await requested.archiveIds) : []
        return { rules, removals }
      },
      () => removeHistory(run, request.policy.historyDays, nowSeconds, info),
      () => abortUploads(run, request.nowMs),
    ],
    storage.parallel ?? 1,
  )
  return {
    repoKey,
    dryRun,
    groups: plan.groups,
    setMissing: plan.setMissing,
    directories,
    archive,
    history,
    explanation: explainExpire(plan, request.policy.calendar, leftOvers, rules, archive),
  }
}

/** A backup that an operator pinned must not disappear unnoticed. */
function tellLostPins(run: ExpireRun, pins: readonly Pin[], info: BackupInfo, nowSeconds: number): void {
  for (const pin of pins) {
    if (!isPinActive(pin, nowSeconds) || info.backups.some(({ label }) => label === pin.label)) continue
    run.say(
      'warn',
      `backup ${pin.label} is pinned, but is not in the repository any more` +
        '\nHINT: did pgbackrest expire it, which knows no pins? Keep its retention off where pins are used' +
        `\nHINT: 'pgts --stanza=${run.stanza} unpin ${pin.label}' forgets the pin`,
    )
  }
}

interface Requested {
  readonly backupInfo: Promise<BackupInfo>
  readonly pins: Promise<readonly Pin[]>
  readonly archiveInfo: Promise<ArchiveInfo>
  readonly archiveIds: Promise<readonly string[]>
}

/** Small files are requested together, because each answer of a remote store is slow; a failure is reported when used. */
function requestAll(run: ExpireRun, log: Logger): Requested {
  const { repository, stanza, signal } = run
  const requested = {
    backupInfo: loadBackupInfo(repository, stanza, { log, signal }),
    pins: loadPins(repository, stanza, signal),
    archiveInfo: loadArchiveInfo(repository, stanza, { log, signal }),
    archiveIds: archiveIdsIn(run),
  }
  for (const answer of Object.values(requested)) answer.catch(() => undefined)
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
  if (plan.oldestMissing) run.say('warn', 'there is no full backup that could go: at most one is left')
  for (const { reason, labels } of plan.groups) {
    const set = labels.length > 1 ? ' set' : ''
    run.say('info', `${REASONS[reason]}${set} ${[...labels].reverse().join(', ')}`)
  }
  if (plan.newestRemoved !== undefined) {
    run.say(
      'warn',
      `the newest backup, ${plan.newestRemoved}, goes: recovery to a recent point in time may not be possible any more` +
        '\nHINT: WAL between older backups may be gone already, see repo-retention-archive; make a new backup soon',
    )
  }
}

/**
 * The manifest is the backup: with it gone, no command takes the rest for a backup, so it goes before the data. The copies
 * go first, because a copy alone is what a backup in progress has; then the manifests, dependents before what they need.
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

/** The same labels in the same order, in runs within which none needs another, so that a run may go in any order. */
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

/** Nothing reads the link, so it only follows. Retention never takes the newest backup, only `set` does. */
async function relinkLatest(run: ExpireRun, plan: BackupPlan, info: BackupInfo, wanted: boolean): Promise<void> {
  const newest = info.backups.at(-1)
  if (plan.newestRemoved === undefined || newest === undefined || !wanted) return
  await run.storage.links?.symlink(latestLinkName(run.stanza), newest.label)
}

async function archiveRules(
  run: ExpireRun,
  request: ExpireRequest,
  plan: BackupPlan,
  found: Reconciled,
  leftOvers: readonly LeftOver[],
  info: BackupInfo,
  archiveInfo: Promise<ArchiveInfo>,
): Promise<{ readonly stays: ArchiveStays } | { readonly rules: readonly ArchiveRule[] }> {
  if (plan.archive === undefined) {
    const stays = plan.archiveSkipped ?? 'not-set'
    const why = stays === 'time-not-met' ? 'no full backup is old enough' : 'repo-retention-archive is not set'
    run.say('info', `no WAL is removed: ${why}`)
    return { stays }
  }
  if (found.spared.length > 0) {
    run.say('warn', `no WAL is removed, because it is not known what these backups need: ${found.spared.join(', ')}`)
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
  run.say('info', `no WAL is removed: there are not yet ${count} backups that count (archive retention type ${type})`)
  return { stays: 'too-few' }
}
