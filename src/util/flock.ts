import { constants } from 'node:os'
import { requireModule } from './load-module.ts'

/**
 * `flock(2)`, which Node does not offer. It is a lock of the open file: it dies with the process, whatever kills it,
 * and it excludes pgBackRest, which uses the same call. See docs/decisions/0004-locks.md.
 *
 * @returns false when another process holds the lock
 */
export function tryLockExclusive(fd: number): boolean {
  return tryLock(fd, LOCK_EX)
}

/** As `tryLockExclusive`, beside others that hold it shared. Of a lock that this process holds it changes the kind. */
export function tryLockShared(fd: number): boolean {
  return tryLock(fd, LOCK_SH)
}

function tryLock(fd: number, operation: number): boolean {
  const { call, errno } = loadFlock()
  for (;;) {
    if (call(fd, operation | LOCK_NB) === 0) return true
    const why = errno()
    if (why === constants.errno.EINTR) continue
    if (why === constants.errno.EWOULDBLOCK || why === constants.errno.EAGAIN) return false
    const name = Object.entries(constants.errno).find(([, number]) => number === why)?.[0] ?? `errno ${why}`
    throw Object.assign(new Error(`flock failed: ${name}`), { code: name })
  }
}

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4

interface Flock {
  call(fd: number, operation: number): number
  errno(): number
}

let flock: Flock | undefined

/** Loaded when the first lock is asked for: 15 ms that `version` and `archive-push` do not pay. */
function loadFlock(): Flock {
  if (flock !== undefined) return flock
  const koffi = requireModule<typeof import('koffi')>('koffi')
  // Every libc exports flock, and the process has one loaded already.
  flock = { call: koffi.load(null).func('int flock(int fd, int operation)'), errno: () => koffi.errno() }
  return flock
}
