import type { PgtsError } from '../../../util/error.ts'
import type { PushStatus } from '../status/push-status.ts'

/** The pause after the first failure of a repository; it doubles with each further failure. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
/** Minimum pause, even if a call waits. */
const SHORTEST_PAUSE_MS = 500

export interface Outage {
  readonly error: PgtsError
  readonly sinceMs: number
  readonly failures: number
  readonly lastTryMs: number
  nextTryMs: number
  /** One file is being pushed there to test whether the repository works again. */
  probing: boolean
}

/**
 * Which repositories accept WAL. A repository that fails gets no files for a pause that grows with each failure; other
 * repositories are not affected. After the pause one file is pushed there; when it is stored, the other files follow.
 */
export class RepositoryHealth {
  readonly #outages = new Map<number, Outage>()
  readonly #random: () => number

  /** @param random from 0 to 1, so that several servers do not retry at the same time */
  constructor(random: () => number) {
    this.#random = random
  }

  outageOf(key: number): Outage | undefined {
    return this.#outages.get(key)
  }

  /** May a file be pushed there now? */
  accepts(key: number, nowMs: number): boolean {
    const outage = this.#outages.get(key)
    return outage === undefined || (!outage.probing && nowMs >= outage.nextTryMs)
  }

  /** A file is being pushed there. */
  started(key: number): void {
    const outage = this.#outages.get(key)
    if (outage !== undefined) outage.probing = true
  }

  /** That push has ended; its result is reported by `worked` or `failed`. */
  ended(key: number): void {
    const outage = this.#outages.get(key)
    if (outage !== undefined) outage.probing = false
  }

  worked(key: number): void {
    this.#outages.delete(key)
  }

  failed(key: number, error: PgtsError, nowMs: number): void {
    const before = this.#outages.get(key)
    // Failures of files that were started before the pause count as one.
    const failures = before === undefined ? 1 : before.failures + (nowMs >= before.nextTryMs ? 1 : 0)
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1))
    this.#outages.set(key, {
      error,
      sinceMs: before?.sinceMs ?? nowMs,
      failures,
      lastTryMs: nowMs,
      nextTryMs: nowMs + pauseMs * (0.5 + this.#random() / 2),
      probing: false,
    })
  }

  /** A call waits: shorten all pauses. */
  hurry(nowMs: number): void {
    for (const outage of this.#outages.values())
      outage.nextTryMs = Math.min(outage.nextTryMs, Math.max(nowMs, outage.lastTryMs + SHORTEST_PAUSE_MS))
  }

  statusOf(key: number): PushStatus['repositories'][number] {
    const outage = this.#outages.get(key)
    if (outage === undefined) return { key }
    const { sinceMs, failures, nextTryMs, error } = outage
    return { key, trouble: { sinceMs, failures, nextTryMs, message: error.message } }
  }

  /** When the next repository may be retried; undefined: none fails. */
  nextTryMs(): number | undefined {
    let next: number | undefined
    for (const { probing, nextTryMs } of this.#outages.values())
      if (!probing && (next === undefined || nextTryMs < next)) next = nextTryMs
    return next
  }
}
