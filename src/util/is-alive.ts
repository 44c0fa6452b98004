import { systemCode } from './error.ts'

/** True if a process with this id runs on this host. The id may have been reused. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Alive, but owned by another user.
    return systemCode(error) === 'EPERM'
  }
}
