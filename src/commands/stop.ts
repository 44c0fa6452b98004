import { readAllLocks } from '../util/lock.ts'
import { stopFileName, writeStopFile } from '../util/stop-file.ts'
import { systemCode } from '../util/error.ts'
import type { CommandContext } from './context.ts'

export interface StopReport {
  readonly stopFile: string
  /** The stop file existed already. */
  readonly already: boolean
  /** Processes that received SIGTERM. */
  readonly signalled: readonly number[]
}

/** Prevents commands that change a repository from starting; --force terminates running ones. */
export async function stop(ctx: CommandContext<'stop'>): Promise<StopReport> {
  const { options, stanza, log } = ctx
  const { lockPath } = options
  const already = !writeStopFile(lockPath, stanza)
  if (already) log.warn(`stop file already exists for ${stanza === '' ? 'all stanzas' : `stanza ${stanza}`}`)
  const signalled = options.force ? endRunning(ctx) : []
  return { stopFile: stopFileName(lockPath, stanza), already, signalled }
}

/** A process may hold several locks and is signalled once. Only a lock that is held names a running process. */
function endRunning({ options, stanza, log }: CommandContext<'stop'>): number[] {
  const signalled = new Set<number>()
  for (const { stanza: owner, type, pid } of readAllLocks(options.lockPath)) {
    if ((stanza !== '' && owner !== stanza) || signalled.has(pid ?? 0)) continue
    if (pid === undefined) {
      log.warn(
        `the ${type} lock of stanza ${owner} is held, but its file does not name the process\nHINT: run stop again`,
      )
      continue
    }
    try {
      process.kill(pid, 'SIGTERM')
      signalled.add(pid)
      log.info({ pid }, `sent term signal to process ${pid} (${type} of stanza ${owner})`)
    } catch (error) {
      if (systemCode(error) === 'ESRCH') continue
      log.warn({ pid }, `unable to send term signal to process ${pid}: ${String(error)}`)
    }
  }
  return [...signalled]
}
