import type { Readable } from 'node:stream'
import { withCode } from './connect.ts'

/**
 * The bytes of a stream, for one reader. As Node's own iterator of a stream, which costs a multiple of the CPU time of a
 * small answer: it attaches a dozen listeners to each stream. A stream that is left before its end is destroyed.
 */
export class StreamChunks implements AsyncIterableIterator<Uint8Array> {
  readonly #stream: Readable
  readonly #failure: (error: unknown) => unknown
  readonly #wake = () => this.#waiting?.()
  #waiting: (() => void) | undefined
  #listening = false

  /** @param failure converts the error of the stream */
  constructor(stream: Readable, failure: (error: unknown) => unknown = (error) => error) {
    this.#stream = stream
    this.#failure = failure
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    const stream = this.#stream
    if (!this.#listening) this.#listen()
    for (;;) {
      const chunk = stream.destroyed ? null : (stream.read() as Buffer | null)
      if (chunk !== null) return { done: false, value: chunk }
      if (stream.errored) throw this.#failure(stream.errored)
      if (stream.readableEnded) return { done: true, value: undefined }
      if (stream.destroyed) throw this.#failure(withCode('ERR_STREAM_PREMATURE_CLOSE', 'Premature close'))
      await new Promise<void>((resolve) => (this.#waiting = resolve))
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    if (!this.#stream.readableEnded) this.#stream.destroy()
    return { done: true, value: undefined }
  }

  #listen(): void {
    this.#listening = true
    // `error` needs no listener of its own: a stream that fails is closed.
    for (const event of ['readable', 'end', 'close'] as const) this.#stream.on(event, this.#wake)
  }
}
