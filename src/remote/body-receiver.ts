import { PgtsError } from '../util/error.ts'
import { FRAME } from './frame.ts'
import { FIRST_CREDIT, MOST_CREDIT, MOST_PAYLOAD, SHARED_CREDIT } from './limits.ts'
import type { Output } from './output.ts'
import type { Value } from './value.ts'

/** The credit that all bodies of a connection share beyond their first part. */
export class SharedCredit {
  #left = SHARED_CREDIT

  take(most: number): number {
    const taken = Math.min(most, this.#left)
    this.#left -= taken
    return taken
  }

  giveBack(credit: number): void {
    this.#left += credit
  }
}

/** Smaller payloads are joined, because a hostile sender may send bytes one by one. */
const JOINED_BYTES = 16 * 1024
const BLOCK_BYTES = 64 * 1024
/** Credit is returned in parts of this size at least. */
const RETURNED_BYTES = 64 * 1024

/** The bytes that the other end sends on a stream. Used bytes give it credit for more. */
export class BodyReceiver {
  readonly #output: Output
  readonly #shared: SharedCredit
  readonly #stream: number
  /** The pieces of a frame that is not complete, if a frame contains whole values. */
  readonly #pieces: Buffer[] | undefined
  /** What the sender may still send. */
  #credit = FIRST_CREDIT
  #sharedCredit = 0
  /** Used, and not yet returned as credit. */
  #used = 0
  /** Bytes that the reader has. */
  #held = 0
  readonly #chunks: Buffer[] = []
  /** Unused bytes of the block that is the last chunk. */
  #room: Buffer | undefined
  #end: { readonly fields: Value } | undefined
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  /** @param whole `next` returns complete frames */
  constructor(output: Output, shared: SharedCredit, stream: number, whole = false) {
    this.#output = output
    this.#shared = shared
    this.#stream = stream
    this.#pieces = whole ? [] : undefined
  }

  /** Fields of END; undefined before `next` has returned undefined. */
  get end(): Value | undefined {
    return this.#chunks.length === 0 ? this.#end?.fields : undefined
  }

  /** @param more the frame continues. @throws protocol if the sender exceeds its credit */
  receive(payload: Buffer, more: boolean): void {
    if (payload.length > this.#credit) throw new PgtsError('protocol', 'a body exceeds the credit of its stream')
    this.#credit -= payload.length
    if (this.#failure !== undefined) return
    const isPart = this.#pieces !== undefined && (more || this.#pieces.length > 0)
    if (isPart) this.#pieces.push(payload)
    if (isPart && more) return
    this.#append(isPart ? Buffer.concat(this.#pieces.splice(0)) : payload)
    this.#notify()
  }

  finish(fields: Value): void {
    this.#end = { fields }
    this.#release()
    this.#notify()
  }

  /** What has been received and what follows is dropped; `next` rejects with this error. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = { error }
    this.#chunks.length = 0
    this.#room = undefined
    this.#release()
    this.#notify()
  }

  /** The next bytes, valid until the next call; undefined at the end. For values: whole ones. */
  next(): Buffer | undefined | Promise<Buffer | undefined> {
    this.#used += this.#held
    this.#held = 0
    if (this.#failure !== undefined) throw this.#failure.error
    const chunk = this.#chunks.shift()
    if (this.#chunks.length === 0) this.#room = undefined
    this.#returnCredit()
    if (chunk !== undefined) {
      this.#held = chunk.length
      return chunk
    }
    if (this.#end !== undefined) return undefined
    return new Promise<void>((resolve) => (this.#wake = resolve)).then(() => this.next())
  }

  #append(payload: Buffer): void {
    if (this.#chunks.length === 0 || payload.length > JOINED_BYTES) {
      this.#chunks.push(payload)
      this.#room = undefined
      return
    }
    if (this.#room === undefined || this.#room.length < payload.length) {
      this.#room = Buffer.allocUnsafeSlow(BLOCK_BYTES)
      this.#chunks.push(this.#room.subarray(0, 0))
    }
    this.#room.set(payload)
    const last = this.#chunks.at(-1)!
    this.#chunks[this.#chunks.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + payload.length)
    this.#room = this.#room.subarray(payload.length)
  }

  #returnCredit(): void {
    if (this.#end !== undefined || this.#used === 0) return
    // The first use shows that the body is longer than what is sent at once.
    if (this.#sharedCredit === 0) {
      this.#sharedCredit = this.#shared.take(MOST_CREDIT - FIRST_CREDIT)
      this.#used += this.#sharedCredit
    }
    // With less credit than a whole piece the sender may wait.
    if (this.#used < RETURNED_BYTES && (this.#chunks.length > 0 || this.#credit >= MOST_PAYLOAD)) return
    const credit = Buffer.allocUnsafe(4)
    credit.writeUInt32BE(this.#used)
    this.#output.send({ type: FRAME.credit, stream: this.#stream }, credit)
    this.#credit += this.#used
    this.#used = 0
  }

  #release(): void {
    this.#shared.giveBack(this.#sharedCredit)
    this.#sharedCredit = 0
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
