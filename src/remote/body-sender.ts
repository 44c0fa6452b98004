import type { ByteSink } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { yieldToEventLoop } from '../util/yield-to-event-loop.ts'
import { FRAME, HEADER_BYTES } from './frame.ts'
import { FIRST_CREDIT, MOST_CREDIT, MOST_PAYLOAD } from './limits.ts'
import type { Output } from './output.ts'

/** The bytes that this end sends on a stream: pieces of 256 KiB, as far as the other end has given credit. */
export class BodySender implements ByteSink {
  readonly #output: Output
  readonly #stream: number
  #credit = FIRST_CREDIT
  #buffer: Buffer | undefined
  #used = 0
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(output: Output, stream: number) {
    this.#output = output
    this.#stream = stream
  }

  write(chunk: Uint8Array): void | Promise<void> {
    return this.#write(chunk, 0)
  }

  #write(chunk: Uint8Array, from: number): void | Promise<void> {
    for (let at = from; at < chunk.length;) {
      this.#assertOpen()
      // The caller may reuse the chunk only after this promise has resolved.
      if (this.#used === MOST_PAYLOAD && !this.#sendPiece()) return this.#room().then(() => this.#write(chunk, at))
      const buffer = (this.#buffer ??= this.#output.takeBuffer())
      const some = chunk.subarray(at, at + MOST_PAYLOAD - this.#used)
      buffer.set(some, HEADER_BYTES + this.#used)
      this.#used += some.length
      at += some.length
    }
    // A writer that compresses never waits, but the other streams of this connection need the event loop.
    return yieldToEventLoop()
  }

  /** As `write`, and no frame ends inside of these bytes, which are one value. */
  writeWhole(value: Uint8Array): void | Promise<void> {
    if (value.length > MOST_PAYLOAD) throw new PgtsError('assert', 'a value of a body is larger than a frame')
    if (this.#used + value.length > MOST_PAYLOAD) return this.flush().then(() => this.write(value))
    return this.write(value)
  }

  /** Sends what is left. Then END can follow. */
  async flush(): Promise<void> {
    this.#assertOpen()
    if (this.#used > 0) await this.#room()
  }

  /** @throws protocol */
  addCredit(credit: number): void {
    this.#credit += credit
    if (this.#credit > MOST_CREDIT) throw new PgtsError('protocol', 'the credit of a stream exceeds its limit')
    this.#notify()
  }

  /** Nothing more is sent; `write` and `flush` reject with this error. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    if (this.#buffer !== undefined) this.#output.giveBack(this.#buffer)
    this.#buffer = undefined
    this.#used = 0
    this.#notify()
  }

  /** Waits until the piece has been sent. */
  async #room(): Promise<void> {
    while (!this.#sendPiece()) {
      if (this.#credit < this.#used) await new Promise<void>((resolve) => (this.#wake = resolve))
      else await this.#output.ready()
      this.#assertOpen()
    }
  }

  #sendPiece(): boolean {
    if (this.#buffer === undefined) return true
    if (this.#credit < this.#used || !this.#output.isReady) return false
    this.#credit -= this.#used
    this.#output.sendBuffer({ type: FRAME.data, stream: this.#stream }, this.#buffer, this.#used)
    this.#buffer = undefined
    this.#used = 0
    return true
  }

  #assertOpen(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
