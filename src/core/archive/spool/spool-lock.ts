import { closeSync, constants, readFileSync } from 'node:fs'
import { bytes, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { isAlive } from '../../../util/is-alive.ts'
import { loadModule } from '../../../util/load-module.ts'
import { isNameOf, openOwnFile } from '../../../util/own-file.ts'
import { readIfExists, removeIfExists, writeAtomic, type SpoolPaths } from './spool-files.ts'

/** A lock file of the spool, held until it is released or this process ends. */
export interface HeldFile {
  /** Is the held file still at its path? A spool that was removed and created again has another file there. */
  isStillInPlace(): boolean
  release(): void
}

/** @returns undefined when another process holds it */
export async function tryHold(path: ByteString): Promise<HeldFile | undefined> {
  const { tryLockExclusive } = await loadModule(() => import('../../../util/flock.ts'))
  const fd = openOwnFile(pathOf(path), constants.O_RDWR | constants.O_CREAT)
  if (!tryLockExclusive(fd)) {
    closeSync(fd)
    return undefined
  }
  const held = {
    isStillInPlace: () => isNameOf(pathOf(path), fd),
    // The file is not removed: otherwise two processes could hold two files of this name.
    release: () => closeSync(fd),
  }
  if (held.isStillInPlace()) return held
  held.release()
  return undefined
}

/** `push.pid`: for the launcher, which can check whether a process is alive and cannot try a lock. */
export function writePid(spool: SpoolPaths, kind: 'push' | 'get'): void {
  writeAtomic(spool, pidFileOf(spool, kind), `${process.pid}\n`)
}

export function removePid(spool: SpoolPaths, kind: 'push' | 'get'): void {
  if (readPid(spool, kind) === process.pid) removeIfExists(pidFileOf(spool, kind))
}

/** The background process, if the process of its pid file is alive. The process id may have been reused. */
export function livingPid(spool: SpoolPaths, kind: 'push' | 'get'): number | undefined {
  const pid = readPid(spool, kind)
  return pid !== undefined && isAlive(pid) ? pid : undefined
}

/** Does a background process fetch ahead? The process id of a killed process may have been reused. */
export function isFetching(spool: SpoolPaths): boolean {
  const pid = livingPid(spool, 'get')
  if (pid === undefined) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('archive-get:async')
  } catch {
    // Not Linux, or /proc is hidden: only the process id is known.
    return true
  }
}

function readPid(spool: SpoolPaths, kind: 'push' | 'get'): number | undefined {
  const text = readIfExists(pidFileOf(spool, kind))?.text.trim() ?? ''
  return /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined
}

function pidFileOf(spool: SpoolPaths, kind: 'push' | 'get'): ByteString {
  return bytes`${spool.own}/${kind}.pid`
}
