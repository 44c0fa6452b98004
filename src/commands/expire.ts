import type { RepoOptions } from '../config/resolve.ts'
import { loadArchiveInfo } from '../core/archive-info-store.ts'
import { hasCalendar, type CalendarPolicy } from '../core/expire/calendar.ts'
import type { ExpireChoice, RetentionPolicy } from '../core/expire/retention.ts'
import { expireRepository, type ExpireReport } from '../core/expire/run.ts'
import type { Repository } from '../core/repository.ts'
import { parseBackupLabel } from '../format/backup-label.ts'
import { isWalSegment } from '../format/wal-segment.ts'
import { isDenied, PgtsError } from '../util/error.ts'
import type { CommandContext, StanzaLock } from './context.ts'
import { recordMissingTimes } from './shared/record-missing-times.ts'
import { logRepositoryError } from './shared/repository-error.ts'
import { markHandled } from '../util/mark-handled.ts'
import { repoId } from '../util/repo-id.ts'

/**
 * Removes backups that retention does not keep, the WAL that only they needed, and old manifests. With `explain`
 * nothing is removed; the reports contain the reasons.
 */
export async function expire(ctx: CommandContext<'expire'>): Promise<readonly ExpireReport[]> {
  const { options, log } = ctx
  const { set, archiveExpireBefore } = options
  const choice: ExpireChoice = { set, oldest: options.oldest }
  if (set !== undefined && choice.oldest === true) {
    throw new PgtsError('option-invalid', 'set and oldest cannot be used together')
  }
  if (set !== undefined) parseBackupLabel(set, 'option-invalid-value')
  if (archiveExpireBefore !== undefined && !isWalSegment(archiveExpireBefore)) {
    throw new PgtsError('option-invalid-value', `'${archiveExpireBefore}' is not the name of a WAL segment`, {
      hints: ['use 24 hex digits in upper case, for example 000000010000000000000012'],
    })
  }
  // --explain changes nothing, so it may run during a backup.
  await using _lock = options.explain ? undefined : await ctx.lock()
  const dryRun = options.dryRun || options.explain
  const repositories = await ctx.repositories()
  const reports = await expireRepositories(ctx, repositories, {
    dryRun,
    choice,
    archiveExpireBefore,
    refusePageErrors: options.checksumPageError,
    explain: options.explain,
  })
  if (set !== undefined && reports.every(({ setMissing }) => setMissing)) {
    log.warn({ label: set }, `backup ${set} does not exist\nHINT: run info to see the existing backups`)
  }
  return reports
}

/**
 * Runs expire at the end of `backup` if expire-auto is on; a separate command in the log, as in pgbackrest. If the
 * credentials may not remove files, this is a warning: the backup is complete, and another account can expire.
 *
 * @param lock of the backup, for the same repositories
 * @param savedIn repository of the backup
 * @throws PgtsError stop; command for every other failure
 */
export async function expireAfterBackup(
  ctx: CommandContext<'backup'>,
  lock: StanzaLock,
  savedIn: number,
): Promise<void> {
  ctx.continueAs('expire')
  // The backup is no longer in progress.
  lock.update({})
  await ctx.refuseWhenStopped()
  // Unless it is set, its default is that of `expire`.
  const refusePageErrors = ctx.options.checksumPageError || !ctx.isSet('checksum-page-error')
  await expireRepositories(ctx, await ctx.repositories(), {
    dryRun: false,
    choice: {},
    refusePageErrors,
    explain: false,
    savedIn,
  })
}

const EXPIRE_ELSEWHERE =
  "HINT: run 'expire' with credentials that may remove files, and set expire-auto=n for these; with a lock on the files, expire after it ends"

interface RequestedExpire {
  readonly dryRun: boolean
  readonly choice: ExpireChoice
  readonly archiveExpireBefore?: string
  readonly refusePageErrors: boolean
  /** The report is printed; its log lines are detail only. */
  readonly explain: boolean
  /** In this repository, this process has saved backup.info a moment ago. */
  readonly savedIn?: number
}

/** A repository that fails does not stop the others. @throws PgtsError command, after all of them */
async function expireRepositories(
  ctx: CommandContext<'expire'> | CommandContext<'backup'>,
  repositories: readonly Repository[],
  { dryRun, choice, archiveExpireBefore, refusePageErrors, explain, savedIn }: RequestedExpire,
): Promise<ExpireReport[]> {
  const { log, signal, stanza } = ctx
  const reports: ExpireReport[] = []
  let failed = 0
  for (const repository of repositories) {
    const { key } = repository
    const repo = ctx.options.repo.find((options) => options.key === key)
    if (repo === undefined) throw new PgtsError('assert', `${repoId(key)} has no options`)
    ctx.progress.phase(`expiring ${repoId(key)}`)
    try {
      await using _lease = dryRun ? undefined : await ctx.lease(repository)
      const archiveInfo = loadArchiveInfo(repository, stanza, { log, signal })
      markHandled(archiveInfo)
      reports.push(
        await expireRepository({
          repository,
          stanza,
          archiveInfo,
          savedNow: key === savedIn,
          policy: policyOf(repo),
          choice,
          archiveExpireBefore,
          nowMs: ctx.clock.nowMs(),
          dryRun,
          refusePageErrors,
          linkLatest: repo.symlink,
          // The explanation is the report, so its log lines are written as detail only.
          log: explain ? { ...log, warn: log.detail, info: log.detail } : log,
          signal,
          progress: ctx.progress,
        }),
      )
      if (!dryRun) await recordMissingTimes(ctx, repository, archiveInfo)
    } catch (error) {
      signal.throwIfAborted()
      if (ctx.command === 'backup' && isDenied(error)) {
        log.warn(
          { repo: key },
          `${repoId(key)}: expired backups or WAL were not removed: ${error.message}\n${EXPIRE_ELSEWHERE}`,
        )
        continue
      }
      failed++
      logRepositoryError(ctx, key, error)
    }
  }
  if (failed > 0) {
    throw new PgtsError('command', `expire failed on ${failed} of ${repositories.length} repositories`, {
      hints: ['fix the errors above; the next run removes what was not removed'],
    })
  }
  return reports
}

function policyOf(repo: RepoOptions<'expire'> | RepoOptions<'backup'>): RetentionPolicy {
  return {
    fullType: repo.retentionFullType,
    full: repo.retentionFull,
    diff: repo.retentionDiff,
    archiveType: repo.retentionArchiveType,
    archive: repo.retentionArchive,
    historyDays: repo.retentionHistory,
    calendar: calendarOf(repo),
  }
}

function calendarOf(repo: RepoOptions<'expire'> | RepoOptions<'backup'>): CalendarPolicy | undefined {
  const calendar: CalendarPolicy = {
    timeZone: repo.retentionTimeZone,
    daily: repo.retentionDaily,
    weekly: repo.retentionWeekly,
    monthly: repo.retentionMonthly,
    yearly: repo.retentionYearly,
  }
  return hasCalendar(calendar) ? calendar : undefined
}
