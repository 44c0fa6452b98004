/**
 * Stores refuse signed requests whose time differs by 15 minutes; an answer cached by a proxy may be some minutes old.
 */
const MOST_SKEW_MS = 5 * 60_000

/**
 * True if the clocks of the store and of this host differ so much that the store refuses requests. Some gateways report
 * a clock error for requests that were only slow.
 *
 * @param serverTime Date header of the refusal, or the time in its body
 * @returns undefined if the store did not report its time
 */
export function clocksDiffer(serverTime: string | null | undefined, nowMs: number): boolean | undefined {
  const serverMs = Date.parse(serverTime ?? '')
  return Number.isNaN(serverMs) ? undefined : Math.abs(serverMs - nowMs) > MOST_SKEW_MS
}
