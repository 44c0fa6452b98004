import { archiveCommandLine } from '../core/archive/status/archive-program.ts'
import { baseName } from '../core/archive/find.ts'
import type { PushOutcome } from '../core/archive/push/queue-limit.ts'
import type { Repository } from '../core/repository.ts'
import { openClusterFiles } from '../postgres/registry.ts'
import { parentOf, textToBytes, type ByteString } from '../util/byte-string.ts'
import { isPgtsError, PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { excessOf, pushFileOf } from './archive-push/push-now.ts'
import type { CommandContext, LauncherContext } from './context.ts'
import { refuseCopy } from './shared/refuse-copy.ts'
import { resolveWalPath } from './shared/wal-path.ts'

/** Store one WAL file, for `archive_command = 'pgts --stanza=main archive-push %p'`. */
export async function archivePush(ctx: CommandContext<'archive-push'>, launcher: LauncherContext): Promise<void> {
  if (ctx.options.hookArchiveFailure === undefined) {
    await push(ctx, launcher)
    return
  }
  const { withOutageHook } = await loadModule(() => import('./archive-push/outage.ts'))
  await withOutageHook(ctx, launcher, () => push(ctx, launcher))
}

async function push(ctx: CommandContext<'archive-push'>, launcher: LauncherContext): Promise<PushOutcome> {
  const { options, log } = ctx
  const [parameter, ...more] = ctx.parameters
  if (parameter === undefined || more.length > 0) {
    throw new PgtsError('param-required', 'archive-push needs the path of one WAL file', {
      hints: [archiveCommandLine(ctx)],
    })
  }
  let useSpool = options.archiveAsync
  let useResident = options.archiveResident && !options.archiveAsync
  try {
    await ctx.refuseWhenStopped()
  } catch (error) {
    if (!isPgtsError(error, 'lock-acquire')) {
      if (options.archiveAsync) await forgetPushedFiles(ctx)
      throw error
    }
    // A lock path of another user must not stop archiving; the background process cannot take its lock there.
    useSpool = false
    useResident = false
    const message = `archiving continues in the foreground and without stop files: ${error.message}`
    log.warn([message, ...error.hints.map((hint) => `HINT: ${hint}`)].join('\n'))
  }
  const pgPath = options.pg[0]?.path
  const path = await resolveWalPath('archive-push', parameter, pgPath, ctx.cwd)
  await refuseCopy(ctx, [textToBytes(pgPath ?? ctx.cwd), parentOf(parentOf(path))])

  if (useSpool) {
    const { archivePushThroughSpool } = await loadModule(() => import('./archive-push/spool.ts'))
    const outcome = await archivePushThroughSpool(
      ctx,
      launcher,
      path,
      await openClusterFiles({ kind: 'local', versionForce: ctx.options.pgVersionForce }),
    )
    if (outcome !== undefined) return outcome
  }
  const queueBytes = await excessOf(ctx, path)
  if (queueBytes !== undefined) return drop(ctx, path, queueBytes)
  const { report, identity } = await pushFileOf(ctx, path, ctx)
  log.info({ file: report.file }, `pushed WAL file '${report.file}' to the archive`)
  // A server archives a history file when it becomes the primary, so other calls need not look for the record.
  if (report.file.endsWith('.history')) await recordPrimary(ctx, await ctx.repositories())
  // A process that answers calls would have to write what this one has logged.
  if (!useResident || identity === undefined || pgPath === undefined || log.enabled('info')) return {}
  const { offerPush } = await loadModule(() => import('./archive-resident/push.ts'))
  await offerPush(ctx, launcher, path, { systemId: identity.systemId, pgPath }, report)
  return {}
}

async function recordPrimary(ctx: CommandContext<'archive-push'>, repositories: readonly Repository[]): Promise<void> {
  const { recordArchivingHost } = await loadModule(() => import('./shared/record-host.ts'))
  await recordArchivingHost(ctx, repositories)
}

/** `stop` precedes stanza-delete: pushed segments may no longer exist when archiving starts again. */
async function forgetPushedFiles({ options, stanza }: CommandContext<'archive-push'>): Promise<void> {
  const { forgetPushed } = await loadModule(() => import('../core/archive/spool/spool-owner.ts'))
  const { spoolPaths } = await loadModule(() => import('../core/archive/spool/spool-files.ts'))
  forgetPushed(spoolPaths(options.spoolPath ?? '', stanza))
}

/** Drop the file with a warning: a gap in the archive is then better than a full disk. */
async function drop(
  { options, log }: CommandContext<'archive-push'>,
  path: ByteString,
  queueBytes: number,
): Promise<PushOutcome> {
  const { droppedWarning, GAP_HINT } = await loadModule(() => import('../core/archive/push/queue-limit.ts'))
  const file = baseName(path)
  const dropped = droppedWarning(file, options.archivePushQueueMax ?? 0)
  log.warn({ file, queueBytes }, `${dropped}\n${GAP_HINT}`)
  return { dropped }
}
