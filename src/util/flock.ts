import { constants } from 'node:os'
import { nativeFunction } from './native.ts'

/**
 * `flock(2)`, which Node does not provide. The lock belongs to the open file: the kernel releases it when the process
 * ends, and it excludes pgBackRest, which uses the same call. See docs/decisions/0004-locks.md.
 *
 * @returns false when another process holds the lock
 */
export function tryLockExclusive(fd: number): boolean {
  return tryLock(fd, LOCK_EX)
}

/** As `tryLockExclusive`, but a shared lock. Converts a lock that this process holds. */
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

const loadFlock = nativeFunction('int flock(int fd, int operation)')
