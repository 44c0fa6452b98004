import type { IncomingMessage } from 'node:http'
import { ContainerClient, newPipeline, type BlobDownloadResponseParsed, type BlobItem } from '@azure/storage-blob'
import { bytesToText, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { isPgtsError, type ErrorCode } from '../../util/error.ts'
import { openAgents, type Agents } from '../http/agents.ts'
import { httpSender, type HttpSend } from '../http/send.ts'
import { StreamChunks } from '../http/stream-chunks.ts'
import { sizeOfAnswer } from '../object/answer-size.ts'
import { listedEntry } from '../object/listed-entry.ts'
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
import { ConditionFailed, RangeBeyondEnd, withoutCondition } from '../object/condition.ts'
import { checkedPage } from '../object/pages.ts'
import { checkRange, type RangeAsked } from '../object/range.ts'
import { blobName } from './blob-name.ts'
import { azureCredential, type AzureSdkCredential } from './credential.ts'
import type { AzureDescription } from './description.ts'
import { azureError, type AzurePlace } from './error.ts'
import { removeBatch } from './remove-batch.ts'
import { azureTransport, checkedOnArrival, NO_LENGTH } from './transport.ts'
import { blockUpload, md5, MAX_BLOCKS, type Attempt } from './upload.ts'

/**
 * A container of Azure Blob Storage.
 *
 * Azure guarantees what a repository needs: a blob becomes visible and durable as a whole when Put Blob or Put Block
 * List returns, and every later read and listing returns it. `If-None-Match: *` creates a name only once. Every upload
 * carries its MD5, which the service checks.
 *
 * @param given sockets for this client, closed with it; absent: the client opens its own
 */
export async function openAzureClient(description: AzureDescription, given?: Agents): Promise<AzureClient> {
  const agents = given ?? (await openAgents(description.access))
  return new AzureClient(description, agents, httpSender(agents, description.access.stallMs))
}

export class AzureClient implements ObjectClient {
  readonly display: string
  readonly limits: ObjectLimits
  readonly #agents: Agents
  readonly #place: AzurePlace
  readonly #credential: AzureSdkCredential
  readonly #container: ContainerClient
  readonly #tags: { readonly tags?: Record<string, string> }

  constructor(description: AzureDescription, agents: Agents, send: HttpSend) {
    const { container, serviceUrl, repository } = description
    this.display = `azure://${container}`
    this.limits = {
      partBytes: { min: description.partBytes, max: 4000 * 1024 * 1024 },
      maxParts: MAX_BLOCKS,
      parallelParts: 16,
      removeBatch: 256,
    }
    this.#agents = agents
    this.#place = { display: this.display, container, repository, credential: description.credential.type }
    const { credential, query } = azureCredential(description, send)
    this.#credential = credential
    // The retrying wrapper repeats requests. `maxTries: 1` means: no retry by the SDK.
    const pipeline = newPipeline(credential, { httpClient: azureTransport(send), retryOptions: { maxTries: 1 } })
    pipeline.factories.push(checkedOnArrival)
    this.#container = new ContainerClient(`${serviceUrl}/${encodeURIComponent(container)}${query}`, pipeline)
    this.#tags = description.tags === undefined ? {} : { tags: { ...description.tags } }
  }

  async head(name: ByteString, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    const list = (request: ObjectListRequest) => this.list(request)
    try {
      const found = await this.#attempt(name, 'file-info')('look at', signal, () =>
        this.#container.getBlobClient(blobName(name)).getProperties({ abortSignal: signal }),
      )
      if (found.contentLength === undefined) return await listedEntry(list, name, this.#shown(name), signal)
      return { name, sizeBytes: found.contentLength, mtimeMs: found.lastModified?.getTime() ?? 0 }
    } catch (error) {
      if (isPgtsError(error, 'file-missing')) return undefined
      throw error
    }
  }

  async list(request: ObjectListRequest): Promise<ObjectPage> {
    const { prefix, delimiter, after, signal } = request
    const page = await this.#attempt(prefix, 'path-open')('list', signal, () =>
      nextPage(this.#container, { prefix: blobName(prefix), delimiter, after, signal }),
    )
    const names = page.objects.map(({ name }) => name)
    return checkedPage(`cannot list ${this.#shown(prefix)}`, request, page, names)
  }

  async get(name: ByteString, request: ObjectGetRequest = {}): Promise<ObjectBody> {
    const { offset = 0, length, version, signal } = request
    const conditions = version === undefined ? {} : { conditions: { ifMatch: version } }
    try {
      const answer = await this.#attempt(name, 'file-read')('read', signal, () =>
        this.#container
          .getBlobClient(blobName(name))
          .download(offset, length, { maxRetryRequests: 0, ...conditions, abortSignal: signal }),
      )
      return body(`cannot read ${this.#shown(name)}`, this.#place, answer, { offset, length, signal })
    } catch (error) {
      if (error instanceof RangeBeyondEnd) return { chunks: nothing(), sizeBytes: 0, cancel: () => undefined }
      throw error
    }
  }

  put(name: ByteString, bytes: Uint8Array, { signal }: ObjectPutRequest): Promise<void> {
    return this.#put(name, bytes, signal, {})
  }

  async putIfAbsent(name: ByteString, bytes: Uint8Array, { signal }: ObjectPutRequest): Promise<boolean> {
    try {
      await this.#put(name, bytes, signal, { conditions: { ifNoneMatch: '*' } })
      return true
    } catch (error) {
      if (error instanceof ConditionFailed) return false
      throw withoutCondition(error)
    }
  }

  async upload(name: ByteString): Promise<ObjectUpload> {
    const blob = this.#container.getBlockBlobClient(blobName(name))
    return blockUpload(blob, this.#attempt(name, 'file-write'), this.#tags)
  }

  removeBatch(names: readonly ByteString[], signal?: AbortSignal): Promise<readonly NotRemoved[]> {
    return removeBatch(this.#container, this.#credential, this.#place, names, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agents[Symbol.dispose]()
  }

  async #put(name: ByteString, bytes: Uint8Array, signal: AbortSignal | undefined, condition: object): Promise<void> {
    const checksum = md5(bytes)
    await this.#attempt(name, 'file-write')('write', signal, () =>
      this.#container.getBlockBlobClient(blobName(name)).upload(bytes, bytes.length, {
        ...condition,
        ...this.#tags,
        // See `checkedOnArrival`.
        blobHTTPHeaders: { blobContentMD5: checksum },
        abortSignal: signal,
      }),
    )
  }

  /** Runs requests about one name and translates their errors. */
  #attempt(name: ByteString, code: ErrorCode): Attempt {
    return async (doing, signal, request) => {
      try {
        return await request()
      } catch (error) {
        if (signal?.aborted) throw signal.reason
        throw azureError(`cannot ${doing} ${this.#shown(name)}`, code, this.#place, error)
      }
    }
  }

  #shown(name: ByteString): string {
    return `${this.display}/${bytesToText(name)}`
  }
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
  const options = { prefix, abortSignal: signal }
  const settings = { maxPageSize: PAGE_SIZE, continuationToken: after }
  // One `next()` of a page iterator sends one request.
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
    next: continuationToken || undefined,
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
  // Avoids an uncaught error before a reader is attached; the reader still receives the error.
  stream.on('error', () => undefined)
  try {
    checkRange(action, asked, { status: answer._response.status, contentRange, contentLength })
  } catch (error) {
    stream.destroy()
    throw error
  }
  return {
    ...sizeOfAnswer(contentLength, contentRange),
    version: answer.etag,
    chunks: new StreamChunks(stream, (error) =>
      signal?.aborted ? signal.reason : azureError(action, 'file-read', place, error),
    ),
    cancel: () => void stream.destroy(),
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
