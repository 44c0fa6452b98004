import { createHash, randomUUID } from 'node:crypto'
import { asBytes, bytesToText, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { isPgtsError, type ErrorCode } from '../../util/error.ts'
import { openAgents, type Agents } from '../http/agents.ts'
import { httpSender } from '../http/send.ts'
import type {
  NotRemoved,
  ObjectBody,
  ObjectClient,
  ObjectEntry,
  ObjectGetRequest,
  ObjectLimits,
  ObjectListRequest,
  ObjectPage,
  ObjectPutRequest,
  ObjectUpload,
} from '../object/client.ts'
import { ConditionFailed, withoutCondition } from '../object/condition.ts'
import { checkedPage } from '../object/pages.ts'
import { textName } from '../object/text-name.ts'
import { RetryableStoreError } from '../object/retryable-error.ts'
import { GcsApi, type Doing } from './api.ts'
import type { GcsDescription } from './description.ts'
import { getMedia } from './media.ts'
import { removeBatch, MAX_CALLS } from './remove-batch.ts'
import { tokenSource } from './token.ts'
import { ResumableUpload, GRAIN_BYTES } from './upload.ts'
import { GcsUrls } from './urls.ts'

const CONTENT_TYPE = 'application/octet-stream'

/**
 * A bucket of Google Cloud Storage, by its JSON API.
 *
 * Google guarantees what a repository needs: an object becomes visible and durable as a whole when its upload is
 * answered, and every later read and listing returns it. `ifGenerationMatch=0` creates a name only once. Every upload
 * carries its MD5, which the service checks before the object appears.
 *
 * @google-cloud/storage is not used: see docs/decisions.
 *
 * @param given sockets for this client, closed with it; absent: the client opens its own
 */
export async function openGcsClient(description: GcsDescription, given?: Agents): Promise<GcsClient> {
  const agents = given ?? (await openAgents(description.access))
  const send = httpSender(agents, description.access.stallMs)
  const { bucket, repository, credential } = description
  const place = { display: `gcs://${bucket}`, bucket, repository, credential: credential.type }
  return new GcsClient(description, new GcsApi(place, send, tokenSource(description, send)), agents)
}

/** One version of an object. */
export interface Generation extends ObjectEntry {
  /** A 64-bit number as text; a later version of the object has a larger one. */
  readonly generation: string
  /** When the version was replaced or removed, milliseconds since the epoch; absent: it is the current version. */
  readonly goneMs?: number
}

export interface GenerationPage extends Pick<ObjectPage, 'prefixes' | 'next'> {
  /** Ordered by name; versions of one name from the oldest to the newest. */
  readonly generations: readonly Generation[]
}

export class GcsClient implements ObjectClient {
  readonly display: string
  readonly limits: ObjectLimits
  readonly #api: GcsApi
  readonly #urls: GcsUrls
  readonly #agents: Agents
  /** Metadata of every new object. */
  readonly #metadata: object

  constructor(description: GcsDescription, api: GcsApi, agents: Agents) {
    this.#api = api
    this.#urls = new GcsUrls(description)
    this.#agents = agents
    this.#metadata = description.tags === undefined ? {} : { metadata: description.tags }
    this.display = api.place.display
    this.limits = {
      partBytes: {
        min: Math.ceil(description.partBytes / GRAIN_BYTES) * GRAIN_BYTES,
        max: 1024 ** 3,
        multipleOf: GRAIN_BYTES,
      },
      // The service limits an upload by the size of the object (5 TiB) and by time (a week), not by the number of
      // parts.
      maxParts: 1_000_000,
      parallelParts: 1,
      removeBatch: MAX_CALLS,
    }
  }

  async head(name: ByteString, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    try {
      const look = this.#doing('look at', name, 'file-info')
      const url = this.#urls.object(name, { fields: 'kind,size,updated' })
      return entry(look, name, await this.#api.resource(look, 'storage#object', { method: 'GET', url, signal }))
    } catch (error) {
      if (isPgtsError(error, 'file-missing')) return undefined
      throw error
    }
  }

  async list(request: ObjectListRequest): Promise<ObjectPage> {
    const { items, ...page } = await this.#list(request, 'name,size,updated', {})
    const list = this.#doing('list', request.prefix, 'path-open')
    return { ...page, objects: items.map((item) => entry(list, textToBytes(String(item['name'])), item)) }
  }

  async listGenerations(request: ObjectListRequest): Promise<GenerationPage> {
    const fields = 'name,size,generation,timeCreated,timeDeleted'
    const { items, ...page } = await this.#list(request, fields, { versions: 'true' })
    return { ...page, generations: items.map(generationOf) }
  }

  get(name: ByteString, request: ObjectGetRequest = {}): Promise<ObjectBody> {
    return this.#get(name, request, { ifGenerationMatch: request.version })
  }

  getGeneration(name: ByteString, generation: string, request: ObjectGetRequest): Promise<ObjectBody> {
    return this.#get(name, request, { generation })
  }

  put(name: ByteString, bytes: Uint8Array, { signal }: ObjectPutRequest): Promise<void> {
    return this.#put(name, bytes, signal)
  }

  async putIfAbsent(name: ByteString, bytes: Uint8Array, { signal }: ObjectPutRequest): Promise<boolean> {
    try {
      await this.#put(name, bytes, signal, { ifGenerationMatch: '0' })
      return true
    } catch (error) {
      if (error instanceof ConditionFailed) return false
      throw withoutCondition(error)
    }
  }

  async upload(name: ByteString, { signal }: ObjectPutRequest): Promise<ObjectUpload> {
    const api = this.#api
    const write = this.#doing('write', name, 'file-write')
    const response = await api.open(write, {
      method: 'POST',
      url: this.#urls.upload({ uploadType: 'resumable' }),
      headers: { 'content-type': 'application/json; charset=UTF-8', 'x-upload-content-type': CONTENT_TYPE },
      body: JSON.stringify({ name: textName(name), contentType: CONTENT_TYPE, ...this.#metadata }),
      signal,
    })
    const body = await api.body(write, response, signal)
    const session = response.headers.location ?? ''
    if (!/^https?:.*[?&]upload_id=./.test(session))
      throw api.unproven(write, response, 'no upload session', body.toString('utf8'))
    return new ResumableUpload(api, write, session, (generation) => ({
      method: 'DELETE',
      url: this.#urls.object(name, { ifGenerationMatch: generation }),
    }))
  }

  removeBatch(names: readonly ByteString[], signal?: AbortSignal): Promise<readonly NotRemoved[]> {
    return removeBatch(this.#api, names, signal, this.#urls)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agents[Symbol.dispose]()
  }

  async #put(name: ByteString, bytes: Uint8Array, signal: AbortSignal | undefined, condition = {}): Promise<void> {
    const md5Hash = createHash('md5').update(bytes).digest('base64')
    const boundary = randomUUID()
    const about = JSON.stringify({ name: textName(name), md5Hash, contentType: CONTENT_TYPE, ...this.#metadata })
    const head = `--${boundary}\r\ncontent-type: application/json\r\n\r\n${about}\r\n--${boundary}\r\ncontent-type: ${CONTENT_TYPE}\r\n\r\n`
    const write = this.#doing('write', name, 'file-write')
    const stored = await this.#api.resource(write, 'storage#object', {
      method: 'POST',
      url: this.#urls.upload({ uploadType: 'multipart', ...condition }),
      headers: { 'content-type': `multipart/related; boundary=${boundary}` },
      body: [Buffer.from(head), bytes, Buffer.from(`\r\n--${boundary}--\r\n`)],
      signal,
    })
    const isStored =
      stored['name'] === textName(name) &&
      Number(stored['size']) === bytes.length &&
      (stored['md5Hash'] ?? md5Hash) === md5Hash
    if (!isStored) throw new RetryableStoreError(`${write.action}: the store reports another object than was sent`)
  }

  #get(
    name: ByteString,
    request: ObjectGetRequest,
    parameters: Record<string, string | undefined>,
  ): Promise<ObjectBody> {
    const mediaUrl = this.#urls.object(name, { alt: 'media', ...parameters })
    const aboutUrl = this.#urls.object(name, { fields: 'kind,size', ...parameters })
    return getMedia(this.#api, this.#doing('read', name, 'file-read'), { mediaUrl, aboutUrl }, request)
  }

  async #list(
    { prefix, delimiter, after, signal }: ObjectListRequest,
    fields: string,
    parameters: Record<string, string>,
  ) {
    const list = this.#doing('list', prefix, 'path-open')
    const page = await this.#api.resource(list, 'storage#objects', {
      method: 'GET',
      url: this.#urls.objects({
        prefix: prefix === '' ? undefined : textName(prefix),
        delimiter,
        pageToken: after,
        maxResults: '1000',
        ...parameters,
        fields: `kind,items(${fields}),prefixes,nextPageToken`,
      }),
      signal,
    })
    const {
      items = [],
      prefixes = [],
      nextPageToken,
    } = page as {
      items?: Record<string, unknown>[]
      prefixes?: string[]
      nextPageToken?: string
    }
    const names = items.map(({ name }) => (typeof name === 'string' ? textToBytes(name) : asBytes('')))
    const found = { items, prefixes: prefixes.map(textToBytes), next: nextPageToken || undefined }
    return checkedPage(list.action, { prefix, after }, found, names)
  }

  #doing(verb: string, name: ByteString, code: ErrorCode): Doing {
    return { action: `cannot ${verb} ${this.display}/${bytesToText(name)}`, code }
  }
}

function entry({ action }: Doing, name: ByteString, about: Record<string, unknown>): ObjectEntry {
  const sizeBytes = Number(about['size'])
  const mtimeMs = Date.parse(String(about['updated']))
  if (Number.isNaN(sizeBytes) || Number.isNaN(mtimeMs))
    throw new RetryableStoreError(`${action}: the answer has an object without its size or time`)
  return { name, sizeBytes, mtimeMs }
}

function generationOf(item: Record<string, unknown>): Generation {
  const { name, size, generation, timeCreated, timeDeleted } = item
  return {
    name: textToBytes(String(name)),
    sizeBytes: Number(size ?? 0),
    // Without a time, the version does not count as present at an earlier point in time.
    mtimeMs: Date.parse(String(timeCreated)) || Number.POSITIVE_INFINITY,
    generation: String(generation),
    goneMs: timeDeleted === undefined ? undefined : Date.parse(String(timeDeleted)) || 0,
  }
}
