import { awaitPush } from '../../core/archive/push/await-push.ts'
import type { PushOutcome } from '../../core/archive/push/queue-limit.ts'
import { isReady } from '../../core/archive/push/ready-queue.ts'
import { claimSpool, claimTargets, ownerDirectoryOf, spoolOwner } from '../../core/archive/spool/spool-owner.ts'
import { baseName } from '../../core/archive/find.ts'
import { removeLaunchHint } from '../../core/archive/launcher/launch-hint.ts'
import {
  inSpool,
  pathsThrough,
  prepareSpool,
  SpoolError,
  spoolPaths,
  type SpoolPaths,
} from '../../core/archive/spool/spool-files.ts'
import { livingPid } from '../../core/archive/spool/spool-lock.ts'
import type { ClusterFiles } from '../../postgres/cluster-access.ts'
import { readControlFile } from '../../postgres/control-file.ts'
import { bytesToText, decodeUtf8, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { requireLockRoom } from '../../util/lock-path.ts'
import { loadModule } from '../../util/load-module.ts'
import type { CommandContext, LauncherContext } from '../context.ts'
import { leaveHint } from '../shared/leave-hint.ts'
import { pushTargets } from './targets.ts'

/**
 * archive-push with archive-async: the background process pushes, this process waits for its result.
 *
 * @param path of the WAL file, absolute byte string
 * @returns undefined if this process must push the file itself: PostgreSQL does not wait for it (an operator runs the
 *   command), so the background process does not push it; or the spool cannot be used, which must not stop archiving
 */
export async function archivePushThroughSpool(
  ctx: CommandContext<'archive-push'>,
  launcher: LauncherContext,
  path: ByteString,
  files: ClusterFiles,
): Promise<PushOutcome | undefined> {
  const { options, stanza, log, signal } = ctx
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined) {
    throw new PgtsError('option-required', 'archive-push needs pg1-path to push in the background (archive-async)')
  }
  try {
    return await throughSpool(ctx, launcher, path, files, pgPath)
  } catch (error) {
    if (!(error instanceof SpoolError)) throw error
    signal.throwIfAborted()
    const file = baseName(path)
    log.warn({ file }, `WAL file '${bytesToText(file)}' is pushed without the spool: ${error.lines()}`)
    // The launcher must not use this spool any more.
    await removeLaunchHint(pgPath, stanza, 'archive-push')
    return undefined
  }
}

async function throughSpool(
  ctx: CommandContext<'archive-push'>,
  launcher: LauncherContext,
  path: ByteString,
  files: ClusterFiles,
  pgPath: string,
): Promise<PushOutcome | undefined> {
  const { options, stanza, log, clock, signal } = ctx
  const spool = spoolPaths(options.spoolPath ?? '', stanza)
  await inSpool(() => prepareSpool(spool))
  requireLockPath(spool, options.lockPath)
  const walPath = path.slice(0, path.lastIndexOf('/'))
  const file = baseName(path)
  if (!isReady(walPath, file)) return undefined

  const { systemId } = await readControlFile(files, textToBytes(pgPath), { signal })
  const owner = spoolOwner(systemId, pgPath)
  const deadlineMs = clock.nowMs() + options.archiveTimeout
  while ((await inSpool(() => claimSpool(spool, owner))) === 'busy') {
    if (clock.nowMs() >= deadlineMs) throw usedByAnother(options.spoolPath ?? '', stanza)
    await clock.sleep(200, signal)
  }
  // A background process with another configuration must end before its results are removed.
  const targets = pushTargets(ctx)
  while ((await inSpool(() => claimTargets(spool, targets))) === 'busy') {
    if (clock.nowMs() >= deadlineMs) throw usedByFormer(options.spoolPath ?? '')
    await clock.sleep(100, signal)
  }
  const ownerDirectory = ownerDirectoryOf(spool, owner)
  const result = await awaitPush({
    file,
    walPath,
    spool,
    owned: pathsThrough(ownerDirectory),
    timeoutMs: options.archiveTimeout,
    queueMaxBytes: options.archivePushQueueMax,
    start: () => launcher.startBackground([decodeUtf8(walPath)]),
    async explain(name) {
      const { explainWal } = await loadModule(() => import('../../core/archive/status/explain-wal.ts'))
      const { program } = ctx
      const { spoolPath, lockPath, archiveTimeout: patienceMs } = options
      const place = { stanza, program, pgPath: textToBytes(pgPath), spoolPath, lockPath }
      // Without a connection: the server waits for this process.
      return explainWal(place, name, { patienceMs, nowMs: clock.nowMs() })
    },
    logFile: `${options.logPath ?? ''}/${stanza}-archive-push-async.log`,
    clock,
    log,
    signal,
  })
  if (result.warning !== undefined) log.warn({ file }, result.warning)
  await leaveHint(ctx, launcher, pgPath, ownerDirectory)
  if (result.dropped) return { dropped: result.warning }
  log.info({ file }, `pushed WAL file '${bytesToText(file)}' to the archive asynchronously`)
  return {}
}

/** The background process needs a lock file; a running one has it. @throws SpoolError */
function requireLockPath(spool: SpoolPaths, lockPath: string): void {
  if (livingPid(spool, 'push') !== undefined) return
  try {
    requireLockRoom(lockPath)
  } catch (error) {
    throw new SpoolError(error)
  }
}

function usedByFormer(spoolPath: string): PgtsError {
  return new PgtsError(
    'lock-acquire',
    `the background process of ${spoolPath} still pushes to the repositories that were configured before`,
    {
      hints: [
        'pgts has sent it SIGTERM: check whether a repository or its file system hangs',
        'check that each configuration has its own spool-path',
      ],
    },
  )
}

function usedByAnother(spoolPath: string, stanza: string): PgtsError {
  return new PgtsError('lock-acquire', `${spoolPath} is in use by another cluster with the stanza ${stanza}`, {
    hints: [
      'two servers on this host use one stanza: check whether one is a copy with the archive_command of the other',
      'set a stanza, or at least a spool-path, for each server',
    ],
  })
}
