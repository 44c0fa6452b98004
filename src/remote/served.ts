import { PgtsError } from '../util/error.ts'
import type { BodyReceiver } from './body-receiver.ts'
import { BodySender } from './body-sender.ts'
import type { Call, Connection, Handler, ServedRequest } from './connection.ts'
import { encodeError } from './errors.ts'
import { FRAME, type FrameType } from './frame.ts'
import type { Output } from './output.ts'
import { encodeValue, type Value } from './value.ts'

export interface ServedParts {
  readonly connection: Connection
  readonly output: Output
  /** Present if the caller sends a body. */
  readonly body: BodyReceiver | undefined
  /** Called once, when no frame of this stream can follow. */
  readonly onClose: () => void
}

/** A request that the other end has sent, until it is answered and the bodies of both ends are complete. */
export class ServedStream implements ServedRequest {
  readonly fields: Value
  readonly call: Call
  readonly body: BodyReceiver | undefined
  readonly #id: number
  readonly #output: Output
  readonly #onClose: () => void
  readonly #abort = new AbortController()
  #sender: BodySender | undefined
  #state: 'running' | 'body' | 'answered' = 'running'
  #hasSucceeded = false
  /** END or CANCEL has been received, or there is no body of the caller. */
  #bodyEnded: boolean

  constructor(id: number, fields: Value, { connection, output, body, onClose }: ServedParts) {
    this.#id = id
    this.fields = fields
    this.#output = output
    this.body = body
    this.#bodyEnded = body === undefined
    this.#onClose = onClose
    this.call = { connection, signal: this.#abort.signal }
  }

  /** Answered without an error. */
  get hasSucceeded(): boolean {
    return this.#hasSucceeded
  }

  /** Never rejects. @param handler or the error to answer */
  async run(handler: Handler | PgtsError): Promise<void> {
    try {
      if (handler instanceof PgtsError) throw handler
      if (handler.takesBody !== (this.body !== undefined))
        throw new PgtsError('protocol', `the body of the verb '${handler.name}' is missing or unexpected`)
      await handler.serve(this)
      if (this.#state !== 'answered') throw new PgtsError('assert', `the verb '${handler.name}' has no answer`)
      this.#hasSucceeded = true
    } catch (error) {
      if (this.#state !== 'answered') await this.#finish(FRAME.error, encodeError(error))
    }
  }

  async answer(fields: Value): Promise<void> {
    await this.#finish(FRAME.answer, fields)
  }

  async begin(fields: Value): Promise<BodySender> {
    await this.#send(FRAME.answer, fields, true)
    this.#state = 'body'
    // The caller may have cancelled, or the connection ended, while this waited for room.
    this.call.signal.throwIfAborted()
    this.#sender = new BodySender(this.#output, this.#id)
    return this.#sender
  }

  async end(fields: Value): Promise<void> {
    await this.#sender?.flush()
    await this.#finish(FRAME.end, fields)
  }

  receiveData(payload: Buffer, more: boolean): void {
    this.#openBody().receive(payload, more)
  }

  receiveEnd(fields: Value): void {
    this.#openBody().finish(fields)
    this.#bodyEnded = true
    this.#closeIfOver()
  }

  receiveCredit(credit: number): void {
    if (this.#sender === undefined) throw new PgtsError('protocol', 'credit for a body that has not begun')
    this.#sender.addCredit(credit)
  }

  receiveCancel(): void {
    const reason = new PgtsError('term', 'the caller has cancelled the request')
    if (!this.#bodyEnded) this.body?.fail(reason)
    this.#bodyEnded = true
    this.#sender?.fail(reason)
    this.#abort.abort(reason)
    this.#closeIfOver()
  }

  /** The connection has ended. */
  lose(error: unknown): void {
    this.body?.fail(error)
    this.#sender?.fail(error)
    this.#abort.abort(error)
  }

  #openBody(): BodyReceiver {
    if (this.body === undefined || this.#bodyEnded) throw new PgtsError('protocol', 'a body is unexpected')
    return this.body
  }

  async #finish(type: FrameType, fields: Value): Promise<void> {
    await this.#send(type, fields, false)
    this.#state = 'answered'
    // What follows is dropped.
    if (!this.#bodyEnded) this.body?.fail(new PgtsError('protocol', 'the request has been answered'))
    this.#closeIfOver()
  }

  async #send(type: FrameType, fields: Value, body: boolean): Promise<void> {
    const message = encodeValue(fields)
    await this.#output.ready()
    this.#output.sendMessage({ type, body, stream: this.#id }, message)
  }

  #closeIfOver(): void {
    if (this.#state === 'answered' && this.#bodyEnded) this.#onClose()
  }
}
