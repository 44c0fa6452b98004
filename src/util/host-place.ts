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

/** A host, as other hosts recognize it: the same after a restart, another one for a clone with another name. */
export interface HostIdentity {
  /** 32 hexadecimal digits. */
  readonly id: string
  /** Name of the host, for messages. */
  readonly name: string
}

export function hostIdentity(): HostIdentity {
  return { id: hashOf('host', machineId() ?? ''), name: hostname() }
}

/**
 * The machine id is confidential, so it is hashed. Containers often have none, or that of their
 * image; the host name or the boot id distinguishes those.
 */
function machine(boot: string): string {
  return hashOf('lease', machineId() ?? boot)
}

function hashOf(purpose: string, id: string): string {
  return createHash('sha256').update(`pgts ${purpose} ${id} ${hostname()}`).digest('hex').slice(0, 32)
}

function machineId(): string | undefined {
  try {
    return read('/etc/machine-id') || undefined
  } catch {
    return undefined
  }
}

function read(path: string): string {
  return readFileSync(path, 'utf8').trim()
}
