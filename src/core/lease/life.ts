import type { HostPlace, Lease } from './lease-file.ts'

/** After this time without a renewal an operator may consider the holder dead. */
export const STALE_MS = 10 * 60_000

/** `dead`: proven; `stale`: no renewal for a long time; `alive`: it may be running. */
export type Life = 'alive' | 'stale' | 'dead'

/** @param here the place of this process, which holds the flocks of the stanza; undefined: it does not hold them */
export function lifeOf(
  found: { readonly lease?: Lease; readonly lastSignMs: number },
  here: HostPlace | undefined,
  nowMs: number,
): Life {
  const stale = nowMs - found.lastSignMs > STALE_MS
  const there = found.lease?.place
  if (here !== undefined && there !== undefined && here.machine === there.machine) {
    // The same kernel and directory mean the same flocks, and this process holds them, so the holder has ended.
    if (here.boot === there.boot && here.lockPath === there.lockPath) return 'dead'
    // No process survives a reboot. Copies of one virtual machine may run at once, so the renewals must have stopped,
    // too.
    if (here.boot !== there.boot && stale) return 'dead'
  }
  return stale ? 'stale' : 'alive'
}

/** True if both run under one kernel with different lock paths, so that their flocks do not exclude each other. */
export function isUnderOtherLockPath(there: HostPlace | undefined, here: HostPlace | undefined): boolean {
  if (there === undefined || here === undefined) return false
  return here.machine === there.machine && here.boot === there.boot && here.lockPath !== there.lockPath
}

/** `12 seconds`, `3 minutes`, `5 hours`, `2 days`; 0 if clocks differ. */
export function howLong(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  for (const [unit, size] of UNITS) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}s`
  }
  return seconds === 1 ? '1 second' : `${seconds} seconds`
}

const UNITS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
] as const
