import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import type { ByteSink, ByteSource } from '../../util/bytes.ts'
import { fromPlainError, PgtsError } from '../../util/error.ts'
import { yieldToEventLoop } from '../../util/yield-to-event-loop.ts'
import type { ByteRange, Cancellable, CreateOptions, PendingFile } from '../driver.ts'
import { assertName } from '../name.ts'
import { PIECE_BYTES, PIECES_AHEAD, type FromStorage, type ToStorage } from './messages.ts'

/**
 * Access to a storage that another thread has open and serves (`serveStorage`). Requests, connections and retries stay
 * in that thread; bytes are exchanged as messages, which arrive even while this thread is busy.
 */
export class StoragePort implements Disposable {
  /** Statistics: number of reads and new files, and the bytes of both. */
  requests = 0
  movedBytes = 0
  /** Returned buffers, for the next writes. */
  readonly spare: ArrayBuffer[] = []
  readonly #port: MessagePort
  readonly #talks = new Map<number, (message: FromStorage) => void>()
  #lastId = 0
  #closed = false

  /** The other thread has closed the port, or has ended. */
  get closed(): boolean {
    return this.#closed
  }

  constructor(port: MessagePort) {
    this.#port = port
    port.on('message', (message: FromStorage) => this.#receive(message))
    port.once('close', () => this.#onClose())
  }

  async read(name: string, { offset, length, signal }: ByteRange & Cancellable = {}): Promise<ByteSource> {
    assertName(name)
    signal?.throwIfAborted()
    const id = this.begin()
    const source = new PortSource(this, id, signal)
    this.listen(id, (message) => source.receive(message))
    this.send({
      type: 'read',
      id,
      name,
      offset,
      length,
    })
    await source.opened
    return source
  }

  async create(name: string, { unreferenced = false, signal }: CreateOptions = {}): Promise<PendingFile> {
    assertName(name)
    signal?.throwIfAborted()
    const id = this.begin()
    const file = new PortFile(this, id, signal)
    this.listen(id, (message) => file.receive(message))
    this.send({ type: 'create', id, name, unreferenced })
    return file
  }

  /** A removal that has begun is not interrupted. */
  async remove(name: string, { signal }: Cancellable = {}): Promise<void> {
    assertName(name)
    signal?.throwIfAborted()
    const id = this.begin()
    await new Promise<void>((resolve, reject) => {
      this.listen(id, (message) => {
        this.forget(id)
        if (message.type === 'failed') reject(fromPlainError(message.error))
        else resolve()
      })
      this.send({ type: 'remove', id, name })
    })
  }

  begin(): number {
    this.requests++
    return ++this.#lastId
  }

  send(message: ToStorage, buffer?: ArrayBuffer): void {
    this.#port.postMessage(message, buffer === undefined ? [] : [buffer])
  }

  /** Handles the messages that have arrived, without returning to the event loop. */
  drain(): void {
    for (let got = receiveMessageOnPort(this.#port); got !== undefined; got = receiveMessageOnPort(this.#port))
      this.#receive(got.message as FromStorage)
  }

  listen(id: number, talk: (message: FromStorage) => void): void {
    if (this.#closed) talk(closed(id))
    else this.#talks.set(id, talk)
  }

  forget(id: number): void {
    this.#talks.delete(id)
  }

  #receive(message: FromStorage): void {
    this.#talks.get(message.id)?.(message)
  }

  #onClose(): void {
    this.#closed = true
    for (const [id, talk] of [...this.#talks]) talk(closed(id))
  }

  [Symbol.dispose](): void {
    this.#port.close()
  }
}

function closed(id: number): FromStorage {
  const message = 'the thread that has the repository open has ended'
  return { type: 'failed', id, error: { code: 'assert', message, hints: [] } }
}

/** The received pieces of one read. */
class PortSource implements ByteSource {
  /** Resolves when the read has begun. */
  readonly opened: Promise<void>
  readonly #link: StoragePort
  readonly #id: number
  readonly #signal: AbortSignal | undefined
  readonly #pieces: { readonly buffer: ArrayBuffer; readonly length: number }[] = []
  #held: ArrayBuffer | undefined
  #state: 'open' | 'done' | 'ended' = 'open'
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined
  readonly #onAbort = () => this.#abort()

  constructor(link: StoragePort, id: number, signal: AbortSignal | undefined) {
    this.#link = link
    this.#id = id
    this.#signal = signal
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.opened = this.#more().then(() => {
      if (this.#failure !== undefined) throw this.#failure.error
    })
  }

  receive(message: FromStorage): void {
    if (message.type === 'bytes') this.#pieces.push(message)
    else if (message.type === 'failed') this.#fail(fromPlainError(message.error))
    else if (message.type === 'done') this.#finish('done')
    this.#wakeUp()
  }

  next(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    // A reader that decompresses buffered bytes never waits, but the other jobs of this thread need the event loop.
    const waiting = yieldToEventLoop()
    return waiting === undefined ? this.#take() : waiting.then(() => this.#take())
  }

  #take(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    this.#signal?.throwIfAborted()
    this.#giveBack()
    if (this.#pieces.length === 0 && this.#state === 'open') this.#link.drain()
    const piece = this.#pieces.shift()
    if (piece !== undefined) {
      this.#held = piece.buffer
      this.#link.movedBytes += piece.length
      return new Uint8Array(piece.buffer, 0, piece.length)
    }
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.#state !== 'open') return undefined
    return this.#more().then(() => this.#take())
  }

  #giveBack(): void {
    const buffer = this.#held
    this.#held = undefined
    // The shorter last piece is not returned: the sender no longer waits for room.
    if (buffer?.byteLength === PIECE_BYTES) this.#link.send({ type: 'back', id: this.#id, buffer }, buffer)
  }

  #more(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve))
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#finish('done')
  }

  #abort(): void {
    if (this.#state === 'open') this.#link.send({ type: 'end', id: this.#id })
    this.#fail(this.#signal?.reason)
    this.#wakeUp()
  }

  #finish(state: 'done' | 'ended'): void {
    this.#state = state
    this.#link.forget(this.#id)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') this.#link.send({ type: 'end', id: this.#id })
    this.#finish('ended')
    this.#giveBack()
    this.#pieces.length = 0
  }
}

/** A new file: filled here in pieces, written and committed by the other thread. */
class PortFile implements PendingFile {
  readonly sink: ByteSink
  readonly #link: StoragePort
  readonly #id: number
  readonly #signal: AbortSignal | undefined
  #buffer: ArrayBuffer | undefined
  #used = 0
  /** Number of pieces that have not been returned. */
  #out = 0
  #state: 'open' | 'ending' | 'ended' = 'open'
  #committed = false
  #discarded = false
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined
  readonly #onAbort = () => this.#fail(this.#signal?.reason)

  constructor(link: StoragePort, id: number, signal: AbortSignal | undefined) {
    this.#link = link
    this.#id = id
    this.#signal = signal
    this.sink = { write: (chunk) => this.#write(chunk, 0) }
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  receive(message: FromStorage): void {
    if (message.type === 'back') {
      this.#out--
      if (this.#link.spare.length < PIECES_AHEAD) this.#link.spare.push(message.buffer)
    } else if (message.type === 'failed') return this.#fail(fromPlainError(message.error))
    else if (message.type === 'committed') this.#committed = true
    else if (message.type === 'discarded') this.#discarded = true
    this.#wakeUp()
  }

  #write(chunk: Uint8Array, from: number): void | Promise<void> {
    for (let at = from; at < chunk.length;) {
      this.#assertOpen()
      const buffer = (this.#buffer ??= this.#room())
      // The caller may reuse the chunk only after this promise has resolved.
      if (buffer === undefined) return this.#more().then(() => this.#write(chunk, at))
      const some = chunk.subarray(at, at + PIECE_BYTES - this.#used)
      new Uint8Array(buffer).set(some, this.#used)
      this.#used += some.length
      at += some.length
      if (this.#used === PIECE_BYTES) this.#sendPiece()
    }
    // A writer that compresses never waits, but the other jobs of this thread need the event loop.
    return yieldToEventLoop()
  }

  /** A buffer to fill; undefined while too many are in flight. */
  #room(): ArrayBuffer | undefined {
    if (this.#out >= PIECES_AHEAD) this.#link.drain()
    this.#assertOpen()
    if (this.#out >= PIECES_AHEAD) return undefined
    return this.#link.spare.pop() ?? new ArrayBuffer(PIECE_BYTES)
  }

  #sendPiece(): void {
    const [buffer, length] = [this.#buffer, this.#used]
    this.#buffer = undefined
    this.#used = 0
    if (buffer === undefined || length === 0) return
    this.#out++
    this.#link.movedBytes += length
    this.#link.send({ type: 'write', id: this.#id, buffer, length }, buffer)
  }

  async commit({ deferSync = false }: { deferSync?: boolean } = {}): Promise<void> {
    this.#assertOpen()
    this.#state = 'ending'
    this.#sendPiece()
    this.#link.send({ type: 'commit', id: this.#id, deferSync })
    while (!this.#committed) {
      if (this.#failure !== undefined) throw this.#failure.error
      await this.#more()
    }
    this.#end()
  }

  #assertOpen(): void {
    if (this.#failure !== undefined) throw this.#failure.error
    this.#signal?.throwIfAborted()
    if (this.#state !== 'open') throw new PgtsError('assert', 'a file was written after it was committed or discarded')
  }

  #more(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve))
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wakeUp()
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  #end(): void {
    this.#state = 'ended'
    this.#link.forget(this.#id)
    // No more bytes follow; the other thread drops its state of this file.
    this.#link.send({ type: 'end', id: this.#id })
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  /** Resolves when the other thread has discarded the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'ended') return
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#state = 'ended'
    this.#link.send({ type: 'end', id: this.#id })
    while (!this.#discarded && !this.#link.closed) await this.#more()
    this.#link.forget(this.#id)
  }
}
