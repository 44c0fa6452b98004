import type { PgtsError } from '../../../util/error.ts'
import type { PushStatus } from '../status/push-status.ts'

/** The pause after the first failure of a repository; it doubles with each further failure. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
/** Even when a call waits. */
const SHORTEST_PAUSE_MS = 500

export interface Outage {
  readonly error: PgtsError
  readonly sinceMs: number
  readonly failures: number
  readonly lastTryMs: number
  nextTryMs: number
  /** One file is being pushed there, to find out whether the repository works again. */
  probing: boolean
}

/**
 * Which repositories accept WAL. A repository that fails is left alone for a pause that grows with each failure, while
 * the others go on. Then one file is pushed there, and the others follow when it is stored.
 */
export class RepositoryHealth {
  readonly #outages = new Map<number, Outage>()
  readonly #random: () => number

  /** @param random from 0 to 1: several servers that lost one repository must not retry in step */
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

  /** That push has ended; whether it reached the repository is reported by `worked` or `failed`. */
  ended(key: number): void {
    const outage = this.#outages.get(key)
    if (outage !== undefined) outage.probing = false
  }

  worked(key: number): void {
    this.#outages.delete(key)
  }

  failed(key: number, error: PgtsError, nowMs: number): void {
    const before = this.#outages.get(key)
    // Files that were started before the first of them failed are one failure.
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

  /** A call waits: retry soon, whatever the pause. */
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

  /** When the next of them may be retried, or undefined. */
  nextTryMs(): number | undefined {
    let next: number | undefined
    for (const { probing, nextTryMs } of this.#outages.values())
      if (!probing && (next === undefined || nextTryMs < next)) next = nextTryMs
    return next
  }
}
