import type { Writable } from 'node:stream'
import { encodeFrame, HEADER_BYTES, writeHeader, type FrameHead } from './frame.ts'
import { MOST_PAYLOAD } from './limits.ts'

/** Messages and bodies wait while more than this is queued. Credit and answers to pings do not: they are few. */
const QUEUE_BYTES = 1024 * 1024
/** Buffers that are kept for the next bodies. */
const MOST_SPARE = 8

/** The frames that this end sends. One write takes all frames of a turn of the event loop. */
export class Output {
  /** When bytes were last accepted by the system, ms of `performance.now()`. */
  progressMs = performance.now()
  readonly #stream: Writable
  readonly #spare: Buffer[] = []
  #isCorked = false
  #waiting: (() => void)[] = []

  constructor(stream: Writable) {
    this.#stream = stream
  }

  get queuedBytes(): number {
    return this.#stream.writableLength
  }

  /** True after the end, too: nothing waits for room then. */
  get isReady(): boolean {
    return this.queuedBytes < QUEUE_BYTES || this.#isOver
  }

  get #isOver(): boolean {
    return this.#stream.writableEnded || this.#stream.destroyed
  }

  /** Resolves when there is room for a message; undefined: there is now. */
  ready(): Promise<void> | undefined {
    return this.isReady ? undefined : this.#room()
  }

  async #room(): Promise<void> {
    while (!this.isReady) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  send(head: FrameHead, payload: Uint8Array = NO_BYTES): void {
    this.#write(encodeFrame(head, payload))
  }

  /** A message in as many frames as it needs. */
  sendMessage(head: FrameHead, message: Buffer): void {
    for (let at = 0; at < message.length; at += MOST_PAYLOAD) {
      const more = at + MOST_PAYLOAD < message.length
      this.send({ ...head, more }, message.subarray(at, at + MOST_PAYLOAD))
    }
  }

  /** A buffer for `sendBuffer`: the payload begins at HEADER_BYTES. */
  takeBuffer(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(HEADER_BYTES + MOST_PAYLOAD)
  }

  /** Sends the payload in a buffer of `takeBuffer`, and keeps the buffer for later. */
  sendBuffer(head: FrameHead, buffer: Buffer, payloadBytes: number): void {
    writeHeader(buffer, head, payloadBytes)
    this.#write(buffer.subarray(0, HEADER_BYTES + payloadBytes), () => this.giveBack(buffer))
  }

  giveBack(buffer: Buffer): void {
    if (this.#spare.length < MOST_SPARE) this.#spare.push(buffer)
  }

  /** Resolves when everything has been sent and the output has ended, or failed. */
  end(): Promise<void> {
    this.#uncork()
    return new Promise((resolve) => {
      if (this.#stream.destroyed) return resolve()
      this.#stream.once('close', resolve)
      this.#stream.end(resolve)
    })
  }

  /** What waits for room must not wait for ever. */
  wakeAll(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  #write(frame: Buffer, written?: () => void): void {
    if (this.#isOver) return
    if (!this.#isCorked) {
      this.#isCorked = true
      // The queue was empty: the time without progress begins now.
      if (this.queuedBytes === 0) this.progressMs = performance.now()
      this.#stream.cork()
      setImmediate(() => this.#uncork())
    }
    this.#stream.write(frame, (error) => {
      written?.()
      if (error) return
      this.progressMs = performance.now()
      if (this.isReady) this.wakeAll()
    })
  }

  #uncork(): void {
    if (!this.#isCorked) return
    this.#isCorked = false
    this.#stream.uncork()
  }
}

const NO_BYTES = new Uint8Array()
