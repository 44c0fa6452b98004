import { PgtsError } from '../../util/error.ts'
import type { ByteSink } from '../../util/bytes.ts'
import { yieldToEventLoop } from '../../util/yield-to-event-loop.ts'
import type { PendingFile } from '../driver.ts'
import type { ByteBudget } from './budget.ts'
import type { ObjectClient, ObjectKind, ObjectUpload } from './client.ts'
import type { PartBuffers } from './part-buffers.ts'
import { partBytes } from './part-size.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'

/**
 * Maximum wait for the answer to the start of an upload that is discarded: the upload has to be aborted in the store.
 */
const BEGIN_GRACE_MS = 5000

export interface UploadPlace {
  readonly client: ObjectClient
  /** Full name in the bucket. */
  readonly name: ByteString
  readonly kind: ObjectKind
  /** Memory for parts in flight, beside the part that is being filled. */
  readonly budget: ByteBudget
  readonly buffers: PartBuffers
  readonly signal?: AbortSignal
}

/**
 * A file that is being uploaded. Up to one part, `commit` sends it with one PUT. Of a longer file, parts are in flight
 * while the next is being filled; the file appears when `commit` completes the upload.
 */
export class ObjectUploading implements PendingFile {
  readonly sink: ByteSink
  readonly #place: UploadPlace
  /** Cancels the requests in flight when the caller aborts, the file is discarded, or a part has failed. */
  readonly #stop = new AbortController()
  readonly #onAbort = () => this.#stop.abort(this.#place.signal?.reason)
  readonly #stopBeginning = new AbortController()
  readonly #inFlight = new Set<Promise<void>>()
  #state: 'open' | 'committing' | 'committed' | 'discarded' = 'open'
  #upload: Promise<ObjectUpload> | undefined
  #buffer: Buffer = EMPTY
  #used = 0
  /** Parts sent so far. */
  #parts = 0
  #failure: { readonly error: unknown } | undefined

  constructor(place: UploadPlace) {
    this.#place = place
    place.signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.sink = { write: (chunk) => this.#write(chunk) }
  }

  #write(chunk: Uint8Array): void | Promise<void> {
    this.#assertOpen()
    const size = this.#partBytes()
    if (this.#used + chunk.length > size) return this.#writeOn(chunk)
    this.#append(chunk, size)
    // A writer that compresses never waits, but the parts in flight need the event loop.
    return yieldToEventLoop()
  }

  async #writeOn(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      const size = this.#partBytes()
      const piece = chunk.subarray(at, at + size - this.#used)
      this.#append(piece, size)
      at += piece.length
      if (this.#used === size && at < chunk.length) await this.#sendPart()
      this.#assertOpen()
    }
  }

  #append(chunk: Uint8Array, partSize: number): void {
    const needed = this.#used + chunk.length
    if (needed > this.#buffer.length)
      this.#buffer = this.#place.buffers.grow(this.#buffer, this.#used, needed, partSize)
    this.#buffer.set(chunk, this.#used)
    this.#used = needed
  }

  #partBytes(): number {
    return partBytes(this.#parts + 1, this.#place.client.limits)
  }

  /** Sends the filled buffer as a part; waits until the budget has room for another buffer. */
  async #sendPart(): Promise<void> {
    const { client, budget } = this.#place
    while (this.#inFlight.size >= client.limits.parallelParts) await Promise.race(this.#inFlight)
    this.#assertOpen()
    const buffer = this.#buffer
    const bytes = buffer.subarray(0, this.#used)
    const partSize = this.#partBytes()
    // The part keeps the file's own buffer; the next buffer is taken from the budget that all files share.
    await budget.take(bytes.length, this.#stop.signal)
    this.#buffer = EMPTY
    this.#used = 0
    const number = ++this.#parts
    const sent = unlessAborted(this.#begun(), this.#stop.signal)
      .then((upload) => upload.part(number, bytes, this.#stop.signal))
      // Only after success: a connection that is being closed may still read the buffer.
      .then(() => this.#place.buffers.giveBack(buffer, partSize))
      .catch((error: unknown) => {
        this.#failure ??= { error }
        this.#stop.abort(error)
      })
      .finally(() => {
        this.#inFlight.delete(sent)
        budget.give(bytes.length)
      })
    this.#inFlight.add(sent)
  }

  #begun(): Promise<ObjectUpload> {
    const { client, name, kind } = this.#place
    return (this.#upload ??= client.upload(name, { kind, signal: this.#stopBeginning.signal }))
  }

  async commit(): Promise<void> {
    this.#assertOpen()
    this.#state = 'committing'
    const { client, name, kind } = this.#place
    if (this.#upload === undefined) {
      const bytes = this.#buffer.subarray(0, this.#used)
      await client.put(name, bytes, { kind, signal: this.#stop.signal })
      this.#place.buffers.giveBack(this.#buffer, this.#partBytes())
    } else {
      if (this.#used > 0) await this.#sendPart()
      await Promise.all(this.#inFlight)
      this.#assertNotFailed()
      await (await this.#upload).complete(this.#stop.signal)
    }
    this.#state = 'committed'
    this.#place.signal?.removeEventListener('abort', this.#onAbort)
    this.#buffer = EMPTY
  }

  #assertOpen(): void {
    if (this.#state !== 'open' && this.#state !== 'committing')
      throw new PgtsError('assert', `${bytesToText(this.#place.name)} was written after it was committed or discarded`)
    this.#assertNotFailed()
  }

  #assertNotFailed(): void {
    // If the caller aborted, report that, and not the error of an interrupted part.
    this.#place.signal?.throwIfAborted()
    if (this.#failure !== undefined) throw this.#failure.error
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'committed' || this.#state === 'discarded') return
    this.#state = 'discarded'
    this.#place.signal?.removeEventListener('abort', this.#onAbort)
    this.#buffer = EMPTY
    const reason = new PgtsError('term', `the upload of ${bytesToText(this.#place.name)} was discarded`)
    this.#stop.abort(reason)
    const grace = setTimeout(() => this.#stopBeginning.abort(reason), BEGIN_GRACE_MS)
    await Promise.all(this.#inFlight)
    const upload = await this.#upload?.catch(() => undefined)
    clearTimeout(grace)
    // The signal that ended the file does not cancel the abort, which has deadlines of its own. A failure (the
    // credentials may not allow it) must not replace the error that the file is discarded for: expire aborts such
    // uploads later.
    await upload?.abort().catch(() => undefined)
  }
}

const EMPTY = Buffer.alloc(0)

/** Settles as the promise does, or rejects at the abort; the promise continues. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
