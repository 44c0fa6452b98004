import type { Clock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import { loadModule } from '../../util/load-module.ts'
import { openAgents, type Agents } from '../http/agents.ts'
import type {
  ObjectBody,
  ObjectClient,
  ObjectEntry,
  ObjectGetRequest,
  ObjectKind,
  ObjectLimits,
  ObjectListRequest,
  ObjectPage,
  ObjectPutRequest,
  ObjectUpload,
} from '../object/client.ts'
import { listedEntry } from '../object/listed-entry.ts'
import { abortAbandoned } from './abandoned.ts'
import { answerBody, lengthOf, NO_BODY } from './body.ts'
import { s3Address, type S3Description } from './description.ts'
import { Integrity } from './integrity.ts'
import { listPage } from './listing.ts'
import { customerKeyParams, putParams, type KeyParams, type PutParams } from './put-params.ts'
import type { S3Subject } from './error.ts'
import { mayBeUnknown, type Refusal, type S3Answer } from './refusal.ts'
import { RefusalMemory } from './refusal-memory.ts'
import { Removals } from './remove.ts'
import { S3Requests, type DirectOutput } from './requests.ts'
import type { LookedEntry } from './upload.ts'
import type { ByteString } from '../../util/byte-string.ts'

const MIB = 1024 * 1024
/** Limits of the service: size of a part, size of an object sent in one request. */
const LEAST_PART_BYTES = 5 * MIB
const LARGEST_PART_BYTES = 5 * 1024 * MIB

/**
 * A bucket of S3 or of a compatible service. It gives the guarantees of the service: a new object becomes visible and
 * durable as a whole when its request is answered, and every request that begins later sees it. (AWS guarantees that
 * for listings since December 2020; some other services list new objects with a delay.)
 *
 * @param agents sockets for this client, closed with it; absent: the client opens its own
 */
export async function openS3Client(description: S3Description, clock: Clock, agents?: Agents): Promise<S3Client> {
  const sockets = agents ?? (await openAgents(description.access, { serverName: s3Address(description).host }))
  return new S3Client(description, await S3Requests.open(description, sockets, clock))
}

export class S3Client implements ObjectClient {
  readonly display: string
  readonly limits: ObjectLimits
  /** Also used to read the same bucket at a point in time. */
  readonly requests: S3Requests
  readonly keyParams: KeyParams
  readonly #paramsFor: (kind: ObjectKind) => PutParams
  readonly #integrity: Integrity
  readonly #removals: Removals

  constructor(description: S3Description, requests: S3Requests) {
    this.requests = requests
    this.display = requests.shown(undefined)
    this.limits = {
      partBytes: { min: Math.max(LEAST_PART_BYTES, description.partBytes), max: LARGEST_PART_BYTES },
      maxParts: 10_000,
      parallelParts: 8,
      removeBatch: 1000,
    }
    this.keyParams = customerKeyParams(description)
    this.#paramsFor = putParams(description)
    this.#integrity = new Integrity(description.endpoint.secure, new RefusalMemory(description))
    this.#removals = new Removals(requests)
  }

  head(name: ByteString, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    return this.#look(name, signal, true)
  }

  /** @param again send HEAD again if GET finds the object */
  async #look(name: ByteString, signal: AbortSignal | undefined, again: boolean): Promise<LookedEntry | undefined> {
    const { requests, keyParams } = this
    const input = { ...requests.common, ...keyParams }
    const request = { action: 'look', operation: 'HeadObject', name, input, signal } as const
    const { output, refusal } = await requests.sendDirect(request)
    if (refusal !== undefined) {
      const error = await this.#explained(name, refusal, signal)
      if (error === undefined && again) return this.#look(name, signal, false)
      if (error === undefined)
        throw requests.unusable(request, 'HEAD reports that it is missing, GET that it is present')
      if (error.code === 'file-missing') return undefined
      throw error
    }
    const { 'last-modified': modified = '', etag } = output.headers
    const mtimeMs = Date.parse(modified)
    if (Number.isNaN(mtimeMs)) throw requests.unusable(request, `the time '${modified}' is invalid`)
    const sizeBytes =
      lengthOf(output.headers) ??
      (await listedEntry((page) => this.list(page), name, requests.shown(name), signal)).sizeBytes
    return { name, sizeBytes, mtimeMs, etag }
  }

  list(request: ObjectListRequest): Promise<ObjectPage> {
    return listPage(this.requests, request)
  }

  get(name: ByteString, { offset, length, version, signal }: ObjectGetRequest = {}): Promise<ObjectBody> {
    const request = { action: 'read', name, input: this.keyParams, signal } as const
    return getObject(this.requests, request, { offset, length, version })
  }

  async put(name: ByteString, bytes: Uint8Array, request: ObjectPutRequest): Promise<void> {
    const { output, refusal } = await this.#send(name, bytes, request)
    if (refusal !== undefined) throw this.requests.errorOf(refusal, { action: 'write', name })
    this.#integrity.learn(output.headers)
  }

  async putIfAbsent(name: ByteString, bytes: Uint8Array, request: ObjectPutRequest): Promise<boolean> {
    const { refusal } = await this.#send(name, bytes, request, { IfNoneMatch: '*' })
    if (refusal === undefined) return true
    const { status, code, unproven } = refusal
    if (unproven === undefined && (status === 412 || (status === 409 && /AlreadyExists/.test(code)))) return false
    // Some services treat the condition as a cache question and answer 304, which has no body to prove its origin.
    if (status === 304 && (await this.head(name, request.signal)) !== undefined) return false
    const error = this.requests.errorOf(refusal, { action: 'write', name })
    // A service may also refuse an unknown header with 403, then with its own error in the body; 405 and 501 may come
    // without a body.
    if (!mayBeUnknown(refusal) || (status === 403 && unproven !== undefined)) throw error
    throw new PgtsError('feature-not-supported', error.message, { hints: error.hints, cause: error.cause })
  }

  async upload(name: ByteString, { kind, signal }: ObjectPutRequest): Promise<ObjectUpload> {
    const { requests, keyParams } = this
    const place = { requests, integrity: this.#integrity, name, keyParams, look: () => this.head(name) }
    const { beginUpload } = await loadModule(() => import('./upload.ts'))
    return beginUpload(place, this.#paramsFor(kind), signal)
  }

  async removeBatch(names: readonly ByteString[], signal?: AbortSignal) {
    return this.#removals.remove(names, signal)
  }

  async abortAbandoned(prefix: string, beforeMs: number, signal?: AbortSignal): Promise<number> {
    return abortAbandoned(this.requests, prefix, beforeMs, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.requests[Symbol.asyncDispose]()
  }

  #send(
    name: ByteString,
    bytes: Uint8Array,
    { kind, signal }: ObjectPutRequest,
    condition: { IfNoneMatch?: '*' } = {},
  ): Promise<S3Answer<DirectOutput>> {
    const params = { ...this.requests.common, ...this.#paramsFor(kind), ...condition }
    const request = { action: 'write', operation: 'PutObject', name, signal } as const
    return this.#integrity.send((proof) => {
      const { input, body } = this.#integrity.forObject(bytes, proof)
      return this.requests.sendDirect({ ...request, input: { ...params, ...input }, body })
    })
  }

  /**
   * Repeats the request as a GET of one byte: its refusal has a body, which proves that it comes from the store, and
   * distinguishes a missing object from a missing bucket.
   *
   * @returns undefined if the object is present, though HEAD reported it as missing
   */
  async #explained(
    name: ByteString,
    refusal: Refusal,
    signal: AbortSignal | undefined,
  ): Promise<PgtsError | undefined> {
    const request = { action: 'look', name, signal } as const
    if (refusal.code !== '') return this.requests.errorOf(refusal, request)
    const input = { ...this.requests.common, ...this.keyParams, Range: 'bytes=0-0' }
    const answer = await this.requests.sendDirect({ ...request, operation: 'GetObject', input })
    // An empty object has no first byte.
    const isThere = answer.refusal === undefined || answer.refusal.code === 'InvalidRange'
    if (answer.refusal !== undefined && !isThere) return this.requests.errorOf(answer.refusal, request)
    if (answer.output !== undefined) answerBody(this.requests, request, answer.output, { length: 1 }).cancel()
    return refusal.status === 404 ? undefined : this.requests.errorOf(refusal, request)
  }
}

/** Reads an object, its current version or another. */
export async function getObject(
  requests: S3Requests,
  request: S3Subject & {
    readonly name: ByteString
    readonly input: KeyParams & { readonly VersionId?: string }
  },
  {
    offset = 0,
    length,
    version,
  }: {
    readonly offset?: number
    readonly length?: number
    readonly version?: string
  },
): Promise<ObjectBody> {
  const { name, input, ...asked } = request
  const ranged = offset > 0 || length !== undefined
  const params = {
    ...requests.common,
    ...input,
    Range: ranged ? `bytes=${offset}-${length === undefined ? '' : offset + length - 1}` : undefined,
    IfMatch: version,
  }
  const { output, refusal } = await requests.sendDirect({ ...asked, operation: 'GetObject', name, input: params })
  // The range begins at the end of the object or beyond.
  if (refusal?.status === 416 && refusal.unproven === undefined) return NO_BODY
  if (refusal !== undefined) throw requests.errorOf(refusal, request)
  return answerBody(requests, request, output, { offset, length })
}
