import type { Transform } from 'node:stream'
import type { Zlib } from 'node:zlib'

/**
 * Uses one of zlib's asynchronous streams as a stage: `write` returns the output of its input. The library works on the
 * thread pool and pauses after about one output buffer, so memory is bounded whatever the compression ratio is.
 */
export class ZlibDriver<Z extends Transform & Zlib> {
  readonly #zlib: Z
  #bytesGiven = 0
  #ended = false
  #failure: Error | undefined
  #wake: () => void = () => undefined

  /** The stream needs a `readableHighWaterMark` below its `chunkSize`, so that it pauses at each full buffer. */
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
    // Without an end or an error, 'close' is the only remaining event; after them this has no effect.
    zlib.on('close', () => {
      if (!this.#ended) this.#failure ??= new Error('the stream was closed')
      this.#wake()
    })
  }

  /** The library reached the end of its stream and accepts no more input. */
  get ended(): boolean {
    return this.#ended
  }

  /** Number of input bytes that belong to the stream, without bytes after its end. */
  get bytesTaken(): number {
    return this.#zlib.bytesWritten
  }

  /** Throws the error of the library. The chunk must not change until the iteration ends. */
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
