/**
 * Stores refuse signed requests whose time differs by 15 minutes. This limit is smaller, because the time of the store may be
 * wrong by some minutes: a proxy can have cached the response.
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
