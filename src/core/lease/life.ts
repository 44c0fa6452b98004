import type { HostPlace, Lease } from './lease-file.ts'

/** No sign of life for this long, and a person may take the holder for dead. */
export const STALE_MS = 10 * 60_000

/**
 * `dead`: proven; `stale`: nothing was heard of it for long; `alive`: it may well be.
 */
export type Life = 'alive' | 'stale' | 'dead'

/**
 * @param here where the asking process is, which holds the flocks of the stanza; undefined: it does not
 */
export function lifeOf(
  found: { readonly lease?: Lease; readonly lastSignMs: number },
  here: HostPlace | undefined,
  nowMs: number,
): Life {
  const stale = nowMs - found.lastSignMs > STALE_MS
  const there = found.lease?.place
  if (here !== undefined && there !== undefined && here.machine === there.machine) {
    // Under the same kernel the same directory has the same flocks, and those of the holder are free.
    if (here.boot === there.boot && here.lockPath === there.lockPath) return 'dead'
    // Nothing survives a boot. Copies of one machine may run at once, so silence must agree.
    if (here.boot !== there.boot && stale) return 'dead'
  }
  return stale ? 'stale' : 'alive'
}

/** Are the two under one kernel, where flocks would keep them apart if they used the same ones? */
export function isUnderOtherLockPath(there: HostPlace | undefined, here: HostPlace | undefined): boolean {
  if (there === undefined || here === undefined) return false
  return here.machine === there.machine && here.boot === there.boot && here.lockPath !== there.lockPath
}

/** `12 seconds`, `3 minutes`, `5 hours`, `2 days`; clocks that differ make nothing negative. */
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
