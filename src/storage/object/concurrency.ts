/** Requests that may be in flight at once, initially and at most. */
const FIRST_LIMIT = 16
const MOST = 32
const LEAST = 1
/** A burst of overload answers reduces the limit only once. */
const HOLD_MS = 1000
/**
 * Answers slower than the fastest ones by this factor mean that a queue has formed; below the second value they are
 * fast in any case.
 */
const SLOW_FACTOR = 8
const SLOW_MS = 1000

/**
 * Limits the requests that one worker has in flight: one more for each round of good answers, half as many when the
 * store reports overload, no increase while answers are much slower than the fastest. Each worker has its own limit (a
 * store sees at most process-max times 32 requests), and all limits fall together, because the store answers overload
 * to all.
 */
export class AdaptiveLimit {
  #limit: number
  readonly #most: number
  readonly #nowMs: () => number
  #busy = 0
  #fastestMs = Infinity
  #reducedMs = -Infinity
  readonly #waiting: { readonly go: () => void }[] = []

  constructor(nowMs: () => number, { first = FIRST_LIMIT, most = MOST }: { first?: number; most?: number } = {}) {
    this.#nowMs = nowMs
    this.#most = most
    this.#limit = Math.min(first, most)
  }

  /** Whole number, for messages and tests. */
  get limit(): number {
    return Math.max(LEAST, Math.floor(this.#limit))
  }

  async enter(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#busy < this.limit && this.#waiting.length === 0) {
      this.#busy++
      return
    }
    await new Promise<void>((resolve, reject) => {
      const entry = {
        go: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1)
        reject(signal?.reason as Error)
      }
      this.#waiting.push(entry)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** @param outcome duration of a good answer, or the kind of failure */
  leave(outcome: { readonly tookMs: number } | 'overloaded' | 'failed'): void {
    this.#busy--
    if (outcome === 'overloaded') this.#reduce()
    else if (outcome !== 'failed') this.#grow(outcome.tookMs)
    while (this.#waiting.length > 0 && this.#busy < this.limit) {
      this.#busy++
      this.#waiting.shift()?.go()
    }
  }

  #grow(tookMs: number): void {
    this.#fastestMs = Math.min(this.#fastestMs, tookMs)
    if (tookMs > SLOW_MS && tookMs > this.#fastestMs * SLOW_FACTOR) return
    this.#limit = Math.min(this.#most, this.#limit + 1 / this.#limit)
  }

  #reduce(): void {
    const now = this.#nowMs()
    if (now - this.#reducedMs < HOLD_MS) return
    this.#reducedMs = now
    this.#limit = Math.max(LEAST, this.#limit / 2)
  }
}
