import { readdirSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { readIfExists, removeIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'
import { lockFileOf } from '../spool/spool-owner.ts'
import { livingPid, tryHold } from '../spool/spool-lock.ts'

/**
 * An `.ok` says that a file is in every repository, which means those that were configured when it was written. The
 * spool therefore notes which these are, and when others are configured (one more, or one that moved), nothing that was
 * said before counts: pushing again what is there already does no harm.
 *
 * @param targets the repositories as one line, without secrets; a byte string
 */
export async function claimTargets(spool: SpoolPaths, targets: string): Promise<'ours' | 'busy'> {
  if (isFor(spool, targets)) return 'ours'
  // Until its end the background process of the other configuration says what is done by that.
  const pid = livingPid(spool, 'push')
  const lock = await tryHold(lockFileOf(spool, 'push'))
  if (lock === undefined) {
    if (pid !== undefined) endProcess(pid)
    return 'busy'
  }
  try {
    setTargets(spool, targets)
  } finally {
    lock.release()
  }
  return 'ours'
}

/** For the process that holds push.lock. */
export function setTargets(spool: SpoolPaths, targets: string): void {
  if (isFor(spool, targets)) return
  forgetPushed(spool)
  writeAtomic(spool, fileOf(spool), targets)
}

/** Is the spool still about these repositories? */
export function isFor(spool: SpoolPaths, targets: string): boolean {
  return readIfExists(fileOf(spool))?.text === targets
}

/** Nothing counts as pushed any more: every file is looked at again in the repositories. */
export function forgetPushed(spool: SpoolPaths): void {
  let names: string[]
  try {
    names = readdirSync(pathOf(spool.out), { encoding: 'latin1' })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw error
  }
  for (const name of names) if (name.endsWith('.ok')) removeIfExists(`${spool.out}/${name}`)
}

function fileOf(spool: SpoolPaths): string {
  return `${spool.own}/push-targets`
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // It has ended meanwhile, or it is not ours to end: its lock tells.
  }
}
