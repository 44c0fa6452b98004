import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { textPath } from './byte-string.ts'
import { hostname } from 'node:os'

/**
 * What tells this host, this boot of it and this directory of locks from all others. undefined where the system does not
 * tell; then nobody can prove that a process of this host is dead.
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
 * Its plain form is confidential: what derives from it must not lead back. Containers often have none, or that of their
 * image; the host name tells those apart, or else the boot.
 */
function machine(boot: string): string {
  let id = boot
  try {
    id = read('/etc/machine-id') || boot
  } catch {
    // As if there were none.
  }
  return createHash('sha256').update(`pgts lease ${id} ${hostname()}`).digest('hex').slice(0, 32)
}

function read(path: string): string {
  return readFileSync(path, 'utf8').trim()
}
