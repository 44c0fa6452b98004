import { systemCode } from './error.ts'

/** Does this process live on this host? It may be another that has the number by chance. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Not ours to signal, but alive.
    return systemCode(error) === 'EPERM'
  }
}
