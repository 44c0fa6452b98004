import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { callHook } from '../shared/call-hook.ts'
import { withHookAfter } from '../shared/hook-after.ts'

/** What hooks receive of a run. */
export interface BackupRun {
  began: boolean
  /** Set when the backup is complete; the run can still fail. */
  report?: object
}

/** Runs `hook-backup-before`, when the lock is held. @throws PgtsError command, if it fails and is required */
export async function beforeBackup(ctx: CommandContext<'backup'>, run: BackupRun): Promise<void> {
  const { options, signal } = ctx
  run.began = true
  const result = await callHook(ctx, 'backup-before', options.hookBackupBefore, { type: options.type })
  signal.throwIfAborted()
  if (result === undefined || result.ok || !options.hookBackupRequired) return
  throw new PgtsError('command', `no backup is taken, because hook-backup-before failed: ${result.how}`, {
    hints: ['fix the hook, or set hook-backup-required=n'],
  })
}

/** Runs `hook-backup-after` when `work` has ended, also if it has failed; not if another host takes the backup. */
export function withAfterHook<Report extends object>(
  ctx: CommandContext<'backup'>,
  work: (run: BackupRun) => Promise<Report>,
): Promise<Report> {
  const run: BackupRun = { began: false }
  return withHookAfter(
    ctx,
    () => work(run),
    async ({ report, error, durationMs }) => {
      const { began, report: backup } = run
      if (!began && report !== undefined && 'skipped' in report) return undefined
      const members = { ok: error === undefined, began, backup, error, durationMs }
      return callHook(ctx, 'backup-after', ctx.options.hookBackupAfter, members)
    },
  )
}
