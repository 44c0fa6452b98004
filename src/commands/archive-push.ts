import { archiveCommandLine } from '../core/archive/status/archive-program.ts'
import { baseName } from '../core/archive/find.ts'
import { pushWal } from '../core/archive/push/push-wal.ts'
import type { Repository } from '../core/repository.ts'
import { readControlFile } from '../postgres/control-file.ts'
import { parentOf, textToBytes, type ByteString } from '../util/byte-string.ts'
import { isPgtsError, PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import type { CommandContext, LauncherContext } from './context.ts'
import { refuseCopy } from './shared/refuse-copy.ts'
import { resolveWalPath } from './shared/wal-path.ts'

/** Store one WAL file, for `archive_command = 'pgts --stanza=main archive-push %p'`. */
export async function archivePush(ctx: CommandContext<'archive-push'>, launcher: LauncherContext): Promise<void> {
  const { options, log, signal } = ctx
  const [parameter, ...more] = ctx.parameters
  if (parameter === undefined || more.length > 0) {
    throw new PgtsError('param-required', 'archive-push needs the path of one WAL file', {
      hints: [archiveCommandLine(ctx)],
    })
  }
  let useSpool = options.archiveAsync
  try {
    await ctx.refuseWhenStopped()
  } catch (error) {
    if (!isPgtsError(error, 'lock-acquire')) {
      if (options.archiveAsync) await forgetPushedFiles(ctx)
      throw error
    }
    // A lock path of another user must not stop archiving; the background process cannot take its lock there.
    useSpool = false
    const message = `archiving continues in the foreground and without stop files: ${error.message}`
    log.warn([message, ...error.hints.map((hint) => `HINT: ${hint}`)].join('\n'))
  }
  const pgPath = options.pg[0]?.path
  const path = await resolveWalPath('archive-push', parameter, pgPath, ctx.cwd)
  await refuseCopy(ctx, [textToBytes(pgPath ?? ctx.cwd), parentOf(parentOf(path))])
  const files = await ctx.cluster()

  if (useSpool) {
    const { archivePushThroughSpool } = await loadModule(() => import('./archive-push/spool.ts'))
    if (await archivePushThroughSpool(ctx, launcher, path, files)) return
  }
  if (await dropIfTooLong(ctx, path)) return

  // The identity of the cluster. Without the data directory the segment is compared with the repositories only.
  const control = pgPath === undefined ? undefined : await readControlFile(files, textToBytes(pgPath), { signal })
  const repositories = await ctx.repositories()
  const report = await pushWal({
    stanza: ctx.stanza,
    path,
    files,
    identity: control,
    repositories,
    compression: { type: options.compressType, level: options.compressLevel },
    headerCheck: options.archiveHeaderCheck,
    warnWhenArchived: options.archiveModeCheck,
    log,
    signal,
  })
  log.info({ file: report.file }, `pushed WAL file '${report.file}' to the archive`)
  // A server archives a history file when it becomes the primary, so other calls need not look for the record.
  if (report.file.endsWith('.history')) await recordPrimary(ctx, repositories)
}

async function recordPrimary(ctx: CommandContext<'archive-push'>, repositories: readonly Repository[]): Promise<void> {
  const { recordThisHost } = await loadModule(() => import('./shared/record-host.ts'))
  await recordThisHost(ctx, repositories)
}

/** `stop` precedes stanza-delete: pushed segments may no longer exist when archiving starts again. */
async function forgetPushedFiles({ options, stanza }: CommandContext<'archive-push'>): Promise<void> {
  const { forgetPushed } = await loadModule(() => import('../core/archive/spool/spool-owner.ts'))
  const { spoolPaths } = await loadModule(() => import('../core/archive/spool/spool-files.ts'))
  forgetPushed(spoolPaths(options.spoolPath ?? '', stanza))
}

/** Drop the file with a warning if the queue is too long: a gap in the archive is then better than a full disk. */
async function dropIfTooLong({ options, log }: CommandContext<'archive-push'>, path: ByteString): Promise<boolean> {
  const limitBytes = options.archivePushQueueMax
  if (limitBytes === undefined) return false
  const { readReadyQueue } = await loadModule(() => import('../core/archive/push/ready-queue.ts'))
  const queueBytes = readReadyQueue(path.slice(0, path.lastIndexOf('/'))).waitingBytes
  if (queueBytes <= limitBytes) return false
  const { droppedWarning, GAP_HINT } = await loadModule(() => import('../core/archive/push/queue-limit.ts'))
  const file = baseName(path)
  log.warn({ file, queueBytes }, `${droppedWarning(file, limitBytes)}\n${GAP_HINT}`)
  return true
}
