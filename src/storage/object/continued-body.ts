import { PgtsError } from '../../util/error.ts'
import type { ObjectBody, ObjectGetRequest } from './client.ts'
import { RetryableStoreError } from './retryable-error.ts'

export interface BodyContext {
  /** For messages: `read backup/main/...`. */
  readonly what: string
  /** Maximum wait for more bytes, milliseconds. */
  readonly timeoutMs: number
  /** Requests the rest. */
  again(request: ObjectGetRequest): Promise<ObjectBody>
  /**
   * The returned function resolves when the next attempt may begin and rejects when no attempt is left. Called again
   * after each progress.
   */
  newTries(): (failure: RetryableStoreError) => Promise<void>
}

/**
 * A body that continues with another request if an answer ends early, breaks or stalls. The attempts are counted from
 * the last progress.
 */
export class ContinuedBody implements ObjectBody {
  /** Total number of bytes of all answers. */
  readonly sizeBytes: number
  readonly version?: string
  readonly chunks: AsyncIterable<Uint8Array>
  #current: ObjectBody
  #cancelled = false

  constructor(first: ObjectBody, sizeBytes: number, request: ObjectGetRequest, context: BodyContext) {
    this.sizeBytes = sizeBytes
    if (first.version !== undefined) this.version = first.version
    this.#current = first
    this.chunks = { [Symbol.asyncIterator]: () => this.#read(request, context) }
  }

  cancel(): void {
    this.#cancelled = true
    this.#current.cancel()
  }

  async *#read(request: ObjectGetRequest, context: BodyContext): AsyncGenerator<Uint8Array> {
    const { offset = 0, signal } = request
    const { what } = context
    let got = 0
    let tryAgain: ((failure: RetryableStoreError) => Promise<void>) | undefined
    using watch = new Watch(what, context.timeoutMs, signal)
    try {
      for (;;) {
        let failure: RetryableStoreError
        try {
          const chunks = this.#current.chunks[Symbol.asyncIterator]()
          for (let step = await watch.next(chunks); step.done !== true; step = await watch.next(chunks)) {
            if (step.value.length > 0) tryAgain = undefined
            got += step.value.length
            if (got > this.sizeBytes)
              throw new PgtsError('file-read', `${what}: the answer has more bytes than announced`)
            yield step.value
          }
          if (got === this.sizeBytes) return
          failure = new RetryableStoreError(`the answer ended after ${got} of ${this.sizeBytes} bytes`)
        } catch (error) {
          signal?.throwIfAborted()
          if (this.#cancelled || !(error instanceof RetryableStoreError)) throw error
          failure = error
        }
        this.#current.cancel()
        // All announced bytes have arrived; only the end of the answer is missing.
        if (got === this.sizeBytes) return
        tryAgain ??= context.newTries()
        await tryAgain(failure)
        const { version } = this
        const rest = {
          offset: offset + got,
          length: this.sizeBytes - got,
          version,
        }
        this.#current = await context.again(signal === undefined ? rest : { ...rest, signal })
      }
    } finally {
      if (got < this.sizeBytes) this.#current.cancel()
    }
  }
}

/** Ends a wait for bytes at a timeout or at an abort; one timer and one listener for a whole body. */
class Watch implements Disposable {
  readonly #signal: AbortSignal | undefined
  readonly #timer: NodeJS.Timeout
  readonly #onAbort: () => void
  #waitingSince = 0
  #end: ((reason: unknown) => void) | undefined

  constructor(what: string, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#signal = signal
    this.#onAbort = () => this.#end?.(signal?.reason)
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    const stalled = () => new RetryableStoreError(`${what}: nothing arrived for ${(timeoutMs / 1000).toFixed(1)} s`)
    this.#timer = setInterval(
      () => {
        if (this.#end !== undefined && performance.now() - this.#waitingSince >= timeoutMs) this.#end(stalled())
      },
      Math.max(1, timeoutMs / 4),
    )
  }

  async next(chunks: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    this.#signal?.throwIfAborted()
    this.#waitingSince = performance.now()
    try {
      return await new Promise((resolve, reject) => {
        this.#end = reject
        chunks.next().then(resolve, reject)
      })
    } finally {
      this.#end = undefined
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }
}
