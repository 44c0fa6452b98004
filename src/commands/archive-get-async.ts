import { readAhead } from '../core/archive/get/read-ahead.ts'
import { SegmentIndex } from '../core/archive/get/segment-index.ts'
import {
  claimSpool,
  emptyDirectory,
  isOwner,
  lockFileOf,
  makeOwnerDirectory,
  ownerDirectoryOf,
  spoolOwner,
} from '../core/archive/spool/spool-owner.ts'
import { removeLaunchHint } from '../core/archive/launcher/launch-hint.ts'
import { prepareSpool, spoolPaths, pathsThrough } from '../core/archive/spool/spool-files.ts'
import { removePid, tryHold, writePid } from '../core/archive/spool/spool-lock.ts'
import { readControlFile } from '../postgres/control-file.ts'
import { openClusterFiles } from '../postgres/registry.ts'
import { bytes, textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { every } from '../util/every.ts'
import { endReasons } from './shared/background-end.ts'
import type { CommandContext, LauncherContext } from './context.ts'
import { lostConnection } from './shared/watch-hosts.ts'

const HINT_MS = 60_000
/** Replay is one process: four threads decode faster than it reads, and each thread needs memory. */
const MOST_WORKERS = 4

/**
 * The background process of archive-get: fetches the segments that replay needs next, while the server runs and calls
 * archive-get. There is one for each spool; a second one ends at once.
 */
export async function archiveGetAsync(ctx: CommandContext<'archive-get'>, launcher: LauncherContext): Promise<void> {
  const { options, log, clock, signal, stanza } = ctx
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined || options.spoolPath === undefined) {
    throw new PgtsError('option-required', 'archive-get:async needs pg1-path and spool-path')
  }
  const spool = spoolPaths(options.spoolPath, stanza)
  prepareSpool(spool)
  const lock = await tryHold(lockFileOf(spool, 'get'))
  if (lock === undefined) {
    log.info('another background process is already fetching ahead')
    return
  }
  try {
    const control = await readControlFile(
      await openClusterFiles({ kind: 'local', versionForce: ctx.options.pgVersionForce }),
      textToBytes(pgPath),
      { signal },
    )
    const owner = spoolOwner(control.systemId, pgPath)
    if ((await claimSpool(spool, owner, 'get')) === 'busy') {
      log.info(`${options.spoolPath} is used by another cluster at the moment`)
      return
    }
    const outdated = endReasons(pgPath, launcher.configFiles, clock)
    const repositories = await ctx.repositories()
    if (repositories.length === 0) throw new PgtsError('option-required', 'archive-get:async needs a repository')
    const lost = lostConnection(repositories)
    const ownerDirectory = ownerDirectoryOf(spool, owner)
    makeOwnerDirectory(spool, ownerDirectory)
    // The origin of files there is unknown, and those of a killed process were not verified completely.
    emptyDirectory(spool.in)
    await using executor = await ctx.executor(repositories, { most: MOST_WORKERS })
    // Without a hint the next call starts Node, which checks what the launcher cannot.
    using _timer = every(HINT_MS, () => void removeLaunchHint(pgPath, stanza, 'archive-get'))
    // From here on calls in the foreground use the files of the spool.
    writePid(spool, 'get')
    const report = await readAhead({
      stanza,
      // Through the owner directory: pending writes must not reach a spool that another cluster has taken over.
      spool: pathsThrough(ownerDirectory),
      target: bytes`${owner.pgPath}/pg_wal/RECOVERYXLOG`,
      systemId: control.systemId,
      segmentSize: control.walSegmentSize,
      queueMaxBytes: options.archiveGetQueueMax,
      index: new SegmentIndex({ stanza, identity: control, repositories, clock, log }),
      executor,
      endReason() {
        if (!lock.isStillInPlace()) return 'the spool was removed'
        if (!isOwner(spool, owner)) return 'the spool belongs to another cluster now'
        return outdated() ?? lost()
      },
      clock,
      log,
      signal,
    })
    log.info(`fetched ${report.segments} segment(s) ahead, ${report.bytes} bytes; ended because ${report.reason}`)
  } finally {
    removePid(spool, 'get')
    lock.release()
  }
}
