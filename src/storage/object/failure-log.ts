import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/log.ts'
import { OUTAGE_REPORT_MS } from '../../util/outage-log.ts'

/** After this long without a failed request, the next failure is reported as a new outage. */
const QUIET_MS = 60_000

/**
 * Logs failed requests to a store: one warning when an outage begins, however many requests fail, and one a minute
 * while a request is being repeated. All other failures are logged as debug.
 */
export class FailureLog {
  /** `repo1: s3://bucket` */
  readonly #store: string
  readonly #log: Logger
  readonly #clock: Clock
  #lastMs = -Infinity
  #reportedMs = -Infinity
  #failures = 0

  constructor(store: string, log: Logger, clock: Clock) {
    this.#store = store
    this.#log = log
    this.#clock = clock
  }

  /**
   * Logs a failed attempt that is going to be repeated.
   *
   * @param what the request and its last error: `cannot write a: 503 Slow Down`
   * @param failingMs since the first attempt of this request began
   */
  failed(what: string, waitMs: number, failingMs: number): void {
    const next = `next attempt in ${Math.round(waitMs / 100) / 10} s`
    if (failingMs < OUTAGE_REPORT_MS) return this.#report(`: ${what}; ${next}`)
    const minutes = Math.floor(failingMs / 60_000)
    const due = this.#clock.nowMs() - this.#reportedMs >= OUTAGE_REPORT_MS
    this.#report(` has been failing for ${minutes} min: ${what}; ${next}`, due)
  }

  /** Logs a refusal that did not recur. A lasting refusal is reported as the error of its request. */
  passedRefusal(what: string): void {
    this.#report(`: ${what}; a later attempt was accepted`)
  }

  #report(message: string, due = false): void {
    const now = this.#clock.nowMs()
    const fresh = now - this.#lastMs > QUIET_MS
    this.#lastMs = now
    if (fresh) this.#failures = 0
    this.#failures++
    if (!fresh && !due) return this.#log.debug(`${this.#store}${message}`)
    this.#reportedMs = now
    const hint = due
      ? ''
      : '\nHINT: further failures are logged as debug, and every minute while one request is repeated'
    this.#log.warn({ outage: this.#store }, `${this.#store}${message}${hint}`)
  }

  /** Logs the number of repeated requests, at the end. */
  summary(): void {
    if (this.#failures > 1)
      this.#log.detail(`${this.#store}: ${this.#failures} requests of the last outage were repeated`)
  }
}
