import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import type { Clock } from '../../util/clock.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { PgtsError, systemCode } from '../../util/error.ts'
import { openAgents, type Agents } from '../http/agents.ts'
import { networkError } from '../http/network-error.ts'
import { httpSender, readBody, type HttpSend } from '../http/send.ts'
import type { S3Description } from './description.ts'
import { actionWords, EXPIRED, s3Error, type S3Action, type S3Place } from './error.ts'
import { NO_PROOF, type Proof } from './integrity.ts'
import type { KeySource } from './keys/source.ts'
import { openKeySource } from './keys/source.ts'
import { readRefusal, type Refusal } from './refusal.ts'
import { canonicalQuery, Signer, type AccessKeys } from './sign.ts'
import { uriEncodePath } from './uri-encode.ts'

export interface S3Request {
  readonly action: S3Action
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Name of the object (byte string); absent: the bucket itself. */
  readonly name?: string
  readonly query?: readonly (readonly [string, string])[]
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
  readonly proof?: Proof
  readonly signal?: AbortSignal
}

/** Either what was asked for, or why not. */
export type S3Answer =
  | { readonly response: IncomingMessage; readonly refusal?: undefined }
  | { readonly response?: undefined; readonly refusal: Refusal }

/** Signs requests to one bucket, sends each once, and puts failures into words. */
export class S3Requests implements AsyncDisposable {
  readonly #description: S3Description
  readonly #agents: Agents
  readonly #send: HttpSend
  readonly #keys: KeySource
  readonly #clock: Clock
  readonly #signer: Signer
  /** What a request is meant for, as its Host header says, and where it is sent. */
  readonly #host: string
  readonly #origin: string
  /** Path of the bucket, '' where it is in the host name. */
  readonly #root: string
  #answered = false

  static async open(description: S3Description, clock: Clock): Promise<S3Requests> {
    const { access, endpoint, keys, repository } = description
    const agents = await openAgents(access, endpoint.connectHost ?? hostOf(description))
    return new S3Requests(description, agents, await openKeySource(keys, access, repository, clock), clock)
  }

  private constructor(description: S3Description, agents: Agents, keys: KeySource, clock: Clock) {
    const { endpoint, bucket, access } = description
    this.#description = description
    this.#agents = agents
    this.#send = httpSender(agents, access.stallMs)
    this.#keys = keys
    this.#clock = clock
    this.#signer = new Signer(description)
    const scheme = endpoint.secure ? 'https' : 'http'
    const port =
      endpoint.port === undefined || endpoint.port === (endpoint.secure ? 443 : 80) ? '' : `:${endpoint.port}`
    const host = hostOf(description)
    this.#host = bracketed(host) + port
    this.#origin = `${scheme}://${bracketed(endpoint.connectHost ?? host)}${port}`
    this.#root = endpoint.uriStyle === 'path' ? `/${bucket}` : ''
  }

  get nowMs(): number {
    return this.#clock.nowMs()
  }

  /** Send it once; again only when the keys had expired and there are new ones. Rejects when there is no answer. */
  async send(request: S3Request): Promise<S3Answer> {
    const keys = await this.#keys.get()
    const answer = await this.#once(request, keys)
    if (answer.refusal === undefined || !(await this.#expired(request, answer.refusal, keys))) return answer
    return this.#once(request, await this.#keys.get())
  }

  /** Send it; a refusal is an error. */
  async answerTo(request: S3Request): Promise<IncomingMessage> {
    const { response, refusal } = await this.send(request)
    if (refusal !== undefined) throw this.errorOf(refusal, request)
    return response
  }

  /** Send it; the whole answer as text. */
  async textOf(request: S3Request): Promise<{ response: IncomingMessage; text: string }> {
    const response = await this.answerTo(request)
    return { response, text: await this.restOf(response, request) }
  }

  /** Send it; only the head of the answer matters. */
  async headOf(request: S3Request): Promise<IncomingMessage> {
    return (await this.textOf(request)).response
  }

  /** The body of an answer, which also frees its connection for the next request. */
  async restOf(response: IncomingMessage, request: S3Request): Promise<string> {
    try {
      return (await readBody(response)).toString('utf8')
    } catch (error) {
      throw this.failure(error, request)
    }
  }

  errorOf(refusal: Refusal, request: Pick<S3Request, 'action' | 'name'>): PgtsError {
    const { bucket, region, repository, tags, encryption } = this.#description
    const place: S3Place = {
      action: request.action,
      shown: this.shown(request.name),
      bucket,
      region,
      repository,
      tagged: tags !== undefined,
      encrypted: encryption !== undefined && 'kmsKeyId' in encryption,
      nowMs: this.nowMs,
    }
    return s3Error(refusal, place)
  }

  /** A broken connection or body, in words; an abort passes as it is. */
  failure(error: unknown, request: Pick<S3Request, 'action' | 'name' | 'signal'>): unknown {
    if (request.signal?.aborted) return request.signal.reason
    const trouble = networkError(
      actionWords({ action: request.action, shown: this.shown(request.name) }),
      error,
      this.#description.repository,
    )
    // A name that was never found is misspelt; to wait for it would only hide that. Once found, it comes back.
    if (this.#answered || systemCode(error) !== 'ENOTFOUND') return trouble
    return new PgtsError('host-connect', trouble.message, { hints: trouble.hints, cause: trouble.cause })
  }

  shown(name: string | undefined): string {
    const bucket = `s3://${this.#description.bucket}`
    return name === undefined ? bucket : `${bucket}/${bytesToText(name)}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agents[Symbol.dispose]()
  }

  async #once(request: S3Request, keys: AccessKeys): Promise<S3Answer> {
    const { method, name, query = [], body, proof = NO_PROOF, signal } = request
    const path = `${uriEncodePath(this.#root)}/${name === undefined ? '' : uriEncodePath(name)}`
    const asked = canonicalQuery(query)
    const payer = this.#description.requesterPays ? { 'x-amz-request-payer': 'requester' } : {}
    const given = { host: this.#host, ...payer, ...request.headers, ...proof.headers }
    const { payloadHash } = proof
    const toSign = { method, path, query: asked, headers: given, payloadHash }
    const headers = this.#signer.sign(toSign, keys, this.#clock.nowMs())
    const url = `${this.#origin}${path}${asked === '' ? '' : `?${asked}`}`
    try {
      const response = await this.#send({
        method,
        url,
        headers,
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      })
      this.#answered = true
      const { statusCode = 0 } = response
      return statusCode >= 200 && statusCode < 300 ? { response } : { refusal: await readRefusal(response) }
    } catch (error) {
      throw this.failure(error, request)
    }
  }

  /** An answer to HEAD says nothing but its status: then another question tells why. */
  async #expired(request: S3Request, refusal: Refusal, keys: AccessKeys): Promise<boolean> {
    if (EXPIRED.has(refusal.code)) return this.#keys.expired(keys)
    return request.method === 'HEAD' && refusal.status === 400 && (await this.#keys.expired(keys))
  }
}

function hostOf({ endpoint, bucket }: S3Description): string {
  return endpoint.uriStyle === 'host' ? `${bucket}.${endpoint.host}` : endpoint.host
}

function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host
}
