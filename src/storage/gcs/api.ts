import type { IncomingMessage } from 'node:http'
import { isPgtsError, type ErrorCode } from '../../util/error.ts'
import { networkError } from '../http/network-error.ts'
import { readBody, type HttpRequest, type HttpSend } from '../http/send.ts'
import { StoreTrouble } from '../object/trouble.ts'
import { gcsError, refusalOf, type GcsPlace } from './error.ts'
import type { TokenSource } from './token.ts'

export type ApiRequest = Omit<HttpRequest, 'headers' | 'signal'> & {
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/** What is being done to what, and the code of a failure that nothing better explains. */
export interface Doing {
  readonly action: string
  readonly code: ErrorCode
}

/** Requests to the JSON API, with a token. */
export class GcsApi {
  readonly place: GcsPlace
  readonly #send: HttpSend
  readonly #tokens: TokenSource

  constructor(place: GcsPlace, send: HttpSend, tokens: TokenSource) {
    this.place = place
    this.#send = send
    this.#tokens = tokens
  }

  /** The head of a successful answer, or one whose status is in `accept`; its body is still to be read. */
  async open(doing: Doing, request: ApiRequest, accept: readonly number[] = []): Promise<IncomingMessage> {
    const { signal, headers = {}, ...rest } = request
    const token = await this.#tokens.get()
    const response = await this.#guard(doing, signal, () =>
      this.#send({ ...rest, headers: { ...headers, authorization: `Bearer ${token}` }, ...(signal ? { signal } : {}) }),
    )
    const status = response.statusCode ?? 0
    if ((status >= 200 && status < 300) || accept.includes(status)) return response
    const refusal = await this.#guard(doing, signal, () => refusalOf(response))
    const error = gcsError(doing.action, doing.code, this.place, refusal)
    if (status === 401 && this.#tokens.refused(token)) {
      throw new StoreTrouble(error.message, { code: 'access', hints: error.hints, cause: error.cause })
    }
    throw error
  }

  /** The whole of a successful answer. */
  async text(doing: Doing, request: ApiRequest): Promise<string> {
    const response = await this.open(doing, request)
    return (await this.body(doing, response, request.signal)).toString('utf8')
  }

  async json(doing: Doing, request: ApiRequest): Promise<Record<string, unknown>> {
    const text = await this.text(doing, request)
    try {
      return JSON.parse(text) as Record<string, unknown>
    } catch (cause) {
      throw new StoreTrouble(`${doing.action}: the answer is not JSON`, { cause })
    }
  }

  body(doing: Doing, response: IncomingMessage, signal: AbortSignal | undefined): Promise<Buffer> {
    return this.#guard(doing, signal, () => readBody(response))
  }

  async #guard<T>(doing: Doing, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw isPgtsError(error) ? error : networkError(doing.action, error)
    }
  }
}
