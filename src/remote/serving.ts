import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { BodyReceiver, type SharedCredit } from './body-receiver.ts'
import type { Connection, Handler } from './connection.ts'
import { shownBytes } from './errors.ts'
import { MOST_PAYLOAD, MOST_STREAMS } from './limits.ts'
import type { Message } from './messages.ts'
import type { Output } from './output.ts'
import { ServedStream } from './served.ts'
import { decodeValue, type Value } from './value.ts'

export interface ServingParts {
  readonly connection: Connection
  readonly output: Output
  readonly shared: SharedCredit
  /** The only verb until it has been answered. */
  readonly opensWith: string | undefined
  /** The request of a stream has been answered. */
  readonly onAnswered: (requestBytes: number) => void
}

/** The requests that the other end sends. */
export class Serving {
  readonly #parts: ServingParts
  readonly #handlers = new Map<string, Handler>()
  readonly #streams = new Map<number, ServedStream>()
  readonly #running = new Set<Promise<void>>()
  #lastId = 0
  #isOpen: boolean

  constructor(parts: ServingParts) {
    this.#parts = parts
    this.#isOpen = parts.opensWith === undefined
  }

  add(handlers: readonly Handler[]): void {
    for (const handler of handlers) {
      if (this.#handlers.has(handler.name)) throw new PgtsError('assert', `two handlers serve '${handler.name}'`)
      this.#handlers.set(handler.name, handler)
    }
  }

  /** The stream of a received frame; undefined if it is closed. @throws protocol if it was never opened */
  find(id: number): ServedStream | undefined {
    if (id > this.#lastId) throw new PgtsError('protocol', `stream ${id} was not opened`)
    return this.#streams.get(id)
  }

  /** @throws protocol */
  start({ stream: id, body: hasBody, bytes }: Message): void {
    if (id <= this.#lastId) throw new PgtsError('protocol', `stream ${id} was opened before`)
    if (this.#streams.size >= MOST_STREAMS)
      throw new PgtsError('protocol', `more than ${MOST_STREAMS} streams are open`)
    const { output, shared, connection, onAnswered, opensWith } = this.#parts
    const request = decodeValue(bytes)
    const [verb, fields] = Array.isArray(request) && request.length === 2 ? (request as readonly Value[]) : []
    if (typeof verb !== 'string' || fields === undefined)
      throw new PgtsError('protocol', 'a request is not a verb and its fields')
    if (!this.#isOpen && (verb !== opensWith || this.#streams.size > 0 || bytes.length > MOST_PAYLOAD))
      throw new PgtsError('protocol', `the first request is not '${opensWith}' alone`)
    this.#lastId = id
    const stream = new ServedStream(id, fields, {
      connection,
      output,
      body: hasBody ? new BodyReceiver(output, shared, id) : undefined,
      onClose: () => {
        this.#streams.delete(id)
        onAnswered(bytes.length)
      },
    })
    this.#streams.set(id, stream)
    this.#run(stream, this.#handlers.get(verb) ?? unknownVerb(verb))
  }

  /** All requests are cancelled. */
  lose(error: unknown): void {
    for (const stream of this.#streams.values()) stream.lose(error)
  }

  /** Resolves when no handler is running. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #run(stream: ServedStream, handler: Handler | PgtsError): void {
    const run = stream.run(handler).then(() => {
      this.#running.delete(run)
      if (stream.hasSucceeded) this.#isOpen = true
    })
    this.#running.add(run)
  }
}

function unknownVerb(verb: string): PgtsError {
  const shown = bytesToText(shownBytes(Buffer.from(verb)))
  return new PgtsError('protocol', `the verb '${shown}' is not known`)
}
