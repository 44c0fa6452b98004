import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { textPath } from './byte-string.ts'
import { hostname } from 'node:os'

/**
 * Identifies this host, its boot and its lock directory. undefined if the system does not
 * provide it; then no process can prove that a process of this host is dead.
 */
export function hostPlace(lockPath: string): { boot: string; machine: string; lockPath: string } | undefined {
  try {
    const { dev, ino } = statSync(textPath(lockPath), { bigint: true })
    const boot = read('/proc/sys/kernel/random/boot_id')
    return { boot, machine: machine(boot), lockPath: `${dev}:${ino}` }
  } catch {
    return undefined
  }
}

/**
 * The machine id is confidential, so it is hashed. Containers often have none, or that of their
 * image; the host name or the boot id distinguishes those.
 */
function machine(boot: string): string {
  let id = boot
  try {
    id = read('/etc/machine-id') || boot
  } catch {
    // Treated as absent.
  }
  return createHash('sha256').update(`pgts lease ${id} ${hostname()}`).digest('hex').slice(0, 32)
}

function read(path: string): string {
  return readFileSync(path, 'utf8').trim()
}
