import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/log.ts'

/** This long without trouble, and the next is another incident. */
const QUIET_MS = 60_000

/** One line for a store that has trouble, however many requests meet it; and one when it is over. */
export class Incident {
  readonly #display: string
  readonly #log: Logger
  readonly #clock: Clock
  #lastMs = -Infinity
  #troubles = 0

  constructor(display: string, log: Logger, clock: Clock) {
    this.#display = display
    this.#log = log
    this.#clock = clock
  }

  /** @param what the request and its trouble, as a sentence */
  trouble(what: string, waitMs: number): void {
    this.#report(`${what}; asked again in ${Math.round(waitMs)} ms`)
  }

  /** Logged when it has passed: a refusal that stays is reported as the error of its request. */
  passedRefusal(what: string): void {
    this.#report(`${what}; it was accepted when asked again`)
  }

  #report(message: string): void {
    const now = this.#clock.nowMs()
    const fresh = now - this.#lastMs > QUIET_MS
    this.#lastMs = now
    if (fresh) {
      this.#troubles = 0
      this.#log.warn(
        `${this.#display} has trouble: ${message}\nHINT: further trouble within a minute is logged as debug`,
      )
    } else this.#log.debug(`${this.#display}: ${message}`)
    this.#troubles++
  }

  /** At the end: what it came to. */
  summary(): void {
    if (this.#troubles > 1)
      this.#log.detail(`${this.#display}: ${this.#troubles} requests of the last incident were repeated`)
  }
}
