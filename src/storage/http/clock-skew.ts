/** Stores refuse signed requests that are 15 minutes off; an answer may be some minutes old when a proxy kept it. */
const MOST_SKEW_MS = 5 * 60_000

/**
 * Does the clock of the store differ from the one of this host so much that requests are refused for it? Some gateways
 * say so of requests that were only late.
 *
 * @param serverTime Date header of the refusal, or the time that it names
 * @returns undefined when the store did not say what time it has
 */
export function clocksDiffer(serverTime: string | null | undefined, nowMs: number): boolean | undefined {
  const serverMs = Date.parse(serverTime ?? '')
  return Number.isNaN(serverMs) ? undefined : Math.abs(serverMs - nowMs) > MOST_SKEW_MS
}
