import { systemCode } from './error.ts'

/** Does a process with this id run on this host? The id may have been reused. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Alive, but owned by another user.
    return systemCode(error) === 'EPERM'
  }
}
