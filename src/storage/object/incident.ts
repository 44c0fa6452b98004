import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/log.ts'
import { OUTAGE_REPORT_MS } from '../../util/outage-log.ts'

/** This long without a failed request, and the next one begins another incident. */
const QUIET_MS = 60_000

/**
 * Reports a store that fails: one warning when an incident begins, however many requests fail, and one a minute as long
 * as a request is being repeated. Everything else is debug.
 */
export class Incident {
  /** `repo1: s3://bucket` */
  readonly #store: string
  readonly #log: Logger
  readonly #clock: Clock
  #lastMs = -Infinity
  #reportedMs = -Infinity
  #troubles = 0

  constructor(store: string, log: Logger, clock: Clock) {
    this.#store = store
    this.#log = log
    this.#clock = clock
  }

  /**
   * @param what the request and its last error, as a sentence
   * @param failingMs since the first attempt of this request began
   */
  trouble(what: string, waitMs: number, failingMs: number): void {
    const next = `next attempt in ${Math.round(waitMs / 100) / 10} s`
    if (failingMs < OUTAGE_REPORT_MS) return this.#report(`has trouble: ${what}; ${next}`)
    const minutes = Math.floor(failingMs / 60_000)
    const due = this.#clock.nowMs() - this.#reportedMs >= OUTAGE_REPORT_MS
    this.#report(`has been failing for ${minutes} min: ${what}; ${next}`, due)
  }

  /** Logged when it has passed: a refusal that stays is reported as the error of its request. */
  passedRefusal(what: string): void {
    this.#report(`has trouble: ${what}; it was accepted when asked again`)
  }

  #report(message: string, due = false): void {
    const now = this.#clock.nowMs()
    const fresh = now - this.#lastMs > QUIET_MS
    this.#lastMs = now
    if (fresh) this.#troubles = 0
    this.#troubles++
    if (!fresh && !due) return this.#log.debug(`${this.#store} ${message}`)
    this.#reportedMs = now
    const hint = due ? '' : '\nHINT: further trouble is logged as debug, and every minute while one request is repeated'
    this.#log.warn({ outage: this.#store }, `${this.#store} ${message}${hint}`)
  }

  /** At the end: what it came to. */
  summary(): void {
    if (this.#troubles > 1)
      this.#log.detail(`${this.#store}: ${this.#troubles} requests of the last incident were repeated`)
  }
}
