import type { Clock } from '../../util/clock.ts'
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
import { abortAbandoned } from './abandoned.ts'
import { answerBody, NO_BODY } from './body.ts'
import type { S3Description } from './description.ts'
import { Integrity } from './integrity.ts'
import { listRequest, parsePage } from './listing.ts'
import { customerKeyHeaders, putHeaders, type S3Headers } from './put-headers.ts'
import type { Refusal } from './refusal.ts'
import { Removals } from './remove.ts'
import { S3Requests, type S3Request } from './requests.ts'
import { beginUpload } from './upload.ts'

const MIB = 1024 * 1024
/** Of the service: what a part, and an object that is sent in one request, may be. */
const LEAST_PART_BYTES = 5 * MIB
const LARGEST_PART_BYTES = 5 * 1024 * MIB

/**
 * A bucket of S3, or of what speaks like it. It promises what the service does: a new object appears whole, when the
 * request that makes it is answered, survives from then on, and is seen at once by every request that begins later.
 * (AWS has promised that for listings, too, since December 2020; some other services list what is new with a delay.)
 */
export async function openS3Client(description: S3Description, clock: Clock): Promise<S3Client> {
  return new S3Client(description, await S3Requests.open(description, clock))
}

export class S3Client implements ObjectClient {
  readonly display: string
  readonly limits: ObjectLimits
  /** For what reads the past of the same bucket. */
  readonly requests: S3Requests
  readonly readHeaders: S3Headers
  readonly #headersFor: (kind: ObjectKind) => S3Headers
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
    this.readHeaders = customerKeyHeaders(description)
    this.#headersFor = putHeaders(description)
    this.#integrity = new Integrity(description.endpoint.secure)
    this.#removals = new Removals(requests, this.#integrity)
  }

  async head(name: string, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    const request = { action: 'look', method: 'HEAD', name, headers: this.readHeaders, ...withSignal(signal) } as const
    return headObject(this.requests, request)
  }

  async list(request: ObjectListRequest): Promise<ObjectPage> {
    return parsePage((await this.requests.textOf(listRequest(request))).text)
  }

  async get(name: string, { offset, length, version, signal }: ObjectGetRequest = {}): Promise<ObjectBody> {
    const headers: Record<string, string> = { ...this.readHeaders }
    if (version !== undefined) headers['if-match'] = version
    return getObject(
      this.requests,
      { action: 'read', method: 'GET', name, headers, ...withSignal(signal) },
      offset,
      length,
    )
  }

  async put(name: string, bytes: Uint8Array, { kind, signal }: ObjectPutRequest): Promise<void> {
    this.#integrity.learn(await this.requests.headOf(this.#putRequest(name, bytes, kind, signal)))
  }

  async putIfAbsent(name: string, bytes: Uint8Array, { kind, signal }: ObjectPutRequest): Promise<boolean> {
    const request = this.#putRequest(name, bytes, kind, signal)
    const answer = await this.requests.send({ ...request, headers: { ...request.headers, 'if-none-match': '*' } })
    if (answer.refusal?.status === 412) return false
    if (answer.refusal !== undefined) throw this.requests.errorOf(answer.refusal, request)
    await this.requests.restOf(answer.response, request)
    return true
  }

  async upload(name: string, { kind, signal }: ObjectPutRequest): Promise<ObjectUpload> {
    const place = {
      requests: this.requests,
      integrity: this.#integrity,
      name,
      // With a customer's key every part is sent along with it.
      partHeaders: this.readHeaders,
      look: () => this.head(name),
    }
    return beginUpload(place, this.#headersFor(kind), signal)
  }

  async removeBatch(names: readonly string[], signal?: AbortSignal) {
    return this.#removals.remove(names, signal)
  }

  async abortAbandoned(prefix: string, beforeMs: number, signal?: AbortSignal): Promise<number> {
    return abortAbandoned(this.requests, prefix, beforeMs, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.requests[Symbol.asyncDispose]()
  }

  #putRequest(name: string, body: Uint8Array, kind: ObjectKind, signal: AbortSignal | undefined): S3Request {
    const proof = this.#integrity.forObject(body)
    const headers = this.#headersFor(kind)
    return { action: 'write', method: 'PUT', name, headers, body, proof, ...withSignal(signal) }
  }
}

/** What a HEAD tells of an object, of its current version or another. */
export async function headObject(requests: S3Requests, request: S3Request): Promise<ObjectEntry | undefined> {
  const { response, refusal } = await requests.send(request)
  if (refusal?.status === 404) {
    // Without a body it cannot be told whether the object or the whole bucket is missing: a listing says so, later.
    return undefined
  }
  if (refusal !== undefined) throw await explained(requests, request, refusal)
  await requests.restOf(response, request)
  const { headers } = response
  return {
    name: request.name ?? '',
    sizeBytes: Number(headers['content-length'] ?? 0),
    mtimeMs: Date.parse(headers['last-modified'] ?? ''),
  }
}

/** The same question as a GET of one byte: a refusal of that comes with words. */
async function explained(requests: S3Requests, request: S3Request, refusal: Refusal) {
  if (refusal.code !== '') return requests.errorOf(refusal, request)
  const asked = await requests.send({ ...request, method: 'GET', headers: { ...request.headers, range: 'bytes=0-0' } })
  if (asked.refusal !== undefined) return requests.errorOf(asked.refusal, request)
  asked.response.destroy()
  return requests.errorOf(refusal, request)
}

/** The bytes of an object, of its current version or another. */
export async function getObject(
  requests: S3Requests,
  request: S3Request,
  offset = 0,
  length?: number,
): Promise<ObjectBody> {
  const ranged = offset > 0 || length !== undefined
  const range = `bytes=${offset}-${length === undefined ? '' : offset + length - 1}`
  const asked = ranged ? { ...request, headers: { ...request.headers, range } } : request
  const { response, refusal } = await requests.send(asked)
  // It begins at the end of the object or beyond.
  if (refusal?.status === 416) return NO_BODY
  if (refusal !== undefined) throw requests.errorOf(refusal, request)
  return answerBody(response, offset, ranged, (error) => requests.failure(error, request))
}

export function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal }
}
