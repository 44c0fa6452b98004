import { archiveCommandLine } from '../core/archive/status/archive-program.ts'
import { baseName } from '../core/archive/find.ts'
import { pushWal } from '../core/archive/push/push-wal.ts'
import { readControlFile } from '../postgres/control-file.ts'
import { textToBytes } from '../util/byte-string.ts'
import { isPgtsError, PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import type { CommandContext, LauncherContext } from './context.ts'
import { resolveWalPath } from './wal-path.ts'
import type { ArchivePushReport } from './archive-push-spool.ts'

/** Store one WAL file, for `archive_command = 'pgts --stanza=main archive-push %p'`. */
export async function archivePush(
  ctx: CommandContext<'archive-push'>,
  launcher: LauncherContext,
): Promise<ArchivePushReport> {
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
    if (isPgtsError(error, 'lock-acquire')) {
      // A lock path of another user must not stop archiving; the background process cannot take its lock there.
      useSpool = false
      log.warn(
        [
          `archiving continues in the foreground and without stop files: ${error.message}`,
          ...error.hints.map((hint) => `HINT: ${hint}`),
        ].join('\n'),
      )
    } else if (options.archiveAsync) {
      // `stop` precedes stanza-delete: pushed segments may no longer exist when archiving starts again.
      const { forgetPushed } = await loadModule(() => import('../core/archive/spool/spool-owner.ts'))
      const { spoolPaths } = await loadModule(() => import('../core/archive/spool/spool-files.ts'))
      forgetPushed(spoolPaths(options.spoolPath ?? '', ctx.stanza))
    }
    if (!isPgtsError(error, 'lock-acquire')) throw error
  }
  const pgPath = options.pg[0]?.path
  const path = await resolveWalPath('archive-push', parameter, pgPath, ctx.cwd)
  const files = await ctx.cluster()

  if (useSpool) {
    const { archivePushThroughSpool } = await loadModule(() => import('./archive-push-spool.ts'))
    const spooled = await archivePushThroughSpool(ctx, launcher, path, files)
    if (spooled !== undefined) return spooled
  }
  if (options.archivePushQueueMax !== undefined) {
    const { readReadyQueue } = await loadModule(() => import('../core/archive/push/ready-queue.ts'))
    const { waitingBytes } = readReadyQueue(path.slice(0, path.lastIndexOf('/')))
    if (waitingBytes > options.archivePushQueueMax) return drop(ctx, path, waitingBytes, options.archivePushQueueMax)
  }

  // The identity of the cluster. Without the data directory the segment is compared with the repositories only.
  const control = pgPath === undefined ? undefined : await readControlFile(files, textToBytes(pgPath), { signal })
  const report = await pushWal({
    stanza: ctx.stanza,
    path,
    files,
    identity: control,
    repositories: await ctx.repositories(),
    compress: { type: options.compressType, level: options.compressLevel },
    headerCheck: options.archiveHeaderCheck,
    warnWhenArchived: options.archiveModeCheck,
    log,
    signal,
  })
  log.info({ file: report.file }, `pushed WAL file '${report.file}' to the archive`)
  return { dropped: false, ...report }
}

/** Drop the file with a warning: by archive-push-queue-max a gap in the archive is better than a full disk. */
async function drop(
  ctx: CommandContext<'archive-push'>,
  path: string,
  queueBytes: number,
  limitBytes: number,
): Promise<ArchivePushReport> {
  const { droppedWarning, GAP_HINT } = await loadModule(() => import('../core/archive/push/queue-limit.ts'))
  const file = baseName(path)
  ctx.log.warn(
    { file, queueBytes },
    `${droppedWarning(file, limitBytes)}
${GAP_HINT}`,
  )
  return { dropped: true, file, limitBytes }
}
