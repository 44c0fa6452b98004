import { readdirSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { readIfExists, removeIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'
import { lockFileOf } from '../spool/spool-owner.ts'
import { livingPid, tryHold } from '../spool/spool-lock.ts'

/**
 * An `.ok` means that a file is in every repository that was configured when it was written. The spool therefore
 * records the repositories. If others are configured (one more, or one that moved), every `.ok` is removed: pushing again
 * what the repositories have does no harm.
 *
 * @param targets the repositories as one line, without secrets; a byte string
 */
export async function claimTargets(spool: SpoolPaths, targets: string): Promise<'ours' | 'busy'> {
  if (isFor(spool, targets)) return 'ours'
  // Until it ends, the background process of the former configuration acknowledges files.
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

/** Are these the repositories of the spool? */
export function isFor(spool: SpoolPaths, targets: string): boolean {
  return readIfExists(fileOf(spool))?.text === targets
}

/** Remove every `.ok`: each file is looked up in the repositories again. */
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
    // It has ended, or belongs to another user: the lock shows whether it is running.
  }
}
