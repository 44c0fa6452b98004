import { RetryableStoreError } from './retryable-error.ts'

/** Slowest transfer that is still considered to make progress, bytes a millisecond. */
const SLOWEST = 64

/** Aborts a request that makes no progress for the given time. The request then rejects with a RetryableStoreError. */
export class Deadline implements Disposable {
  readonly signal: AbortSignal
  readonly #own = new AbortController()
  readonly #outer: AbortSignal | undefined
  readonly #what: string
  readonly #onAbort: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(what: string, signal: AbortSignal | undefined) {
    this.#what = what
    this.#outer = signal
    this.signal = this.#own.signal
    this.#onAbort = () => this.#own.abort(signal?.reason)
    if (signal?.aborted === true) this.#onAbort()
    else signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Starts the time now. @param sendBytes size of the request body */
  start(ms: number, sendBytes = 0): void {
    this.stop()
    const allowedMs = Math.ceil(ms + sendBytes / SLOWEST)
    this.#timer = setTimeout(() => {
      this.#own.abort(new RetryableStoreError(`${this.#what}: no answer for ${(allowedMs / 1000).toFixed(1)} s`))
    }, allowedMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** Settles as `promise` does, or rejects when the time is over, even if the operation ignores the signal. */
  async race<T>(promise: Promise<T>): Promise<T> {
    let onAbort: (() => void) | undefined
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(this.signal.reason as Error)
      if (this.signal.aborted) onAbort()
      else this.signal.addEventListener('abort', onAbort, { once: true })
    })
    try {
      return await Promise.race([promise, aborted])
    } catch (error) {
      // An interrupted operation rejects with various errors; report the reason of the interruption.
      if (this.signal.aborted) throw this.signal.reason
      throw error
    } finally {
      this.signal.removeEventListener('abort', onAbort!)
    }
  }

  [Symbol.dispose](): void {
    this.stop()
    this.#outer?.removeEventListener('abort', this.#onAbort)
  }
}
