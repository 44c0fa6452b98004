import { setMaxListeners } from 'node:events'
import type { ByteSource } from '../../util/bytes.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import { yieldToEventLoop } from '../../util/yield-to-event-loop.ts'
import { missingFile } from '../name.ts'
import type { ByteBudget } from './budget.ts'
import type { PartBuffers } from './part-buffers.ts'
import type { ObjectBody, ObjectClient, ObjectGetRequest } from './client.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { markHandled } from '../../util/mark-handled.ts'

/** Size of one request of a large file. */
const CHUNK_BYTES = 2 * 1024 * 1024
/** A range of up to this size is one request: a second one would cost more than it saves. */
const WHOLE_BYTES = 4 * 1024 * 1024
/** Maximum number of read-ahead requests for one file. */
const AHEAD = 6

export interface ReadPlace {
  readonly client: ObjectClient
  /** Full name in the bucket; `shown`: the same for messages. */
  readonly name: ByteString
  readonly shown: string
  /** Memory for the chunks that are read ahead. */
  readonly budget: ByteBudget
  readonly buffers: PartBuffers
  readonly signal?: AbortSignal
}

/**
 * Reads an object. For a large range of known length, several requests read ahead while the first bytes are being used.
 * Resolves when the first answer has begun, so a missing object is reported at once.
 *
 * @param length undefined: to the end, with a single request
 * @throws PgtsError file-missing; the returned source rejects with file-read if the object ends before the range does
 */
export async function readObject(place: ReadPlace, offset: number, length: number | undefined): Promise<ByteSource> {
  const { client, name, signal } = place
  if (length === 0) {
    if ((await client.head(name, signal)) === undefined) throw missingFile(place.shown)
    return new BodySource(place, emptyBody, 0)
  }
  const first = length === undefined || length <= WHOLE_BYTES ? length : CHUNK_BYTES
  const body = await getObject(place, request(offset, first, signal))
  if (length === undefined || length === first) return new BodySource(place, body, first)
  return new ReadAhead(place, body, offset, length)
}

function request(offset: number, length: number | undefined, signal: AbortSignal | undefined): ObjectGetRequest {
  return {
    offset: offset === 0 ? undefined : offset,
    length,
    signal,
  }
}

/** The body of one answer. */
class BodySource implements ByteSource {
  readonly #place: ReadPlace
  readonly #body: ObjectBody
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #wanted: number
  #got = 0
  #ended = false

  /** @param wanted undefined: as many bytes as the answer announces */
  constructor(place: ReadPlace, body: ObjectBody, wanted: number | undefined) {
    this.#place = place
    this.#body = body
    this.#chunks = body.chunks[Symbol.asyncIterator]()
    const promised = wanted ?? body.sizeBytes
    if (promised === undefined) throw new PgtsError('assert', `the size of ${place.shown} is unknown`)
    this.#wanted = promised
  }

  async next(): Promise<Uint8Array | undefined> {
    this.#place.signal?.throwIfAborted()
    if (this.#ended) return undefined
    const step = await this.#chunks.next()
    if (step.done === true) {
      this.#ended = true
      if (this.#got !== this.#wanted) throw wrongLength(this.#place, this.#wanted, this.#got)
      return undefined
    }
    this.#got += step.value.length
    return step.value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#body.cancel()
  }
}

/** A chunk that was requested ahead: read completely, so that its connection is free again. */
interface Ahead {
  readonly bytes: Promise<Buffer>
  readonly sizeBytes: number
  /** Bytes taken from the budget. */
  readonly taken: number
}

/** Size of a piece that the reader receives. */
const PIECE_BYTES = 1024 * 1024

class ReadAhead implements ByteSource {
  readonly #place: ReadPlace
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #queue: Ahead[] = []
  readonly #end: number
  /** Offset of the next chunk to request. */
  #position: number
  /** The chunk that is being read, and the position in it. */
  #chunk: Buffer = EMPTY
  #read = 0
  #taken = 0

  constructor(place: ReadPlace, first: ObjectBody, offset: number, length: number) {
    this.#place = place
    this.#signal = place.signal === undefined ? this.#stop.signal : AbortSignal.any([place.signal, this.#stop.signal])
    // Every read-ahead request adds a listener; Node would report a leak on stderr.
    setMaxListeners(0, this.#signal)
    this.#position = offset + CHUNK_BYTES
    this.#end = offset + length
    this.#add(this.#collect(first, CHUNK_BYTES), CHUNK_BYTES, 0)
    this.#askAhead()
  }

  async next(): Promise<Uint8Array | undefined> {
    this.#place.signal?.throwIfAborted()
    // A reader that decompresses buffered bytes never waits, but the read-ahead requests need the event loop.
    await yieldToEventLoop()
    if (this.#read === this.#chunk.length) {
      this.#giveBack()
      this.#askAhead()
      const ahead = this.#queue.shift()
      if (ahead === undefined) return undefined
      this.#taken = ahead.taken
      this.#chunk = await ahead.bytes
      this.#read = 0
    }
    const piece = this.#chunk.subarray(this.#read, this.#read + PIECE_BYTES)
    this.#read += piece.length
    return piece
  }

  /** Requests as many chunks as the budget allows; always one if none is in flight. */
  #askAhead(): void {
    const { budget } = this.#place
    while (this.#position < this.#end && this.#queue.length < AHEAD) {
      const sizeBytes = Math.min(CHUNK_BYTES, this.#end - this.#position)
      const given = budget.tryTake(sizeBytes)
      if (!given && this.#queue.length > 0) return
      this.#add(this.#fetch(this.#position, sizeBytes), sizeBytes, given ? sizeBytes : 0)
      this.#position += sizeBytes
    }
  }

  #add(bytes: Promise<Buffer>, sizeBytes: number, taken: number): void {
    // Avoids an unhandled rejection; `next` awaits the promise and reports the error.
    markHandled(bytes)
    this.#queue.push({ bytes, sizeBytes, taken })
  }

  async #fetch(offset: number, length: number): Promise<Buffer> {
    return this.#collect(await getObject(this.#place, request(offset, length, this.#signal)), length)
  }

  async #collect(body: ObjectBody, length: number): Promise<Buffer> {
    const bytes = this.#place.buffers.grow(EMPTY, 0, length, CHUNK_BYTES)
    let got = 0
    const cancel = () => body.cancel()
    this.#signal.addEventListener('abort', cancel, { once: true })
    try {
      for await (const chunk of body.chunks) {
        if (got + chunk.length <= length) bytes.set(chunk, got)
        got += chunk.length
      }
    } finally {
      this.#signal.removeEventListener('abort', cancel)
    }
    if (got !== length) throw wrongLength(this.#place, length, got)
    return bytes.subarray(0, length)
  }

  #giveBack(): void {
    if (this.#taken > 0) this.#place.budget.give(this.#taken)
    this.#taken = 0
    // A full chunk occupies its whole buffer.
    this.#place.buffers.giveBack(this.#chunk, CHUNK_BYTES)
    this.#chunk = EMPTY
    this.#read = 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new PgtsError('term', `${this.#place.shown} is no longer read`))
    const left = this.#queue.splice(0)
    await Promise.allSettled(left.map(({ bytes }) => bytes))
    for (const { taken } of left) if (taken > 0) this.#place.budget.give(taken)
    this.#giveBack()
    this.#position = this.#end
  }
}

const EMPTY = Buffer.alloc(0)

const emptyBody: ObjectBody = {
  chunks: (async function* (): AsyncGenerator<Uint8Array> {})(),
  sizeBytes: 0,
  cancel: () => undefined,
}

function wrongLength(place: ReadPlace, wanted: number, got: number): PgtsError {
  return new PgtsError(
    'file-read',
    got < wanted
      ? `${place.shown} ends ${wanted - got} bytes before the end of the requested range`
      : `${place.shown} returned ${got - wanted} bytes more than requested`,
  )
}

/** Reports a missing object with the common message of all drivers; the error of the store is the cause. */
async function getObject({ client, name, shown }: ReadPlace, request: ObjectGetRequest): Promise<ObjectBody> {
  try {
    return await client.get(name, request)
  } catch (error) {
    throw isPgtsError(error, 'file-missing') ? missingFile(shown, error) : error
  }
}
