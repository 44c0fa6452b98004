import { removeLaunchHint } from '../../core/archive/launcher/launch-hint.ts'
import { serveRequests, type ServeRequest } from '../../core/archive/resident/requests.ts'
import {
  makeResidentDirectory,
  residentLockFile,
  residentPidFile,
  writeResidentPid,
} from '../../core/archive/resident/resident-directory.ts'
import { removeIfExists } from '../../core/archive/spool/spool-files.ts'
import { tryHold } from '../../core/archive/spool/spool-lock.ts'
import { readControlFile } from '../../postgres/control-file.ts'
import { openClusterFiles } from '../../postgres/registry.ts'
import { textToBytes, type ByteString } from '../../util/byte-string.ts'
import { EXIT_CODES, PgtsError } from '../../util/error.ts'
import { every } from '../../util/every.ts'
import { silentLogger, type Logger } from '../../util/log.ts'
import { releaseMemory } from '../../util/release-memory.ts'
import { removeTreeSync } from '../../util/remove-tree.ts'
import { leaveAfter } from '../../util/stuck.ts'
import type { CommandContext, LauncherContext } from '../context.ts'
import { residentEndReasons, type ResidentEnd } from '../shared/background-end.ts'
import { isDistant, lostConnection } from '../shared/watch-hosts.ts'
import { residentPlace } from './place.ts'

const HINT_MS = 60_000
const IDLE_MS = 60_000
const TICK_MS = 1000
/** A request that hangs must not keep the process alive. */
const END_MS = 10_000

/** What a resident process does. */
export interface ResidentWork extends Pick<ServeRequest, 'handle'> {
  /** Called once a second with the directory of the process. */
  readonly tick?: (directory: ByteString) => void
}

/**
 * The process that answers synchronous calls of one cluster with one set of options. There is one for each directory; a
 * second one ends at once.
 *
 * @param key of the caller: if the options of this process lead to another one, the caller must not wait for it
 */
export async function serveResident(
  ctx: CommandContext<'archive-push'> | CommandContext<'archive-get'>,
  launcher: LauncherContext,
  { handle, tick }: ResidentWork,
): Promise<void> {
  const { options, log, clock, signal, stanza, command } = ctx
  const [key] = ctx.parameters
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined || key === undefined) {
    throw new PgtsError('option-required', `${command}:async without archive-async needs pg1-path and a key`)
  }
  const outdated = residentEndReasons(pgPath, launcher.configLooked)
  let end: ResidentEnd | undefined
  const lost = isDistant(options.repo) ? lostConnection(await ctx.repositories()) : () => undefined
  const files = await openClusterFiles({ kind: 'local', versionForce: options.pgVersionForce })
  const { systemId } = await readControlFile(files, textToBytes(pgPath), { signal })
  const place = residentPlace(ctx, launcher, { systemId, pgPath })
  if (place.key !== key) {
    log.info('ended because the configuration has changed')
    return
  }
  const { spool, directory } = place
  makeResidentDirectory(directory)
  const lock = await tryHold(residentLockFile(directory))
  if (lock === undefined) {
    log.info('another resident process is already running')
    return
  }
  // Without a hint the next call starts Node, which checks what the launcher cannot.
  using _hintTimer = every(HINT_MS, () => void removeLaunchHint(pgPath, stanza, command))
  using _tickTimer = tick === undefined ? undefined : every(TICK_MS, () => tick(directory))
  try {
    writeResidentPid(spool, directory, process.pid)
    const why = await serveRequests({
      directory,
      handle,
      endReason: () => (lock.isStillInPlace() ? ((end = outdated())?.why ?? lost()) : 'the spool was removed'),
      idleMs: IDLE_MS,
      onQuiet: releaseMemory,
      onEnd: () => leaveAfter(END_MS, EXIT_CODES.assert),
      clock,
      log,
      signal,
    })
    log.info(`ended because ${why}`)
  } finally {
    // After a stop of the server a restore may be emptying the spool, and pgbackrest fails if a file is gone that it has just listed.
    if (lock.isStillInPlace() && end?.ofServer !== true) {
      // In this order: a launcher that does not find the process id does not wait.
      removeIfExists(residentPidFile(directory))
      removeTreeSync(directory)
    }
    lock.release()
  }
}

/** The caller of a resident process sees no warning: a warning is thrown, so that Node handles the call and logs it. */
export function strictLog(): Logger {
  const refuse = (first: string | object, second?: string): never => {
    throw new PgtsError('assert', typeof first === 'string' ? first : (second ?? ''))
  }
  return { ...silentLogger, warn: refuse, error: refuse, enabled: (level) => level === 'warn' || level === 'error' }
}
