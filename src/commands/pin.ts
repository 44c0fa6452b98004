import type { Repository } from '../core/repository.ts'
import { parseTimeTarget } from '../core/restore/time-target.ts'
import { withPin, withoutPin, type Pin } from '../core/expire/pins.ts'
import { loadPins, savePins } from '../core/expire/pins-store.ts'
import { loadBackupInfo } from '../core/backup-info-store.ts'
import { reconcileBackupInfo } from '../core/reconcile.ts'
import { parseBackupLabel } from '../format/backup-label.ts'
import { PgtsError } from '../util/error.ts'
import { zonedDateTime } from '../util/local-time.ts'
import type { CommandContext } from './context.ts'
import { logRepositoryError } from './shared/repository-error.ts'
import { repoId } from '../util/repo-id.ts'

export interface PinReport {
  readonly label: string
  /** Repositories that were changed. */
  readonly repoKeys: readonly number[]
}

/** Exclude one backup from retention, in every repository that has it, or in that of --repo. */
export async function pin(ctx: CommandContext<'pin'>): Promise<PinReport> {
  const { options, clock, log } = ctx
  const label = labelOf(ctx)
  const nowSeconds = Math.floor(clock.nowMs() / 1000)
  const until = options.until === undefined ? undefined : endOf(options.until)
  if (until !== undefined && until <= nowSeconds) {
    throw new PgtsError('option-invalid-value', `until=${String(options.until)} is in the past`)
  }
  const wanted: Pin = {
    label,
    reason: options.reason,
    until,
    since: nowSeconds,
  }
  const report = await inEveryRepository(ctx, label, (pins, listed) => {
    if (!listed.has(label)) return undefined
    // Remove pins of backups that no longer exist.
    return withPin(
      pins.filter((other) => listed.has(other.label)),
      wanted,
    )
  })
  if (report.repoKeys.length === 0) {
    throw new PgtsError('backup-set-invalid', `stanza ${ctx.stanza} has no backup ${label}`, {
      hints: ['run info to see the existing backups'],
    })
  }
  const end = until === undefined ? '' : ` until ${zonedDateTime(until)}`
  for (const repo of report.repoKeys) log.info({ repo, label }, `backup ${label} is pinned in ${repoId(repo)}${end}`)
  return report
}

/** Make retention apply to the backup again. */
export async function unpin(ctx: CommandContext<'unpin'>): Promise<PinReport> {
  const { log } = ctx
  const label = labelOf(ctx)
  const report = await inEveryRepository(ctx, label, (pins, listed) => {
    if (!pins.some((other) => other.label === label)) return undefined
    return withoutPin(pins, label).filter((other) => listed.has(other.label))
  })
  if (report.repoKeys.length === 0) {
    throw new PgtsError('backup-set-invalid', `backup ${label} of stanza ${ctx.stanza} is not pinned`, {
      hints: ['run info --set, or expire --explain, to see the existing pins'],
    })
  }
  for (const repo of report.repoKeys)
    log.info({ repo, label }, `backup ${label} is no longer pinned in ${repoId(repo)}`)
  return report
}

function labelOf({ parameters }: CommandContext): string {
  const [label = ''] = parameters
  return parseBackupLabel(label, 'param-invalid')
}

/** Seconds since the epoch. A day means its end. */
function endOf(text: string): number {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text.trim())
  try {
    const { seconds } = parseTimeTarget(day ? `${text.trim()} 23:59:59` : text)
    return Math.ceil(day ? seconds + 1 : seconds)
  } catch (cause) {
    throw new PgtsError('option-invalid-value', `until=${text} is not a time`, {
      hints: ["use a day (2027-01-31) or a time ('2027-01-31 23:15:07+01'); without an offset it is local time"],
      cause,
    })
  }
}

/** @param change the new pins; undefined: no change in this repository */
async function inEveryRepository(
  ctx: CommandContext<'pin'> | CommandContext<'unpin'>,
  label: string,
  change: (pins: readonly Pin[], listed: ReadonlySet<string>) => readonly Pin[] | undefined,
): Promise<PinReport> {
  const { command, signal } = ctx
  await using _lock = await ctx.lock()
  const repositories = await ctx.repositories()
  const repoKeys: number[] = []
  let failed = 0
  for (const repository of repositories) {
    const { key } = repository
    try {
      if (await changeOne(ctx, repository, change)) repoKeys.push(key)
    } catch (error) {
      signal.throwIfAborted()
      failed++
      logRepositoryError(ctx, key, error)
    }
  }
  if (failed > 0) {
    throw new PgtsError('command', `${command} failed on ${failed} of ${repositories.length} repositories`, {
      hints: ['fix the errors above and run the command again'],
    })
  }
  return { label, repoKeys }
}

async function changeOne(
  ctx: CommandContext<'pin'> | CommandContext<'unpin'>,
  repository: Repository,
  change: (pins: readonly Pin[], listed: ReadonlySet<string>) => readonly Pin[] | undefined,
): Promise<boolean> {
  const { log, signal, stanza } = ctx
  await using _lease = await ctx.lease(repository)
  const info = await loadBackupInfo(repository, stanza, { log, signal })
  const { backups } = await reconcileBackupInfo(repository.storage, stanza, info, log, signal)
  const listed = new Set(backups.map((backup) => backup.label))
  const changed = change(await loadPins(repository, stanza, signal), listed)
  if (changed === undefined) return false
  await savePins(repository, stanza, changed)
  return true
}
