import type { ByteSink } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { yieldToEventLoop } from '../util/yield-to-event-loop.ts'
import { BodyReceiver, type SharedCredit } from './body-receiver.ts'
import { BodySender } from './body-sender.ts'
import type { Download, RequestOptions, Rows, Upload } from './connection.ts'
import { FRAME } from './frame.ts'
import { MOST_MESSAGE, MOST_STREAMS, MOST_UNANSWERED } from './limits.ts'
import { OutgoingStream } from './outgoing.ts'
import type { Output } from './output.ts'
import { encodeValue, ValueReader, type Value } from './value.ts'
import type { CallVerb, DownloadVerb, RowsVerb, UploadVerb } from './verb.ts'

interface AnyVerb<Q> {
  readonly name: string
  readonly request: { encode(request: Q): Value }
  readonly body: 'none' | 'upload' | 'download' | 'rows'
}

/** The requests that this end sends. */
export class Requests {
  readonly #output: Output
  readonly #shared: SharedCredit
  readonly #streams = new Map<number, OutgoingStream>()
  #nextId: number
  #unansweredBytes = 0
  #lost: { readonly error: unknown } | undefined
  #waiting: (() => void)[] = []

  /** @param firstId 1 or 2; the other end has the other numbers */
  constructor(output: Output, shared: SharedCredit, firstId: number) {
    this.#output = output
    this.#shared = shared
    this.#nextId = firstId
  }

  /** The stream of a received frame; undefined if it is closed. @throws protocol if it was never opened */
  find(id: number): OutgoingStream | undefined {
    if (id >= this.#nextId) throw new PgtsError('protocol', `stream ${id} was not opened`)
    return this.#streams.get(id)
  }

  async call<Q, A>(verb: CallVerb<Q, A>, request: Q, options?: RequestOptions): Promise<A> {
    const stream = await this.#open(verb, request, options)
    return verb.answer.decode(await stream.answered)
  }

  upload<Q, E, A>(verb: UploadVerb<Q, E, A>, request: Q, options?: RequestOptions): Upload<E, A> {
    return new OutgoingUpload(this.#open(verb, request, options), verb)
  }

  async download<Q, A>(verb: DownloadVerb<Q, A>, request: Q, options?: RequestOptions): Promise<Download<A>> {
    const stream = await this.#open(verb, request, options)
    const answer = verb.answer.decode(await stream.answered)
    return {
      answer,
      next: () => {
        // A reader of buffered bytes never waits, but the other streams of this connection need the event loop.
        const waiting = yieldToEventLoop()
        return waiting === undefined ? stream.receiver!.next() : waiting.then(() => stream.receiver!.next())
      },
      [Symbol.asyncDispose]: async () => stream.cancel(notNeeded()),
    }
  }

  async rows<Q, A, I>(verb: RowsVerb<Q, A, I>, request: Q, options?: RequestOptions): Promise<Rows<A, I>> {
    const stream = await this.#open(verb, request, options)
    const answer = verb.answer.decode(await stream.answered)
    return { answer, [Symbol.asyncIterator]: () => rowsOf(stream, verb) }
  }

  /** Everything that waits for the other end rejects. */
  lose(error: unknown): void {
    this.#lost = { error }
    for (const stream of [...this.#streams.values()]) stream.lose(error)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async #open<Q>(verb: AnyVerb<Q>, request: Q, { signal }: RequestOptions = {}): Promise<OutgoingStream> {
    const message = encodeValue([verb.name, verb.request.encode(request)])
    if (message.length > MOST_MESSAGE) throw new PgtsError('protocol', `a request is larger than ${MOST_MESSAGE} bytes`)
    for (;;) {
      this.#assertWanted(signal)
      if (!this.#output.isReady) await this.#output.ready()
      else if (this.#streams.size < MOST_STREAMS && this.#unansweredBytes + message.length <= MOST_UNANSWERED) break
      else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    const id = this.#nextId
    this.#nextId += 2
    this.#output.sendMessage({ type: FRAME.request, body: verb.body === 'upload', stream: id }, message)
    return this.#add(id, verb, message.length, signal)
  }

  #add(id: number, { body }: AnyVerb<never>, requestBytes: number, signal: AbortSignal | undefined): OutgoingStream {
    const onAbort = () => stream.cancel(signal?.reason)
    const stream = new OutgoingStream(id, {
      output: this.#output,
      sender: body === 'upload' ? new BodySender(this.#output, id) : undefined,
      receiver:
        body === 'download' || body === 'rows'
          ? new BodyReceiver(this.#output, this.#shared, id, body === 'rows')
          : undefined,
      onClose: () => {
        signal?.removeEventListener('abort', onAbort)
        this.#streams.delete(id)
        this.#unansweredBytes -= requestBytes
        this.#wakeNext()
      },
    })
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#streams.set(id, stream)
    this.#unansweredBytes += requestBytes
    return stream
  }

  #assertWanted(signal: AbortSignal | undefined): void {
    if (signal?.aborted !== true && this.#lost === undefined) return
    this.#wakeNext()
    throw this.#lost === undefined ? signal?.reason : this.#lost.error
  }

  /** Of many that wait, each end of a request admits one. */
  #wakeNext(): void {
    this.#waiting.shift()?.()
  }
}

function notNeeded(): PgtsError {
  return new PgtsError('term', 'the rest is not needed')
}

async function* rowsOf<Q, A, I>(stream: OutgoingStream, verb: RowsVerb<Q, A, I>): AsyncGenerator<I, void, undefined> {
  try {
    for (let chunk = await stream.receiver!.next(); chunk !== undefined; chunk = await stream.receiver!.next())
      for (const reader = new ValueReader(chunk); !reader.atEnd;) yield verb.item.decode(reader.next())
  } finally {
    stream.cancel(notNeeded())
  }
}

class OutgoingUpload<Q, E, A> implements Upload<E, A> {
  readonly sink: ByteSink
  readonly #opening: Promise<OutgoingStream>
  readonly #verb: UploadVerb<Q, E, A>
  #stream: OutgoingStream | undefined

  constructor(opening: Promise<OutgoingStream>, verb: UploadVerb<Q, E, A>) {
    this.#opening = opening
    this.#verb = verb
    opening.then(
      (stream) => (this.#stream = stream),
      () => undefined,
    )
    this.sink = {
      write: (chunk) =>
        this.#stream === undefined
          ? this.#opening.then((stream) => stream.sender!.write(chunk))
          : this.#stream.sender!.write(chunk),
    }
  }

  async finish(end: E): Promise<A> {
    const stream = await this.#opening
    await stream.endBody(this.#verb.end.encode(end))
    return this.#verb.answer.decode(await stream.answered)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    let stream: OutgoingStream
    try {
      stream = await this.#opening
    } catch {
      // The error of `write` or `finish`; the other end knows nothing of this request.
      return
    }
    stream.cancel(new PgtsError('term', 'the file was discarded'))
    await stream.closed
  }
}
