/** Longer requests say nothing about the clock: their answer may have been delayed by any time. */
const LONGEST_REQUEST_MS = 15 * 60_000

/**
 * The clock of the service, which signatures must follow: every answer has its time. AWS's client and the direct
 * requests share one offset, by the rules of the client.
 */
export class ServiceClock {
  /** Time of the service minus time of this host, milliseconds. */
  offsetMs: number

  constructor(offsetMs: number) {
    this.offsetMs = offsetMs
  }

  get nowMs(): number {
    return Date.now() + this.offsetMs
  }

  /**
   * @param serverTime `Date` header, or the time in the body of a refusal
   * @param sentAtMs when the request was sent, by the clock of this host
   */
  learn(serverTime: string | undefined, headers: Readonly<Record<string, string>>, sentAtMs: number): void {
    const [serverMs, nowMs] = [Date.parse(serverTime ?? ''), Date.now()]
    // An answer with an age comes from a cache.
    if (Number.isNaN(serverMs) || headers['age'] !== undefined || nowMs - sentAtMs > LONGEST_REQUEST_MS) return
    this.offsetMs = serverMs - nowMs
  }
}
