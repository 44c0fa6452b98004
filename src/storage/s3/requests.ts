import type { ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-s3'
import type { Clock } from '../../util/clock.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError, systemCode } from '../../util/error.ts'
import { loadModule } from '../../util/load-module.ts'
import type { Agents } from '../http/agents.ts'
import { networkError } from '../http/network-error.ts'
import { httpSender } from '../http/send.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { RefusedRequestError } from '../object/retryable-error.ts'
import type { S3Commands, S3Request } from './commands.ts'
import type { S3Description } from './description.ts'
import { DirectSender, type DirectAnswer, type DirectRequest } from './direct.ts'
import { actionWords, EXPIRED, s3Error, type S3Place, type S3Subject } from './error.ts'
import { openCredentials } from './keys/credentials.ts'
import { type FetchedKeys } from './keys/fetched-keys.ts'
import { keysProvider, type KeysProvider } from './library.ts'
import { proveAnswer } from './proof.ts'
import { refusalIn, type Refusal, type S3Answer } from './refusal.ts'
import { ServiceClock } from './service-clock.ts'

/** The service refuses a request whose signing time differs by more than this from its own. */
const MOST_SKEW_MS = 15 * 60_000

/** A success of a direct request; `text`: its body, if it is XML. */
export type DirectOutput = DirectAnswer & { readonly text?: string }

/**
 * Sends requests to one bucket, each once, and converts failures to errors. AWS's client is loaded for the first request
 * that needs it.
 */
export class S3Requests implements AsyncDisposable {
  /** Parameters of every command. */
  readonly common: { readonly Bucket: string; readonly RequestPayer?: 'requester' }
  readonly #description: S3Description
  readonly #agents: Agents
  readonly #keys: KeysProvider
  readonly #clock: Clock
  readonly #serviceClock: ServiceClock
  readonly #direct: DirectSender
  #commands: Promise<S3Commands> | undefined
  #answered = false

  /** @param agents closed with the client */
  static async open(description: S3Description, agents: Agents, clock: Clock): Promise<S3Requests> {
    const { access, keys, repository } = description
    return new S3Requests(description, agents, keysProvider(await openCredentials(keys, access, repository)), clock)
  }

  private constructor(description: S3Description, agents: Agents, keys: KeysProvider, clock: Clock) {
    const { bucket, requesterPays } = description
    this.common = { Bucket: bucket, RequestPayer: requesterPays ? 'requester' : undefined }
    this.#description = description
    this.#agents = agents
    this.#keys = keys
    this.#clock = clock
    // The first answer sets the offset to the clock of the service.
    this.#serviceClock = new ServiceClock(clock.nowMs() - Date.now())
    this.#direct = new DirectSender(description, httpSender(agents, description.access.stallMs))
  }

  /** The time by the clock of the service, if it has answered. */
  get storeNowMs(): number {
    return this.#serviceClock.nowMs
  }

  /** Sends a command of AWS's client; see `sendDirect`. */
  async send<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    request: S3Request<I, O>,
  ): Promise<S3Answer<O>> {
    const commands = await this.#loadedCommands()
    return this.#withKeys(request, () => commands.send(request))
  }

  /**
   * Sends the request once; a second time only if the credentials had expired and new ones exist. Rejects if there is
   * no answer. The body of a GetObject must be read or destroyed.
   */
  async sendDirect(request: DirectRequest & S3Subject): Promise<S3Answer<DirectOutput>> {
    return this.#withKeys(request, (keys) => this.#sendDirect(request, keys))
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
    await this.#commands?.then((commands) => commands.destroy()).catch(() => undefined)
    this.#agents[Symbol.dispose]()
  }

  async #loadedCommands(): Promise<S3Commands> {
    try {
      return await (this.#commands ??= loadModule(() => import('./commands.ts')).then(
        ({ S3Commands }) => new S3Commands(this.#description, this.#agents, this.#keys, this.#serviceClock),
      ))
    } catch (error) {
      this.#commands = undefined
      throw error
    }
  }

  async #withKeys<O>(subject: S3Subject, once: (keys: FetchedKeys) => Promise<S3Answer<O>>): Promise<S3Answer<O>> {
    const used = await this.#currentKeys(subject)
    const answer = await this.#once(subject, () => once(used))
    if (answer.refusal === undefined || !expired(subject, answer.refusal)) return answer
    // Another request may have been refused before, and may have fetched new credentials already.
    let keys = await this.#currentKeys(subject)
    if (same(keys, used)) keys = await this.#currentKeys(subject, true)
    return same(keys, used) ? answer : this.#once(subject, () => once(keys))
  }

  async #once<O>(subject: S3Subject, once: () => Promise<S3Answer<O>>): Promise<S3Answer<O>> {
    const sentMs = this.storeNowMs
    try {
      const answer = await once()
      this.#answered = true
      const { refusal } = answer
      if (refusal === undefined || !skewed(refusal, sentMs)) return answer
      return { refusal: { ...refusal, code: 'RequestTimeTooSkewed' } }
    } catch (error) {
      throw this.failure(error, subject)
    }
  }

  async #sendDirect(request: DirectRequest, keys: FetchedKeys): Promise<S3Answer<DirectOutput>> {
    const sentAtMs = Date.now()
    const answer = await this.#direct.send(request, keys, new Date(this.storeNowMs))
    const { text, unproven } = await proveAnswer(`${request.operation}Command`, answer)
    const { headers, statusCode, body } = answer
    // The socket serves the next request when the answer has been read.
    if (text === undefined && request.operation !== 'GetObject') body.resume()
    if (statusCode < 300) {
      this.#serviceClock.learn(headers['date'], headers, sentAtMs)
      return { output: Object.assign(answer, { text }) }
    }
    const refusal = refusalIn(answer, text, unproven)
    this.#serviceClock.learn(refusal.serverTime, headers, sentAtMs)
    return { refusal }
  }

  /** The credentials that sign the requests; the library keeps them until shortly before they expire. */
  async #currentKeys(subject: S3Subject, forceRefresh = false): Promise<FetchedKeys> {
    try {
      return await this.#keys({ forceRefresh })
    } catch (error) {
      throw this.failure(error, subject)
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
