import { existsSync } from 'node:fs'
import {
  claimSpool,
  forgetPushed,
  isFor,
  isOwner,
  lockFileOf,
  makeOwnerDirectory,
  ownerDirectoryOf,
  setTargets,
  spoolOwner,
} from '../core/archive/spool/spool-owner.ts'
import { pushInBackground } from '../core/archive/push/background.ts'
import { readReadyQueue } from '../core/archive/push/ready-queue.ts'
import { removeLaunchHint } from '../core/archive/launcher/launch-hint.ts'
import {
  GLOBAL,
  prepareSpool,
  spoolPaths,
  pathsThrough,
  writeSpoolError,
  type SpoolPaths,
} from '../core/archive/spool/spool-files.ts'
import { removePid, tryHold, writePid } from '../core/archive/spool/spool-lock.ts'
import { readControlFile } from '../postgres/control-file.ts'
import { openClusterFiles } from '../postgres/registry.ts'
import { textPath, textToBytes, type ByteString } from '../util/byte-string.ts'
import { EXIT_CODES, PgtsError } from '../util/error.ts'
import { every } from '../util/every.ts'
import { stopFileOf } from '../util/stop-file.ts'
import { leaveAfter } from '../util/stuck.ts'
import { endReasons } from './shared/background-end.ts'
import { recordArchivingHost } from './shared/record-host.ts'
import { refuseCopy } from './shared/refuse-copy.ts'
import type { CommandContext, LauncherContext } from './context.ts'
import { watchHosts } from './shared/watch-hosts.ts'
import { pushTargets } from './archive-push/targets.ts'

const HINT_MS = 60_000
/** The process exits after this time at the latest, so that another can replace it; hanging workers are terminated sooner. */
const END_MS = 60_000

/**
 * The background process of archive-push: pushes segments before PostgreSQL calls archive-push for them, as long as the
 * server runs. There is one for each spool; a second one ends at once.
 */
export async function archivePushAsync(ctx: CommandContext<'archive-push'>, launcher: LauncherContext): Promise<void> {
  const { options, log, stanza } = ctx
  const pgPath = options.pg[0]?.path
  const walPath = ctx.parameters[0]
  if (pgPath === undefined || options.spoolPath === undefined || walPath === undefined) {
    throw new PgtsError('option-required', 'archive-push:async needs pg1-path, spool-path and archive-async')
  }
  const spool = spoolPaths(options.spoolPath, stanza)
  prepareSpool(spool)
  const lock = await tryHold(lockFileOf(spool, 'push'))
  if (lock === undefined) {
    log.info('another background process is already pushing')
    return
  }
  try {
    await work(ctx, {
      configFiles: launcher.configFiles,
      spool,
      pgPath,
      walPath: textToBytes(walPath),
      isLocked: () => lock.isStillInPlace(),
    })
  } catch (error) {
    // Calls that wait for a file report this error.
    if (!ctx.signal.aborted) writeSpoolError(spool, spool.out, GLOBAL, error)
    throw error
  } finally {
    removePid(spool, 'push')
    lock.release()
  }
}

interface Background {
  readonly configFiles: readonly string[]
  readonly spool: SpoolPaths
  readonly pgPath: string
  readonly walPath: ByteString
  /** Is the lock file that this process holds still at its path? */
  isLocked(): boolean
}

async function work(
  ctx: CommandContext<'archive-push'>,
  { configFiles, spool, pgPath, walPath, isLocked }: Background,
): Promise<void> {
  const { options, log, clock, signal, stanza } = ctx
  await ctx.refuseWhenStopped()
  const repositories = await ctx.repositories()
  if (repositories.length === 0) throw new PgtsError('option-required', 'archive-push:async needs a repository')
  await using executor = await ctx.executor(repositories)
  // Workers start on other cores while this thread prepares the spool.
  executor.warm(waiting(walPath, spool))
  await refuseCopy(ctx, [textToBytes(pgPath)])
  const files = await openClusterFiles({ kind: 'local', versionForce: options.pgVersionForce })
  const control = await readControlFile(files, textToBytes(pgPath), { signal })
  const owner = spoolOwner(control.systemId, pgPath)
  if ((await claimSpool(spool, owner, 'push')) === 'busy') {
    throw new PgtsError('lock-acquire', `${options.spoolPath} is used by another cluster that has the same stanza`)
  }
  const targets = pushTargets(ctx)
  setTargets(spool, targets)
  const ownerDirectory = ownerDirectoryOf(spool, owner)
  makeOwnerDirectory(spool, ownerDirectory)
  const outdated = endReasons(pgPath, configFiles, clock)
  // Without a hint the next call starts Node, which checks what the launcher cannot.
  using _timer = every(HINT_MS, () => void removeLaunchHint(pgPath, stanza, 'archive-push'))
  using hosts = watchHosts(ctx, repositories)
  writePid(spool, 'push')
  await recordArchivingHost(ctx, repositories)
  const why = await pushInBackground({
    // Through the owner directory: pending writes must not reach a spool that another cluster has taken over.
    spool: pathsThrough(ownerDirectory),
    walPath,
    repoKeys: repositories.map(({ key }) => key),
    job: {
      stanza,
      identity: { systemId: control.systemId, version: control.version },
      compression: { type: options.compressType, level: options.compressLevel },
      headerCheck: options.archiveHeaderCheck,
      warnWhenArchived: options.archiveModeCheck,
    },
    executor,
    queueMaxBytes: options.archivePushQueueMax,
    batchBytes: options.archivePushBatchSize,
    timeoutMs: options.ioTimeout,
    endWhenEmpty: !existsSync(textPath(`${pgPath}/postmaster.pid`)),
    lock: () => ctx.lock(),
    lockPath: textToBytes(options.lockPath),
    endReason() {
      if (!isLocked()) return 'the spool was removed'
      if (!isOwner(spool, owner)) return 'the spool belongs to another cluster now'
      if (!isFor(spool, targets)) return 'the configured repositories have changed'
      const stop = stopFileIn(options.lockPath, stanza)
      const there = hosts.reason()
      if (stop === undefined && there?.stopped !== true) return there?.message ?? outdated()
      // `stop` precedes stanza-delete: pushed segments may no longer exist when archiving starts again.
      forgetPushed(spool)
      return stop === undefined ? there?.message : `${stop} exists`
    },
    clock,
    log,
    signal,
  }).finally(() => leaveAfter(END_MS, EXIT_CODES.assert))
  log.info(`ended because ${why}`)
}

/** A lock path that is not trusted does not stop archiving; calls that start Node warn about it. */
function stopFileIn(lockPath: string, stanza: string): string | undefined {
  try {
    return stopFileOf(lockPath, stanza)
  } catch {
    return undefined
  }
}

/** Number of waiting files; 0 if the queue cannot be read: the state machine reports that. */
function waiting(walPath: ByteString, spool: SpoolPaths): number {
  try {
    return readReadyQueue(walPath, spool.out).waiting.length
  } catch {
    return 0
  }
}
