import { RetryableStoreError } from './retryable-error.ts'

/** Slowest transfer that is still considered to make progress, bytes a millisecond. */
const SLOWEST = 64

export interface DeadlineOptions {
  /** The request, for messages: `read backup/main/...`. */
  readonly what: string
  readonly timeoutMs: number
  /** Size of the request body. */
  readonly sendBytes: number
  readonly signal: AbortSignal | undefined
}

/**
 * Runs a request, and aborts it if it makes no progress for the given time. Settles as the request does; rejects with a
 * RetryableStoreError when the time is over, and with the reason of `signal` when it is aborted, even if the request
 * ignores its signal.
 *
 * One controller and one listener: a store receives thousands of requests.
 *
 * @param request receives a signal that is valid until it answers
 */
export function withDeadline<T>(
  { what, timeoutMs, sendBytes, signal }: DeadlineOptions,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (signal?.aborted) return Promise.reject(signal.reason as Error)
  return new Promise((resolve, reject) => {
    const own = new AbortController()
    const abort = (reason: unknown) => {
      end()
      reject(reason as Error)
      own.abort(reason)
    }
    const onAbort = () => abort(signal?.reason)
    // Whole seconds: requests with the same duration share one timer of Node.
    const allowedMs = sendBytes === 0 ? timeoutMs : timeoutMs + Math.ceil(sendBytes / SLOWEST / 1000) * 1000
    const timer = setTimeout(
      () => abort(new RetryableStoreError(`${what}: no answer for ${(allowedMs / 1000).toFixed(1)} s`)),
      allowedMs,
    )
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    const run = async () => {
      try {
        resolve(await request(own.signal))
      } catch (error) {
        reject(error as Error)
      } finally {
        end()
      }
    }
    void run()
  })
}
