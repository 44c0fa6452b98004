import type { Transform } from 'node:stream'
import type { Zlib } from 'node:zlib'

/**
 * Drives one of zlib's asynchronous streams as a stage does: what goes in comes out of the same call. The library
 * works on the thread pool and stops when about one output buffer waits, so memory stays bounded whatever the ratio.
 */
export class ZlibDriver<Z extends Transform & Zlib> {
  readonly #zlib: Z
  #bytesGiven = 0
  #ended = false
  #failure: Error | undefined
  #wake: () => void = () => undefined

  /** Give the stream a `readableHighWaterMark` below its `chunkSize`, so that it pauses at each full buffer. */
  constructor(zlib: Z) {
    this.#zlib = zlib
    zlib.on('readable', () => this.#wake())
    zlib.on('end', () => {
      this.#ended = true
      this.#wake()
    })
    zlib.on('error', (error) => {
      this.#failure ??= error
      this.#wake()
    })
    // After an end or an error this has no effect; without them no other event would follow.
    zlib.on('close', () => {
      if (!this.#ended) this.#failure ??= new Error('the stream was closed')
      this.#wake()
    })
  }

  /** The library saw the end of its stream; it takes no more. */
  get ended(): boolean {
    return this.#ended
  }

  /** Input bytes that belong to the stream; what was given beyond its end is not counted. */
  get bytesTaken(): number {
    return this.#zlib.bytesWritten
  }

  /** Throws the library's error. The chunk must stay as it is until the iteration ends. */
  async *write(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
    if (this.#ended) return
    let taken = false
    this.#bytesGiven += chunk.length
    this.#zlib.write(chunk, (error) => {
      this.#failure ??= error ?? undefined
      taken = true
      this.#wake()
    })
    yield* this.#outputUntil(() => taken)
    // The stream's own 'end' event comes later than this.
    if (this.bytesTaken < this.#bytesGiven) this.#ended = true
  }

  async *end(): AsyncGenerator<Uint8Array> {
    if (this.#ended) return
    this.#zlib.end()
    yield* this.#outputUntil(() => false)
  }

  close(): void {
    this.#zlib.destroy()
  }

  async *#outputUntil(done: () => boolean): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      const output = this.#zlib.read() as Buffer | null
      if (output !== null) yield output
      else if (done() || this.#ended) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
