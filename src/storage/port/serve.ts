import type { MessagePort } from 'node:worker_threads'
import { PgtsError, toPlainError } from '../../util/error.ts'
import type { PendingFile, StorageDriver } from '../driver.ts'
import { PIECE_BYTES, PIECES_AHEAD, type FromStorage, type ToStorage } from './messages.ts'

/**
 * Lets another thread read and write files of a storage that is open here: the counterpart of `StoragePort`. When the
 * other thread closes the port or ends, its reads and files are cancelled. Disposal resolves when that is done.
 */
export function serveStorage(storage: StorageDriver, port: MessagePort): AsyncDisposable {
  return new Served(storage, port)
}

class Served implements AsyncDisposable {
  readonly #storage: StorageDriver
  readonly #port: MessagePort
  readonly #reads = new Map<number, Reading>()
  readonly #files = new Map<number, Writing>()
  readonly #ending = new Set<Promise<void>>()
  /** Returned buffers, for the next reads. */
  readonly #free: ArrayBuffer[] = []

  constructor(storage: StorageDriver, port: MessagePort) {
    this.#storage = storage
    this.#port = port
    port.on('message', (message: ToStorage) => this.#receive(message))
    port.once('close', () => this.#cancelAll())
    // The port alone must not keep this thread alive: the worker that uses it does.
    port.unref()
  }

  #receive(message: ToStorage): void {
    const { id } = message
    switch (message.type) {
      case 'read': {
        const reading = new Reading(this.#storage, message, (answer, buffer) => this.#send(answer, buffer), this.#free)
        this.#reads.set(id, reading)
        this.#track(reading.ended.then(() => void this.#reads.delete(id)))
        break
      }
      case 'create':
        this.#files.set(id, new Writing(this.#storage, message, (answer, buffer) => this.#send(answer, buffer)))
        break
      case 'write':
        this.#files.get(id)?.write(message.buffer, message.length)
        break
      case 'commit':
        this.#track(this.#files.get(id)?.commit(message.deferSync))
        break
      case 'back':
        if (this.#free.length < PIECES_AHEAD) this.#free.push(message.buffer)
        this.#reads.get(id)?.more()
        break
      case 'end':
        this.#reads.get(id)?.stop()
        this.#track(this.#files.get(id)?.discard())
        this.#files.delete(id)
        break
      case 'remove':
        this.#track(this.#remove(id, message.name))
        break
    }
  }

  async #remove(id: number, name: string): Promise<void> {
    try {
      await this.#storage.remove(name)
      this.#send({ type: 'removed', id })
    } catch (error) {
      this.#send({ type: 'failed', id, error: toPlainError(error) })
    }
  }

  #send(message: FromStorage, buffer?: ArrayBuffer): void {
    this.#port.postMessage(message, buffer === undefined ? [] : [buffer])
  }

  #track(work: Promise<void> | undefined): void {
    if (work === undefined) return
    const tracked = work.finally(() => this.#ending.delete(tracked))
    this.#ending.add(tracked)
  }

  #cancelAll(): void {
    for (const reading of this.#reads.values()) reading.stop()
    for (const file of this.#files.values()) this.#track(file.discard())
    this.#files.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#port.close()
    this.#cancelAll()
    while (this.#ending.size > 0) await Promise.all(this.#ending)
  }
}

type Send = (message: FromStorage, buffer?: ArrayBuffer) => void

/** One read: sends bytes while the other thread has room for them. */
class Reading {
  /** Never rejects. */
  readonly ended: Promise<void>
  readonly #stop = new AbortController()
  readonly #send: Send
  readonly #free: ArrayBuffer[]
  readonly #id: number
  #room = PIECES_AHEAD
  #wake: (() => void) | undefined

  constructor(storage: StorageDriver, request: Extract<ToStorage, { type: 'read' }>, send: Send, free: ArrayBuffer[]) {
    this.#send = send
    this.#free = free
    this.#id = request.id
    this.ended = this.#run(storage, request)
  }

  more(): void {
    this.#room++
    this.#wake?.()
  }

  stop(): void {
    this.#stop.abort(new PgtsError('term', 'the rest is no longer needed'))
    this.#wake?.()
  }

  async #run(
    storage: StorageDriver,
    { id, name, offset, length }: Extract<ToStorage, { type: 'read' }>,
  ): Promise<void> {
    const { signal } = this.#stop
    try {
      const range = { offset, length }
      await using source = await storage.read(name, { ...range, signal })
      this.#send({ type: 'opened', id })
      let left = length ?? Number.POSITIVE_INFINITY
      let piece: Uint8Array<ArrayBuffer> | undefined
      let used = 0
      for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
        for (let at = 0; at < chunk.length;) {
          piece ??= await this.#piece(left)
          const some = chunk.subarray(at, at + piece.length - used)
          piece.set(some, used)
          used += some.length
          at += some.length
          if (used < piece.length) continue
          left -= used
          this.#post(piece, used)
          piece = undefined
          used = 0
        }
      }
      if (piece !== undefined) this.#post(piece, used)
      this.#send({ type: 'done', id })
    } catch (error) {
      if (!signal.aborted) this.#send({ type: 'failed', id, error: toPlainError(error) })
    }
  }

  #post({ buffer }: Uint8Array<ArrayBuffer>, length: number): void {
    this.#send({ type: 'bytes', id: this.#id, buffer, length }, buffer)
  }

  /** Waits while the other thread has too many pieces. */
  async #piece(left: number): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#room === 0) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#stop.signal.throwIfAborted()
    }
    this.#room--
    if (left > 0 && left < PIECE_BYTES) return new Uint8Array(left)
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(PIECE_BYTES))
  }
}

/** One new file. Its messages are handled in the order of their arrival. */
class Writing {
  readonly #stop = new AbortController()
  readonly #send: Send
  readonly #id: number
  #file: PendingFile | undefined
  /** The last message; the next one is handled after it. */
  #last: Promise<void>
  #failed = false

  constructor(storage: StorageDriver, { id, name, unreferenced }: Extract<ToStorage, { type: 'create' }>, send: Send) {
    this.#send = send
    this.#id = id
    this.#last = Promise.resolve()
    this.#then(async () => {
      this.#file = await storage.create(name, { unreferenced, signal: this.#stop.signal })
    })
  }

  write(buffer: ArrayBuffer, length: number): void {
    this.#then(async () => {
      await this.#file?.sink.write(new Uint8Array(buffer, 0, length))
      this.#send({ type: 'back', id: this.#id, buffer }, buffer)
    })
  }

  commit(deferSync: boolean): Promise<void> {
    return this.#then(async () => {
      await this.#file?.commit({ deferSync })
      this.#send({ type: 'committed', id: this.#id })
    })
  }

  /** After a commit this only drops the state. */
  async discard(): Promise<void> {
    this.#stop.abort(new PgtsError('term', 'this file was discarded'))
    await this.#last
    try {
      await this.#file?.[Symbol.asyncDispose]()
    } catch {
      // A failure must not replace the error that the file is discarded for. The next expire removes what is left of
      // the file.
    }
    this.#send({ type: 'discarded', id: this.#id })
  }

  /** Never rejects: the first failure is sent to the other thread, and the following steps are skipped. */
  #then(step: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(async () => {
      if (this.#failed) return
      try {
        await step()
      } catch (error) {
        this.#failed = true
        if (!this.#stop.signal.aborted) this.#send({ type: 'failed', id: this.#id, error: toPlainError(error) })
      }
    })
    return this.#last
  }
}
