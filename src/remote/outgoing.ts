import { PgtsError } from '../util/error.ts'
import { markHandled } from '../util/mark-handled.ts'
import type { BodyReceiver } from './body-receiver.ts'
import type { BodySender } from './body-sender.ts'
import { FRAME } from './frame.ts'
import type { Output } from './output.ts'
import { encodeValue, type Value } from './value.ts'

export interface OutgoingParts {
  readonly output: Output
  /** The body of this end. */
  readonly sender?: BodySender
  /** The body of the other end. */
  readonly receiver?: BodyReceiver
  /** Called once, when no frame of this stream can follow. */
  readonly onClose: () => void
}

/** A request that this end has sent, until its answer and the bodies of both ends are complete. */
export class OutgoingStream {
  readonly sender: BodySender | undefined
  readonly receiver: BodyReceiver | undefined
  /** Rejects with the reason of the cancellation if the request was cancelled. */
  readonly answered: Promise<Value>
  /** Resolves when the stream is closed. */
  readonly closed: Promise<void>
  readonly #id: number
  readonly #output: Output
  #answer!: { readonly resolve: (value: Value) => void; readonly reject: (error: unknown) => void }
  #close!: () => void
  #isAnswered = false
  #isClosed = false
  /** END or CANCEL has been sent, or there is no body of this end. */
  #bodyEnded: boolean
  #cancelled: { readonly reason: unknown } | undefined

  constructor(id: number, { output, sender, receiver, onClose }: OutgoingParts) {
    this.#id = id
    this.#output = output
    this.sender = sender
    this.receiver = receiver
    this.#bodyEnded = sender === undefined
    this.answered = new Promise((resolve, reject) => (this.#answer = { resolve, reject }))
    markHandled(this.answered)
    this.closed = new Promise((resolve) => {
      this.#close = () => {
        onClose()
        resolve()
      }
    })
  }

  /** Sends END after the body. */
  async endBody(fields: Value): Promise<void> {
    await this.sender!.flush()
    this.#bodyEnded = true
    this.#output.sendMessage({ type: FRAME.end, stream: this.#id }, encodeValue(fields))
  }

  /** The stream closes when the other end has answered. */
  cancel(reason: unknown): void {
    if (this.#isClosed || this.#cancelled !== undefined) return
    this.#cancelled = { reason }
    this.#sendCancel()
    this.#failBodies(reason)
  }

  receiveAnswer(value: Value, hasBody: boolean): void {
    if (this.#isAnswered) throw new PgtsError('protocol', 'a request has a second answer')
    if (hasBody !== (this.receiver !== undefined))
      throw new PgtsError('protocol', 'the body of an answer is unexpected')
    this.#isAnswered = true
    if (this.#cancelled === undefined) this.#answer.resolve(value)
    else this.#answer.reject(this.#cancelled.reason)
    if (!hasBody) this.#finish()
  }

  receiveError(error: PgtsError): void {
    this.#failBodies(error)
    this.#answer.reject(this.#cancelled === undefined ? error : this.#cancelled.reason)
    this.#finish()
  }

  receiveData(payload: Buffer, more: boolean): void {
    this.#bodyOfOther().receive(payload, more)
  }

  receiveCredit(credit: number): void {
    if (this.sender === undefined) throw new PgtsError('protocol', 'credit for a request without a body')
    this.sender.addCredit(credit)
  }

  receiveEnd(fields: Value): void {
    this.#bodyOfOther().finish(fields)
    this.#finish()
  }

  /** The connection has ended. */
  lose(error: unknown): void {
    if (this.#isClosed) return
    this.#bodyEnded = true
    this.#failBodies(error)
    this.#answer.reject(error)
    this.#finish()
  }

  #bodyOfOther(): BodyReceiver {
    if (this.receiver === undefined || !this.#isAnswered) throw new PgtsError('protocol', 'a body is unexpected')
    return this.receiver
  }

  #failBodies(error: unknown): void {
    this.sender?.fail(error)
    this.receiver?.fail(error)
  }

  #finish(): void {
    // The other end drops the rest of the body until then.
    if (!this.#bodyEnded) {
      this.sender!.fail(new PgtsError('protocol', 'the other end has answered before the end of the body'))
      this.#sendCancel()
    }
    this.#isClosed = true
    this.#close()
  }

  #sendCancel(): void {
    this.#bodyEnded = true
    this.#output.send({ type: FRAME.cancel, stream: this.#id })
  }
}
