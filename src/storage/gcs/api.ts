import type { IncomingMessage } from 'node:http'
import { isPgtsError, type ErrorCode, type PgtsError } from '../../util/error.ts'
import { jsonObject } from '../../util/is-object.ts'
import { networkError } from '../http/network-error.ts'
import { readBody, type HttpRequest, type HttpSend } from '../http/send.ts'
import { RetryableStoreError } from '../object/retryable-error.ts'
import { gcsError, refusalOf, unprovenAnswer, type GcsPlace, type GcsRefusal } from './error.ts'
import type { TokenSource } from './token.ts'

export type ApiRequest = Omit<HttpRequest, 'headers' | 'signal'> & {
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** The action and its object, and the code of a failure that has no more specific code. */
export interface Doing {
  readonly action: string
  readonly code: ErrorCode
}

/** The member `kind` of answers of the JSON API, if `fields` asks for it. */
export type ResourceKind = 'storage#object' | 'storage#objects'

/** Sends requests to the JSON API, with a token. */
export class GcsApi {
  readonly place: GcsPlace
  readonly #send: HttpSend
  readonly #tokens: TokenSource

  constructor(place: GcsPlace, send: HttpSend, tokens: TokenSource) {
    this.place = place
    this.#send = send
    this.#tokens = tokens
  }

  /** Returns the head of a successful answer, or of one whose status is in `accept`; the caller reads the body. */
  async open(doing: Doing, request: ApiRequest, accept: readonly number[] = []): Promise<IncomingMessage> {
    const { signal, headers = {}, ...rest } = request
    const token = await this.#tokens.get()
    const response = await this.#translateErrors(doing, signal, () =>
      this.#send({ ...rest, headers: { ...headers, authorization: `Bearer ${token}` }, signal }),
    )
    const status = response.statusCode ?? 0
    if ((status >= 200 && status < 300) || accept.includes(status)) return response
    const error = this.errorOf(doing, await this.refusal(doing, response, signal))
    if (status === 401 && this.#tokens.refused(token)) {
      throw new RetryableStoreError(error.message, { code: 'access', hints: error.hints, cause: error.cause })
    }
    throw error
  }

  /** The resource in a successful answer. @throws RetryableStoreError if there is no resource of this kind */
  async resource(doing: Doing, kind: ResourceKind, request: ApiRequest): Promise<Record<string, unknown>> {
    const response = await this.open(doing, request)
    return this.resourceIn(doing, kind, response, await this.body(doing, response, request.signal))
  }

  resourceIn(doing: Doing, kind: ResourceKind, response: IncomingMessage, body: Buffer): Record<string, unknown> {
    const text = body.toString('utf8')
    const value = jsonObject(text)
    if (value?.['kind'] === kind) return value
    throw this.unproven(doing, response, `no ${kind}`, text)
  }

  /** A success that lacks what every success of this request has. @param text body, as far as it was read */
  unproven(doing: Doing, response: IncomingMessage, lacks: string, text?: string): PgtsError {
    return networkError(doing.action, unprovenAnswer(response, lacks, text))
  }

  refusal(doing: Doing, response: IncomingMessage, signal: AbortSignal | undefined): Promise<GcsRefusal> {
    return this.#translateErrors(doing, signal, () => refusalOf(response))
  }

  errorOf(doing: Doing, refusal: GcsRefusal): PgtsError {
    return gcsError(doing.action, doing.code, this.place, refusal)
  }

  body(doing: Doing, response: IncomingMessage, signal: AbortSignal | undefined): Promise<Buffer> {
    return this.#translateErrors(doing, signal, () => readBody(response))
  }

  async #translateErrors<T>(doing: Doing, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw isPgtsError(error) ? error : networkError(doing.action, error)
    }
  }
}
