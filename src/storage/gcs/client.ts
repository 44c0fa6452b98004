import { createHash, randomUUID } from 'node:crypto'
import { bytesToText, textToBytes } from '../../util/byte-string.ts'
import { isPgtsError, type ErrorCode } from '../../util/error.ts'
import { openAgents, type Agents } from '../http/agents.ts'
import { httpSender } from '../http/send.ts'
import type { ObjectEntry, ObjectGetRequest, ObjectListRequest } from '../object/client.ts'
import { ConditionFailed, withoutCondition } from '../object/condition.ts'
import { checkedPage } from '../object/pages.ts'
import { textName } from '../object/text-name.ts'
import { StoreTrouble } from '../object/trouble.ts'
import { GcsApi, type Doing } from './api.ts'
import type { GcsDescription } from './description.ts'
import { getMedia } from './media.ts'
import type { GcsClient, Generation } from './past.ts'
import { removeBatch, MAX_CALLS } from './remove-batch.ts'
import { tokenSource } from './token.ts'
import { resumableUpload, GRAIN_BYTES } from './upload.ts'

/**
 * A bucket of Google Cloud Storage, by its JSON API.
 *
 * Google promises what a repository needs: an object appears whole when its upload is answered, is durable then, and is
 * seen at once by every read and listing. `ifGenerationMatch=0` makes a name once only. Every upload carries its MD5,
 * which the service checks before the object appears.
 *
 * The requests are our own, not those of @google-cloud/storage: see docs/decisions.
 *
 * @param given sockets to it, closed with the client; absent: it opens its own
 */
export async function gcsClient(description: GcsDescription, given?: Agents): Promise<GcsClient> {
  const agents = given ?? (await openAgents(description.access))
  const send = httpSender(agents, description.access.stallMs)
  const { bucket, serviceUrl, userProject, tags, repository } = description
  const display = `gcs://${bucket}`
  const place = { display, bucket, repository, credential: description.credential.type }
  const api = new GcsApi(place, send, tokenSource(description, send))

  const bucketPath = `/b/${encodeURIComponent(bucket)}/o`
  const objectPath = (name: string) => `${bucketPath}/${encodeURIComponent(textName(name))}`
  const query = (parameters: Record<string, string | undefined>) => {
    const all = new URLSearchParams()
    for (const [key, value] of Object.entries({ ...parameters, userProject }))
      if (value !== undefined) all.set(key, value)
    const text = all.toString()
    return text === '' ? '' : `?${text}`
  }
  const object = (name: string, parameters = {}) => `${serviceUrl}/storage/v1${objectPath(name)}${query(parameters)}`
  const uploading = (parameters: Record<string, string>) =>
    `${serviceUrl}/upload/storage/v1${bucketPath}${query({ ...parameters, fields: 'kind,name,size,generation,md5Hash' })}`
  const doing = (verb: string, name: string, code: ErrorCode): Doing => ({
    action: `cannot ${verb} ${display}/${bytesToText(name)}`,
    code,
  })
  const metadata = tags === undefined ? {} : { metadata: tags }

  async function put(name: string, bytes: Uint8Array, signal: AbortSignal | undefined, condition = {}): Promise<void> {
    const md5Hash = createHash('md5').update(bytes).digest('base64')
    const boundary = randomUUID()
    const about = JSON.stringify({ name: textName(name), md5Hash, contentType: CONTENT_TYPE, ...metadata })
    const head = `--${boundary}\r\ncontent-type: application/json\r\n\r\n${about}\r\n--${boundary}\r\ncontent-type: ${CONTENT_TYPE}\r\n\r\n`
    const write = doing('write', name, 'file-write')
    const stored = await api.resource(write, 'storage#object', {
      method: 'POST',
      url: uploading({ uploadType: 'multipart', ...condition }),
      headers: { 'content-type': `multipart/related; boundary=${boundary}` },
      body: [Buffer.from(head), bytes, Buffer.from(`\r\n--${boundary}--\r\n`)],
      signal,
    })
    const isStored =
      stored['name'] === textName(name) &&
      Number(stored['size']) === bytes.length &&
      (stored['md5Hash'] ?? md5Hash) === md5Hash
    if (!isStored) throw new StoreTrouble(`${write.action}: the store reports another object than was sent`)
  }

  return {
    display,
    limits: {
      partBytes: {
        min: Math.ceil(description.partBytes / GRAIN_BYTES) * GRAIN_BYTES,
        max: 1024 ** 3,
        multipleOf: GRAIN_BYTES,
      },
      // A session may have any number of them: what ends it is the largest object, 5 TiB, and a week.
      maxParts: 1_000_000,
      parallelParts: 1,
      removeBatch: MAX_CALLS,
    },

    async head(name, signal) {
      try {
        const look = doing('look at', name, 'file-info')
        const url = object(name, { fields: 'kind,size,updated' })
        return entry(look, name, await api.resource(look, 'storage#object', { method: 'GET', url, signal }))
      } catch (error) {
        if (isPgtsError(error, 'file-missing')) return undefined
        throw error
      }
    },

    async list(request) {
      const { items, ...page } = await listed(request, 'name,size,updated', {})
      const list = doing('list', request.prefix, 'path-open')
      return { ...page, objects: items.map((item) => entry(list, textToBytes(String(item['name'])), item)) }
    },

    async listGenerations(request) {
      const fields = 'name,size,generation,timeCreated,timeDeleted'
      const { items, ...page } = await listed(request, fields, { versions: 'true' })
      return { ...page, generations: items.map(generationOf) }
    },

    get: (name, request = {}) => get(name, request, { ifGenerationMatch: request.version }),

    getGeneration: (name, generation, request) => get(name, request, { generation }),

    put: (name, bytes, { signal }) => put(name, bytes, signal),

    async putIfAbsent(name, bytes, { signal }) {
      try {
        await put(name, bytes, signal, { ifGenerationMatch: '0' })
        return true
      } catch (error) {
        if (error instanceof ConditionFailed) return false
        throw withoutCondition(error)
      }
    },

    async upload(name, { signal }) {
      const write = doing('write', name, 'file-write')
      const response = await api.open(write, {
        method: 'POST',
        url: uploading({ uploadType: 'resumable' }),
        headers: { 'content-type': 'application/json; charset=UTF-8', 'x-upload-content-type': CONTENT_TYPE },
        body: JSON.stringify({ name: textName(name), contentType: CONTENT_TYPE, ...metadata }),
        signal,
      })
      const body = await api.body(write, response, signal)
      const session = response.headers.location ?? ''
      if (!/^https?:.*[?&]upload_id=./.test(session))
        throw api.unproven(write, response, 'no upload session', body.toString('utf8'))
      return resumableUpload(api, write, session, (generation) => ({
        method: 'DELETE',
        url: object(name, { ifGenerationMatch: generation }),
      }))
    },

    removeBatch: (names, signal) =>
      removeBatch(api, names, signal, {
        batchUrl: `${serviceUrl}/batch/storage/v1`,
        objectUrl: (name) => object(name),
        objectPath: (name) => `/storage/v1${objectPath(name)}${query({})}`,
      }),

    [Symbol.asyncDispose]: async () => agents[Symbol.dispose](),
  }

  async function listed(
    { prefix, delimiter, after, signal }: ObjectListRequest,
    fields: string,
    parameters: Record<string, string>,
  ) {
    const list = doing('list', prefix, 'path-open')
    const page = await api.resource(list, 'storage#objects', {
      method: 'GET',
      url: `${serviceUrl}/storage/v1${bucketPath}${query({
        prefix: prefix === '' ? undefined : textName(prefix),
        delimiter,
        pageToken: after,
        maxResults: '1000',
        ...parameters,
        fields: `kind,items(${fields}),prefixes,nextPageToken`,
      })}`,
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
    const names = items.map(({ name }) => (typeof name === 'string' ? textToBytes(name) : ''))
    const found = { items, prefixes: prefixes.map(textToBytes), ...(nextPageToken ? { next: nextPageToken } : {}) }
    return checkedPage(list.action, { prefix, ...(after === undefined ? {} : { after }) }, found, names)
  }

  function get(name: string, request: ObjectGetRequest, parameters: Record<string, string | undefined>) {
    const read = doing('read', name, 'file-read')
    const mediaUrl = object(name, { alt: 'media', ...parameters })
    return getMedia(api, read, { mediaUrl, aboutUrl: object(name, { fields: 'kind,size', ...parameters }) }, request)
  }
}

const CONTENT_TYPE = 'application/octet-stream'

function entry({ action }: Doing, name: string, about: Record<string, unknown>): ObjectEntry {
  const sizeBytes = Number(about['size'])
  const mtimeMs = Date.parse(String(about['updated']))
  if (Number.isNaN(sizeBytes) || Number.isNaN(mtimeMs))
    throw new StoreTrouble(`${action}: the answer has an object without its size or time`)
  return { name, sizeBytes, mtimeMs }
}

function generationOf(item: Record<string, unknown>): Generation {
  const { name, size, generation, timeCreated, timeDeleted } = item
  return {
    name: textToBytes(String(name)),
    sizeBytes: Number(size ?? 0),
    // What is not known to have been there in time was not.
    mtimeMs: Date.parse(String(timeCreated)) || Number.POSITIVE_INFINITY,
    generation: String(generation),
    ...(timeDeleted === undefined ? {} : { goneMs: Date.parse(String(timeDeleted)) || 0 }),
  }
}
