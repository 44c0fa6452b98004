import type { ByteSource } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import type { BodyReceiver } from './body-receiver.ts'
import type { Call, Handler, IncomingBody } from './connection.ts'
import { nothing, type Schema } from './fields.ts'
import { encodeValue } from './value.ts'
import type { CallVerb, DownloadVerb, RowsVerb, UploadVerb } from './verb.ts'

export function onCall<Q, A>(verb: CallVerb<Q, A>, run: (request: Q, call: Call) => Promise<A>): Handler {
  return {
    name: verb.name,
    takesBody: false,
    async serve(served) {
      await served.answer(verb.answer.encode(await run(verb.request.decode(served.fields), served.call)))
    },
  }
}

/** The handler reads the body to its end, and answers when its content is safe. */
export function onUpload<Q, E, A>(
  verb: UploadVerb<Q, E, A>,
  run: (request: Q, body: IncomingBody<E>, call: Call) => Promise<A>,
): Handler {
  return {
    name: verb.name,
    takesBody: true,
    async serve(served) {
      const body = new Incoming(served.body!, verb.end)
      await served.answer(verb.answer.encode(await run(verb.request.decode(served.fields), body, served.call)))
    },
  }
}

/** The body is disposed when it has been sent. */
export function onDownload<Q, A>(
  verb: DownloadVerb<Q, A>,
  run: (request: Q, call: Call) => Promise<{ readonly answer: A; readonly body: ByteSource }>,
): Handler {
  return {
    name: verb.name,
    takesBody: false,
    async serve(served) {
      const { answer, body } = await run(verb.request.decode(served.fields), served.call)
      await using source = body
      const sender = await served.begin(verb.answer.encode(answer))
      for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) await sender.write(chunk)
      await served.end(nothing.encode({}))
    },
  }
}

export function onRows<Q, A, I>(
  verb: RowsVerb<Q, A, I>,
  run: (request: Q, call: Call) => Promise<{ readonly answer: A; readonly rows: AsyncIterable<I> | Iterable<I> }>,
): Handler {
  return {
    name: verb.name,
    takesBody: false,
    async serve(served) {
      const { answer, rows } = await run(verb.request.decode(served.fields), served.call)
      const sender = await served.begin(verb.answer.encode(answer))
      const write = (row: I) => sender.writeWhole(encodeValue(verb.item.encode(row)))
      if (Symbol.asyncIterator in rows) for await (const row of rows) await write(row)
      else
        for (const row of rows) {
          const waiting = write(row)
          if (waiting !== undefined) await waiting
        }
      await served.end(nothing.encode({}))
    },
  }
}

class Incoming<E> implements IncomingBody<E> {
  readonly #body: BodyReceiver
  readonly #schema: Schema<E>

  constructor(body: BodyReceiver, schema: Schema<E>) {
    this.#body = body
    this.#schema = schema
  }

  get end(): E {
    const fields = this.#body.end
    if (fields === undefined) throw new PgtsError('assert', 'the end of a body was read before its bytes')
    return this.#schema.decode(fields)
  }

  next(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    return this.#body.next()
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
