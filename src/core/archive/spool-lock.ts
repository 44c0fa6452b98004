import { closeSync, constants, fstatSync, lstatSync } from 'node:fs'
import { pathOf } from '../../util/byte-string.ts'
import { systemCode } from '../../util/error.ts'
import { isAlive } from '../../util/is-alive.ts'
import { loadModule } from '../../util/load-module.ts'
import { openOwnFile } from '../../util/own-file.ts'
import { readIfThere, removeIfThere, writeWhole, type SpoolPaths } from './spool-files.ts'

/** A lock file of the spool, held until released or until this process ends in whatever way. */
export interface HeldFile {
  /** Is the file that is held still the one of that name? A spool that was removed and made anew has another. */
  isStillThere(): boolean
  release(): void
}

/** @returns undefined when another process holds it */
export async function tryHold(path: string): Promise<HeldFile | undefined> {
  const { tryLockExclusive } = await loadModule(() => import('../../util/flock.ts'))
  const fd = openOwnFile(pathOf(path), constants.O_RDWR | constants.O_CREAT)
  if (!tryLockExclusive(fd)) {
    closeSync(fd)
    return undefined
  }
  const held = {
    isStillThere() {
      try {
        const named = lstatSync(pathOf(path), { bigint: true })
        const opened = fstatSync(fd, { bigint: true })
        return named.ino === opened.ino && named.dev === opened.dev
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return false
        throw error
      }
    },
    // The file stays: removing it would let two processes hold two files of one name.
    release: () => closeSync(fd),
  }
  if (held.isStillThere()) return held
  held.release()
  return undefined
}

/** `push.pid`: for the launcher, which can ask whether a process lives and cannot try a lock. */
export function writePid(spool: SpoolPaths, kind: 'push' | 'get'): void {
  writeWhole(spool, pidFileOf(spool, kind), `${process.pid}\n`)
}

export function removePid(spool: SpoolPaths, kind: 'push' | 'get'): void {
  if (readPid(spool, kind) === process.pid) removeIfThere(pidFileOf(spool, kind))
}

/** The background process, if its file names one that lives. It may be another that has its number by chance. */
export function livingPid(spool: SpoolPaths, kind: 'push' | 'get'): number | undefined {
  const pid = readPid(spool, kind)
  return pid !== undefined && isAlive(pid) ? pid : undefined
}

function readPid(spool: SpoolPaths, kind: 'push' | 'get'): number | undefined {
  const text = readIfThere(pidFileOf(spool, kind))?.text.trim() ?? ''
  return /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined
}

function pidFileOf(spool: SpoolPaths, kind: 'push' | 'get'): string {
  return `${spool.own}/${kind}.pid`
}
