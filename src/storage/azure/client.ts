import type { IncomingMessage } from 'node:http'
import { ContainerClient, newPipeline, type BlobDownloadResponseParsed, type BlobItem } from '@azure/storage-blob'
import { bytesToText, textToBytes } from '../../util/byte-string.ts'
import { isPgtsError, type ErrorCode } from '../../util/error.ts'
import { openAgents, type Agents } from '../http/agents.ts'
import { httpSender } from '../http/send.ts'
import { sizeOfAnswer } from '../object/answer-size.ts'
import { listedEntry } from '../object/listed-entry.ts'
import type { ObjectBody, ObjectClient, ObjectEntry, ObjectListRequest, ObjectPage } from '../object/client.ts'
import { ConditionFailed, RangeBeyondEnd, withoutCondition } from '../object/condition.ts'
import { checkedPage } from '../object/pages.ts'
import { checkRange, type RangeAsked } from '../object/range.ts'
import { blobName } from './blob-name.ts'
import { azureCredential } from './credential.ts'
import type { AzureDescription } from './description.ts'
import { azureError, type AzurePlace } from './error.ts'
import { removeBatch } from './remove-batch.ts'
import { azureTransport, checkedOnArrival, NO_LENGTH } from './transport.ts'
import { blockUpload, md5, MAX_BLOCKS } from './upload.ts'

/**
 * A container of Azure Blob Storage.
 *
 * Azure promises what a repository needs: a blob appears whole when Put Blob or Put Block List is answered, is durable
 * then, and is seen at once by every read and listing. `If-None-Match: *` makes a name once only. Every upload carries
 * its MD5, which the service checks.
 *
 * @param given sockets to it, closed with the client; absent: it opens its own
 */
export async function azureClient(description: AzureDescription, given?: Agents): Promise<ObjectClient> {
  const agents = given ?? (await openAgents(description.access))
  const send = httpSender(agents, description.access.stallMs)
  const { container, serviceUrl, repository } = description
  const place: AzurePlace = {
    display: `azure://${container}`,
    container,
    repository,
    credential: description.credential.type,
  }
  const { credential, query } = azureCredential(description, send)
  const url = `${serviceUrl}/${encodeURIComponent(container)}${query}`
  // The wrapper above repeats; 1 try is the SDK's way of saying so.
  const pipeline = newPipeline(credential, { httpClient: azureTransport(send), retryOptions: { maxTries: 1 } })
  pipeline.factories.push(checkedOnArrival)
  const client = new ContainerClient(url, pipeline)
  const tags = description.tags === undefined ? {} : { tags: { ...description.tags } }

  const attempt = (name: string, code: ErrorCode) =>
    async function <T>(doing: string, signal: AbortSignal | undefined, request: () => Promise<T>): Promise<T> {
      try {
        return await request()
      } catch (error) {
        if (signal?.aborted) throw signal.reason
        throw azureError(`cannot ${doing} ${place.display}/${bytesToText(name)}`, code, place, error)
      }
    }

  async function put(name: string, bytes: Uint8Array, signal: AbortSignal | undefined, condition: object) {
    const checksum = md5(bytes)
    await attempt(name, 'file-write')('write', signal, () =>
      client.getBlockBlobClient(blobName(name)).upload(bytes, bytes.length, {
        ...condition,
        ...tags,
        // See `checkedOnArrival`.
        blobHTTPHeaders: { blobContentMD5: checksum },
        ...abortable(signal),
      }),
    )
  }

  async function list(request: ObjectListRequest): Promise<ObjectPage> {
    const { prefix, delimiter, after, signal } = request
    const page = await attempt(prefix, 'path-open')('list', signal, () =>
      nextPage(client, { prefix: blobName(prefix), delimiter, after, signal }),
    )
    const names = page.objects.map(({ name }) => name)
    return checkedPage(`cannot list ${place.display}/${bytesToText(prefix)}`, request, page, names)
  }

  return {
    display: place.display,
    limits: {
      partBytes: { min: description.partBytes, max: 4000 * 1024 * 1024 },
      maxParts: MAX_BLOCKS,
      parallelParts: 16,
      removeBatch: 256,
    },

    async head(name, signal) {
      const shown = `${place.display}/${bytesToText(name)}`
      try {
        const found = await attempt(name, 'file-info')('look at', signal, () =>
          client.getBlobClient(blobName(name)).getProperties(abortable(signal)),
        )
        if (found.contentLength === undefined) return await listedEntry(list, name, shown, signal)
        return { name, sizeBytes: found.contentLength, mtimeMs: found.lastModified?.getTime() ?? 0 }
      } catch (error) {
        if (isPgtsError(error, 'file-missing')) return undefined
        throw error
      }
    },

    list,

    async get(name, { offset = 0, length, version, signal } = {}) {
      const conditions = version === undefined ? {} : { conditions: { ifMatch: version } }
      try {
        const answer = await attempt(name, 'file-read')('read', signal, () =>
          client
            .getBlobClient(blobName(name))
            .download(offset, length, { maxRetryRequests: 0, ...conditions, ...abortable(signal) }),
        )
        return body(`cannot read ${place.display}/${bytesToText(name)}`, place, answer, { offset, length, signal })
      } catch (error) {
        if (error instanceof RangeBeyondEnd) return { chunks: nothing(), sizeBytes: 0, cancel: () => undefined }
        throw error
      }
    },

    put: (name, bytes, { signal }) => put(name, bytes, signal, {}),

    async putIfAbsent(name, bytes, { signal }) {
      try {
        await put(name, bytes, signal, { conditions: { ifNoneMatch: '*' } })
        return true
      } catch (error) {
        if (error instanceof ConditionFailed) return false
        throw withoutCondition(error)
      }
    },

    upload: async (name) => blockUpload(client.getBlockBlobClient(blobName(name)), attempt(name, 'file-write'), tags),

    removeBatch: (names, signal) => removeBatch(client, credential, place, names, signal),

    [Symbol.asyncDispose]: async () => agents[Symbol.dispose](),
  }
}

function abortable(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal }
}

const PAGE_SIZE = 5000

interface Page {
  readonly segment: { readonly blobItems: readonly BlobItem[]; readonly blobPrefixes?: readonly { name: string }[] }
  readonly continuationToken?: string
}

async function nextPage(
  client: ContainerClient,
  request: { prefix: string; delimiter: '/' | undefined; after: string | undefined; signal: AbortSignal | undefined },
): Promise<ObjectPage> {
  const { prefix, delimiter, after, signal } = request
  const options = { prefix, ...abortable(signal) }
  const settings = { maxPageSize: PAGE_SIZE, ...(after === undefined ? {} : { continuationToken: after }) }
  // `next` of a page iterator is one request.
  const page: Page | undefined = (
    delimiter === undefined
      ? await client.listBlobsFlat(options).byPage(settings).next()
      : await client.listBlobsByHierarchy(delimiter, options).byPage(settings).next()
  ).value
  if (page === undefined) throw new Error('the answer has no page of the listing')
  const { segment, continuationToken } = page
  return {
    objects: segment.blobItems.map(entry),
    prefixes: (segment.blobPrefixes ?? []).map(({ name }) => textToBytes(name)),
    ...(continuationToken ? { next: continuationToken } : {}),
  }
}

function entry({ name, properties }: BlobItem): ObjectEntry {
  const { contentLength: sizeBytes, lastModified } = properties
  const mtimeMs = new Date(lastModified).getTime()
  if (sizeBytes === undefined || Number.isNaN(mtimeMs))
    throw new Error('the listing has a blob without its size or time')
  return { name: textToBytes(name), sizeBytes, mtimeMs }
}

function body(
  action: string,
  place: AzurePlace,
  answer: BlobDownloadResponseParsed,
  { signal, ...asked }: RangeAsked & { readonly signal: AbortSignal | undefined },
): ObjectBody {
  const stream = answer.readableStreamBody as IncomingMessage
  // The properties of the SDK's answer are getters of its class.
  const { contentRange } = answer
  const contentLength = answer.contentLength === NO_LENGTH ? undefined : answer.contentLength
  // Whoever reads it hears of an error all the same; before that, one without a listener would end the process.
  stream.on('error', () => undefined)
  try {
    checkRange(action, asked, { status: answer._response.status, contentRange, contentLength })
  } catch (error) {
    stream.destroy()
    throw error
  }
  return {
    ...sizeOfAnswer(contentLength, contentRange),
    ...(answer.etag === undefined ? {} : { version: answer.etag }),
    chunks: {
      async *[Symbol.asyncIterator]() {
        try {
          for await (const chunk of stream) yield chunk as Buffer
        } catch (error) {
          if (signal?.aborted) throw signal.reason
          throw azureError(action, 'file-read', place, error)
        }
      },
    },
    cancel: () => void stream.destroy(),
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
