import { setMaxListeners } from 'node:events'
import type { ByteSource } from '../../util/bytes.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import { yieldToEventLoop } from '../../util/yield-to-event-loop.ts'
import { missingFile } from '../name.ts'
import type { ByteBudget } from './budget.ts'
import type { PartBuffers } from './part-buffers.ts'
import type { ObjectBody, ObjectClient, ObjectGetRequest } from './client.ts'

/** How much of a large file one request brings. */
const CHUNK_BYTES = 2 * 1024 * 1024
/** Requests ahead of the reader, for one file; memory allowing. */
const AHEAD = 6

export interface ReadPlace {
  readonly client: ObjectClient
  /** Full name in the bucket, and as messages show it. */
  readonly name: string
  readonly shown: string
  /** For chunks beyond the one that is being read. */
  readonly budget: ByteBudget
  readonly buffers: PartBuffers
  readonly signal?: AbortSignal
}

/**
 * The bytes of an object. When it is known how many are wanted and they are many, several requests bring the next ones
 * while the first are being used. Resolves when the first answer has begun, so what is missing is known at once.
 *
 * @param length undefined: to the end, with a single request
 * @throws PgtsError file-missing; from the source: file-read when the object ends before the range does
 */
export async function readObject(place: ReadPlace, offset: number, length: number | undefined): Promise<ByteSource> {
  const { client, name, signal } = place
  if (length === 0) {
    if ((await client.head(name, signal)) === undefined) throw missingFile(place.shown)
    return new BodySource(place, emptyBody, 0)
  }
  const first = length === undefined ? undefined : Math.min(length, CHUNK_BYTES)
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

/** One answer, as it comes in. */
class BodySource implements ByteSource {
  readonly #place: ReadPlace
  readonly #body: ObjectBody
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #wanted: number
  #got = 0
  #ended = false

  /** @param wanted undefined: as many bytes as the answer promises */
  constructor(place: ReadPlace, body: ObjectBody, wanted: number | undefined) {
    this.#place = place
    this.#body = body
    this.#chunks = body.chunks[Symbol.asyncIterator]()
    const promised = wanted ?? body.sizeBytes
    if (promised === undefined) throw new PgtsError('assert', `the size of ${place.shown} is not known`)
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

/** A chunk that was asked for ahead: fetched whole, so that its connection is free again. */
interface Ahead {
  readonly bytes: Promise<Buffer>
  readonly sizeBytes: number
  /** Of the budget. */
  readonly taken: number
}

/** What the reader gets at a time. */
const PIECE_BYTES = 1024 * 1024

class ReadAhead implements ByteSource {
  readonly #place: ReadPlace
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #queue: Ahead[] = []
  readonly #end: number
  /** Of the next chunk to ask for. */
  #position: number
  /** The chunk that is being read, and how far. */
  #chunk: Buffer = EMPTY
  #read = 0
  #taken = 0

  constructor(place: ReadPlace, first: ObjectBody, offset: number, length: number) {
    this.#place = place
    this.#signal = place.signal === undefined ? this.#stop.signal : AbortSignal.any([place.signal, this.#stop.signal])
    // Every request ahead listens, and Node would take so many for a leak and say so on stderr.
    setMaxListeners(0, this.#signal)
    this.#position = offset + CHUNK_BYTES
    this.#end = offset + length
    this.#add(this.#collect(first, CHUNK_BYTES), CHUNK_BYTES, 0)
    this.#askAhead()
  }

  async next(): Promise<Uint8Array | undefined> {
    this.#place.signal?.throwIfAborted()
    // Whoever decompresses what is here already never waits, and the requests ahead need the event loop.
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

  /** As many requests as memory allows; one always, when none is under way. */
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
    // Whoever gets there hears of a failure; until then it is not unhandled.
    bytes.catch(() => undefined)
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
    // A chunk of full size is the whole of its buffer.
    this.#place.buffers.giveBack(this.#chunk, CHUNK_BYTES)
    this.#chunk = EMPTY
    this.#read = 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new PgtsError('term', `${this.#place.shown} is not read any further`))
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
      ? `${place.shown} ends ${wanted - got} bytes before the range that was asked for`
      : `${place.shown} gave ${got - wanted} bytes more than were asked for`,
  )
}

/** A missing object is reported in the words of every driver; what the store said is the cause. */
async function getObject({ client, name, shown }: ReadPlace, request: ObjectGetRequest): Promise<ObjectBody> {
  try {
    return await client.get(name, request)
  } catch (error) {
    throw isPgtsError(error, 'file-missing') ? missingFile(shown, error) : error
  }
}
