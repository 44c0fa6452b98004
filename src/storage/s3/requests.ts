import type {
  $Command,
  S3Client as Sdk,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-s3'
import type { Clock } from '../../util/clock.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError, systemCode } from '../../util/error.ts'
import type { Agents } from '../http/agents.ts'
import { networkError } from '../http/network-error.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { RefusedRequestError } from '../object/retryable-error.ts'
import type { S3Description } from './description.ts'
import { actionWords, EXPIRED, s3Error, type S3Action, type S3Place } from './error.ts'
import { openCredentials } from './keys/credentials.ts'
import { type FetchedKeys } from './keys/fetched-keys.ts'
import { isText, uriEncodePath } from './names.ts'
import { proveAnswer, type HttpResponse } from './proof.ts'
import { refusalOf, type Refusal } from './refusal.ts'
import { openSdk } from './sdk.ts'

export type S3Command<I extends ServiceInputTypes, O extends ServiceOutputTypes> = $Command<
  I,
  O,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes
>

/** The action and object of a request, for messages. */
export interface S3Subject {
  readonly action: S3Action
  /** Name of the object (byte string); absent: the bucket itself. */
  readonly name?: ByteString
  readonly signal?: AbortSignal
}

export interface S3Request<I extends ServiceInputTypes, O extends ServiceOutputTypes> extends S3Subject {
  /** Called for each attempt: a body that is a stream can be sent only once. */
  readonly command: () => S3Command<I, O>
  /** Changes the request before it is signed, where the library has no parameter. */
  readonly prepare?: (request: HttpRequest) => void
  /** Receives the XML body of a success before the library reads it. */
  readonly seen?: (xml: string) => void
}

export interface HttpRequest {
  path: string
  body?: unknown
  readonly headers: Record<string, string>
}

/** The result, or the refusal. */
export type S3Answer<O> =
  { readonly output: O; readonly refusal?: undefined } | { readonly output?: undefined; readonly refusal: Refusal }

/** The service refuses a request whose signing time differs by more than this from its own. */
const MOST_SKEW_MS = 15 * 60_000

/** Sends requests to one bucket through AWS's client, each once, and converts failures to errors. */
export class S3Requests implements AsyncDisposable {
  /** Parameters of every command. */
  readonly common: { readonly Bucket: string; readonly RequestPayer?: 'requester' }
  readonly #description: S3Description
  readonly #agents: Agents
  readonly #sdk: Sdk
  readonly #clock: Clock
  readonly #root: string
  #answered = false

  /** @param agents closed with the client */
  static async open(description: S3Description, agents: Agents, clock: Clock): Promise<S3Requests> {
    const { access, keys, repository } = description
    const credentials = await openCredentials(keys, access, repository)
    return new S3Requests(description, agents, openSdk(description, agents, credentials, clock), clock)
  }

  private constructor(description: S3Description, agents: Agents, sdk: Sdk, clock: Clock) {
    const { bucket, requesterPays, endpoint } = description
    this.common = { Bucket: bucket, RequestPayer: requesterPays ? 'requester' : undefined }
    this.#description = description
    this.#agents = agents
    this.#sdk = sdk
    this.#clock = clock
    this.#root = endpoint.uriStyle === 'path' ? `/${encodeURIComponent(bucket)}/` : '/'
  }

  /** The time by the clock of the service, if it has answered. */
  get storeNowMs(): number {
    return Date.now() + this.#sdk.config.systemClockOffset
  }

  /**
   * Sends the request once; a second time only if the credentials had expired and new ones exist. Rejects if there is
   * no answer.
   */
  async send<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    request: S3Request<I, O>,
  ): Promise<S3Answer<O>> {
    const used = await this.#keys(request)
    const answer = await this.#once(request)
    if (answer.refusal === undefined || !expired(request, answer.refusal)) return answer
    // Another request may have been refused before, and may have fetched new credentials already.
    if (same(await this.#keys(request), used) && same(await this.#keys(request, true), used)) return answer
    return this.#once(request)
  }

  /** Sends the request; a refusal becomes an error. */
  async outputOf<I extends ServiceInputTypes, O extends ServiceOutputTypes>(request: S3Request<I, O>): Promise<O> {
    const { output, refusal } = await this.send(request)
    if (refusal !== undefined) throw this.errorOf(refusal, request)
    return output
  }

  errorOf(refusal: Refusal, request: S3Subject): PgtsError {
    const { bucket, region, repository, tags, encryption, storageClass } = this.#description
    const place: S3Place = {
      action: request.action,
      shown: this.shown(request.name),
      bucket,
      region,
      repository,
      tagged: tags !== undefined,
      encrypted: encryption !== undefined && 'kmsKeyId' in encryption,
      classed: storageClass !== undefined,
      nowMs: this.#clock.nowMs(),
    }
    return s3Error(refusal, place)
  }

  /** Converts a broken connection or body to an error; an abort is returned unchanged. */
  failure(error: unknown, subject: S3Subject): unknown {
    if (subject.signal?.aborted) return subject.signal.reason
    const failure = networkError(this.doing(subject), plain(error), this.#description.repository)
    // A host name that has never resolved is probably misspelt: report it at once instead of retrying. One that has
    // resolved before may come back.
    if (this.#answered || systemCode(error) !== 'ENOTFOUND') return failure
    return new PgtsError('host-connect', failure.message, { hints: failure.hints, cause: failure.cause })
  }

  /** A success that cannot be the answer to this request. */
  unusable(subject: S3Subject, why: string): RefusedRequestError {
    return new RefusedRequestError('service', `${this.doing(subject)}: ${why}`)
  }

  /** `cannot read s3://bucket/name`. */
  doing({ action, name }: S3Subject): string {
    return actionWords({ action, shown: this.shown(name) })
  }

  shown(name: ByteString | undefined): string {
    const bucket = `s3://${this.#description.bucket}`
    return name === undefined ? bucket : `${bucket}/${bytesToText(name)}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sdk.destroy()
    this.#agents[Symbol.dispose]()
  }

  async #once<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    request: S3Request<I, O>,
  ): Promise<S3Answer<O>> {
    const sentMs = this.storeNowMs
    const { signal } = request
    let unproven: UnprovenAnswer | undefined
    try {
      const options = signal === undefined ? {} : { abortSignal: signal }
      const command = this.#prepared(request, (refused) => (unproven = refused))
      const output = await this.#sdk.send(command, options)
      this.#answered = true
      return { output }
    } catch (error) {
      const refusal = signal?.aborted ? undefined : refusalOf(error, unproven)
      if (refusal === undefined) throw this.failure(error, request)
      this.#answered = true
      return { refusal: skewed(refusal, sentMs) ? { ...refusal, code: 'RequestTimeTooSkewed' } : refusal }
    }
  }

  /** @param refused receives a refusal that does not come from an S3 service */
  #prepared<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    { name, command: make, prepare, seen }: S3Request<I, O>,
    refused: (unproven: UnprovenAnswer | undefined) => void,
  ) {
    const command = make()
    const path = name === undefined || isText(name) ? undefined : this.#root + uriEncodePath(name)
    if (prepare !== undefined || path !== undefined) {
      command.middlewareStack.add(
        (next) => (args) => {
          const request = (args as unknown as { request: HttpRequest }).request
          // The library accepts text only.
          if (path !== undefined) request.path = path
          prepare?.(request)
          return next(args)
        },
        { name: 'prepare', step: 'build', priority: 'low' },
      )
    }
    command.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          const result = await next(args)
          const response = result.response as HttpResponse
          const { xml, unproven } = await proveAnswer(String(commandName), response)
          refused(unproven)
          if (xml !== undefined && response.statusCode === 200) seen?.(xml)
          return result
        },
      { name: 'prove', step: 'deserialize', priority: 'low' },
    )
    return command
  }

  /** The credentials that sign the requests; the library keeps them until shortly before they expire. */
  async #keys(request: S3Subject, forceRefresh = false): Promise<FetchedKeys> {
    try {
      return (await this.#sdk.config.credentials({ forceRefresh })) as FetchedKeys
    } catch (error) {
      throw this.failure(error, request)
    }
  }
}

/**
 * True if the credentials have expired. An answer to HEAD has only its status: then a second request finds the reason.
 */
function expired({ action }: S3Subject, { code, status }: Refusal): boolean {
  return EXPIRED.has(code) || (action === 'look' && status === 400 && code === '')
}

function same(a: FetchedKeys, b: FetchedKeys): boolean {
  return a.accessKeyId === b.accessKeyId && a.secretAccessKey === b.secretAccessKey && a.sessionToken === b.sessionToken
}

/** In an answer to HEAD the status alone does not identify a clock error. */
function skewed({ status, code, serverTime }: Refusal, sentMs: number): boolean {
  return status === 403 && code === '' && Math.abs(Date.parse(serverTime ?? '') - sentMs) > MOST_SKEW_MS
}

/** Removes text of the library that is meant for programmers. */
function plain(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof PgtsError || error instanceof UnprovenAnswer) return error
  const code = systemCode(error) ?? (error.name === 'TimeoutError' ? 'ETIMEDOUT' : undefined)
  return Object.assign(new Error(error.message.split('\n', 1)[0]), code === undefined ? {} : { code })
}
