import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer as plainServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as tlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { GcsBucket, type ObjectMetadata, type Preconditions, type StoredObject } from './gcs-objects.ts'
import { multipartParts, mixedBody } from './gcs-multipart.ts'
import { GcsRefusal, notFound } from './gcs-refusal.ts'
import { GcsTokens } from './gcs-token.ts'
import { GcsUpload } from './gcs-upload.ts'
import type { TestCertificates } from './tls.ts'

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | number>>
  readonly body?: string | Buffer
}

interface Asked {
  readonly method: string
  /** Without the query, as it came. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  /** Where the client reached us: `https://127.0.0.1:4443`. */
  readonly origin: string
}

const BATCH_CALLS = 100

/**
 * The JSON API of Google Cloud Storage as far as backups need it, strict where the service is: tokens for signed
 * assertions, paging, generations and preconditions, media, multipart and resumable uploads, checksums, ranges, batches.
 * In memory, on 127.0.0.1, in TLS and in plain HTTP. Its test uses Google's own client.
 */
export class GcsServer implements AsyncDisposable {
  readonly tokens = new GcsTokens()
  /** A line for each request: `GET /storage/v1/b/x/o 200`. */
  readonly requests: string[] = []
  readonly #buckets = new Map<string, GcsBucket>()
  readonly #uploads = new Map<string, GcsUpload>()
  readonly #servers: Server[]
  readonly #sockets = new Set<Socket>()

  private constructor(readonly certificates: TestCertificates) {
    const { certFile, keyFile } = certificates
    this.#servers = [
      plainServer((asked, answer) => void this.#serve('http', asked, answer)),
      tlsServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (asked, answer) => {
        void this.#serve('https', asked, answer)
      }),
    ]
    for (const server of this.#servers) {
      server.on('connection', (socket: Socket) => {
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
      })
    }
  }

  static async start(certificates: TestCertificates): Promise<GcsServer> {
    const gcs = new GcsServer(certificates)
    for (const server of gcs.#servers) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return gcs
  }

  get httpPort(): number {
    return (this.#servers[0]?.address() as AddressInfo).port
  }

  get httpsPort(): number {
    return (this.#servers[1]?.address() as AddressInfo).port
  }

  /** Key file of the one account that may do everything. @param port where its token endpoint is reached, in TLS */
  keyFile(port = this.httpsPort): string {
    return this.tokens.keyFile(`https://127.0.0.1:${port}/token`)
  }

  createBucket(name: string, { versioning = false } = {}): GcsBucket {
    const bucket = new GcsBucket(versioning)
    this.#buckets.set(name, bucket)
    return bucket
  }

  /** Names of a bucket's objects whose upload was begun and neither completed nor cancelled. */
  openUploads(bucketName: string): string[] {
    const bucket = this.#buckets.get(bucketName)
    return [...this.#uploads.values()]
      .filter((upload) => upload.bucket === bucket && !upload.finished)
      .map((upload) => upload.name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closed)
  }

  async #serve(scheme: string, asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { method = 'GET', url: target = '/', headers } = asked
    const [path = '', query = ''] = target.split('?', 2)
    let answered: Answer
    try {
      const chunks: Buffer[] = []
      for await (const chunk of asked) chunks.push(chunk as Buffer)
      const origin = `${scheme}://${headers.host ?? ''}`
      const body = Buffer.concat(chunks)
      answered = this.#answer({ method, path, query: new URLSearchParams(query), headers, body, origin })
    } catch (error) {
      if (asked.destroyed && !asked.complete) return
      answered = refused(error)
    }
    this.requests.push(`${method} ${path} ${answered.status}`)
    const { status, body = '' } = answered
    const length = status === 204 || status === 304 ? {} : { 'content-length': Buffer.byteLength(body) }
    answer.writeHead(status, { ...length, ...answered.headers }).end(method === 'HEAD' ? undefined : body)
  }

  #answer(asked: Asked): Answer {
    const { method, path, headers } = asked
    if (path === '/token' && method === 'POST') return this.#grant(asked)
    if (path.startsWith('/computeMetadata/v1/instance/service-accounts/default/token')) {
      if (headers['metadata-flavor'] !== 'Google') return { status: 403 }
      return { ...json(this.tokens.issue()), headers: { 'metadata-flavor': 'Google' } }
    }
    if (path.startsWith('/upload/') && asked.query.has('upload_id')) return this.#resume(asked)
    this.tokens.check(headers.authorization)
    if (path === '/batch/storage/v1' && method === 'POST') return this.#batch(asked)
    return this.#call(asked)
  }

  /** The token endpoint has its own way of refusing. */
  #grant({ body, origin }: Asked): Answer {
    try {
      return json(this.tokens.grant(new URLSearchParams(body.toString()), `${origin}/token`))
    } catch (error) {
      if (!(error instanceof GcsRefusal)) throw error
      const { status, reason, message } = error
      return { ...json({ error: reason, error_description: message }), status }
    }
  }

  /** One call of the API, also in a batch. */
  #call(asked: Asked): Answer {
    const { method } = asked
    const [, service, bucketName, rest] =
      /^(?:\/(upload|download))?\/storage\/v1\/b\/([^/]+)(?:\/o)?(?:\/(.*))?$/.exec(asked.path) ?? []
    const bucket = this.#buckets.get(decodeURIComponent(bucketName ?? ''))
    if (bucketName === undefined) throw new GcsRefusal(404, 'notFound', `Not Found: ${asked.path}`)
    if (bucket === undefined) throw notFound('The specified bucket')
    if (!/\/o(\/|$)/.test(asked.path)) return json({ kind: 'storage#bucket', name: bucketName })
    if (service === 'upload') return this.#upload(asked, bucket, bucketName)
    if (rest === undefined) return this.#list(asked, bucket, bucketName)
    const name = decodeURIComponent(rest)
    const generation = asked.query.has('generation') ? Number(asked.query.get('generation')) : undefined
    if (method === 'DELETE') {
      bucket.check(name, conditionsOf(asked))
      if (!bucket.remove(name, generation)) throw notFound(`No such object: ${bucketName}/${name}`)
      return { status: 204 }
    }
    if (method !== 'GET') throw new GcsRefusal(405, 'methodNotAllowed', `${method} is not allowed here`)
    const object = bucket.find(name, generation)
    if (object === undefined) throw notFound(`No such object: ${bucketName}/${name}`)
    bucket.check(name, conditionsOf(asked))
    if (asked.query.get('alt') === 'media' || service === 'download') return media(object, asked.headers.range)
    return json(resource(bucketName, object))
  }

  #list({ query }: Asked, bucket: GcsBucket, bucketName: string): Answer {
    const optional = (name: string) => (query.get(name) ? { [name]: query.get(name) ?? '' } : {})
    const { items, ...rest } = bucket.list({
      prefix: query.get('prefix') ?? '',
      ...optional('delimiter'),
      ...optional('startOffset'),
      ...optional('endOffset'),
      ...optional('pageToken'),
      maxResults: Number(query.get('maxResults') ?? 1000),
      versions: query.get('versions') === 'true',
    })
    const { prefixes, nextPageToken } = rest
    // Empty members are omitted.
    return json({
      kind: 'storage#objects',
      ...(nextPageToken === undefined ? {} : { nextPageToken }),
      ...(prefixes.length === 0 ? {} : { prefixes }),
      ...(items.length === 0 ? {} : { items: items.map((item) => resource(bucketName, item)) }),
    })
  }

  #upload(asked: Asked, bucket: GcsBucket, bucketName: string): Answer {
    const { query, headers, body } = asked
    const conditions = conditionsOf(asked)
    const contentType = headers['content-type'] ?? 'application/octet-stream'
    switch (query.get('uploadType')) {
      case 'media': {
        const object = bucket.put(named(query, {}), body, { contentType, ...hashesOf(headers) }, conditions)
        return json(resource(bucketName, object))
      }
      case 'multipart': {
        const [first, second, more] = multipartParts(contentType, body)
        if (first === undefined || second === undefined || more !== undefined)
          throw new GcsRefusal(400, 'badContent', 'A multipart upload has two parts: metadata and bytes')
        const metadata = JSON.parse(first.body.toString() || '{}') as ObjectMetadata
        const object = bucket.put(named(query, metadata), second.body, metadata, conditions)
        return json(resource(bucketName, object))
      }
      case 'resumable': {
        const metadata = JSON.parse(body.toString() || '{}') as ObjectMetadata
        const id = randomUUID()
        this.#uploads.set(id, new GcsUpload(bucket, named(query, metadata), metadata, conditions))
        const location = `${asked.origin}${asked.path}?uploadType=resumable&upload_id=${id}`
        return { status: 200, headers: { location, 'x-guploader-uploadid': id } }
      }
      default:
        throw new GcsRefusal(400, 'invalid', 'uploadType has to be media, multipart or resumable')
    }
  }

  /** A request to the address of a resumable upload; the address replaces a token. */
  #resume({ method, path, query, headers, body }: Asked): Answer {
    const id = query.get('upload_id') ?? ''
    const upload = this.#uploads.get(id)
    if (upload === undefined) throw notFound('This upload')
    if (method === 'DELETE') {
      this.#uploads.delete(id)
      return { status: 499 }
    }
    const state = upload.take(headers['content-range'], body, hashesOf(headers))
    if ('object' in state) return json(resource(decodeURIComponent(path.split('/')[5] ?? ''), state.object))
    const { receivedBytes } = state
    return { status: 308, headers: receivedBytes === 0 ? {} : { range: `bytes=0-${receivedBytes - 1}` } }
  }

  #batch(asked: Asked): Answer {
    const calls = multipartParts(asked.headers['content-type'] ?? '', asked.body)
    if (calls.length > BATCH_CALLS) throw new GcsRefusal(400, 'invalid', `A batch has at most ${BATCH_CALLS} calls`)
    const answers = calls.map(({ headers, body }) => {
      const [, method = '', target = ''] = /^([A-Z]+) (\S+)/.exec(body.toString()) ?? []
      const [path = '', query = ''] = target.split('?', 2)
      let answered: Answer
      try {
        const inner = { method, path, query: new URLSearchParams(query), headers: {}, body: Buffer.alloc(0) }
        answered = this.#call({ ...inner, origin: asked.origin })
      } catch (error) {
        answered = refused(error)
      }
      return { id: headers['content-id'] ?? '', status: answered.status, body: String(answered.body ?? '') }
    })
    const { contentType, body } = mixedBody(answers)
    return { status: 200, headers: { 'content-type': contentType }, body }
  }
}

function json(value: unknown): Answer {
  return { status: 200, headers: { 'content-type': 'application/json; charset=UTF-8' }, body: JSON.stringify(value) }
}

function refused(error: unknown): Answer {
  const refusal = error instanceof GcsRefusal ? error : new GcsRefusal(500, 'backendError', String(error))
  return { status: refusal.status, headers: { 'content-type': 'application/json; charset=UTF-8' }, body: refusal.body }
}

function named(query: URLSearchParams, metadata: ObjectMetadata): string {
  const name = query.get('name') ?? metadata.name
  if (name === undefined) throw new GcsRefusal(400, 'required', 'Required parameter: name')
  return name
}

function conditionsOf({ query }: Asked): Preconditions {
  const value = query.get('ifGenerationMatch')
  return value === null ? {} : { ifGenerationMatch: Number(value) }
}

/** `x-goog-hash: crc32c=...,md5=...` and `content-md5`. */
function hashesOf(headers: IncomingMessage['headers']): Pick<ObjectMetadata, 'md5Hash' | 'crc32c'> {
  const text = [headers['x-goog-hash'] ?? []].flat().join(',')
  const md5 = /md5=([^,]+)/.exec(text)?.[1] ?? headers['content-md5']?.toString()
  const crc32c = /crc32c=([^,]+)/.exec(text)?.[1]
  return { md5Hash: md5, crc32c }
}

/** An object as the API describes it; 64-bit values are strings. */
function resource(bucket: string, object: StoredObject): Record<string, unknown> {
  const { name, bytes, generation, metadata, createdMs, deletedMs } = object
  const time = new Date(createdMs).toISOString()
  return {
    kind: 'storage#object',
    id: `${bucket}/${name}/${generation}`,
    name,
    bucket,
    generation: String(generation),
    metageneration: '1',
    contentType: metadata.contentType ?? 'application/octet-stream',
    storageClass: metadata.storageClass ?? 'STANDARD',
    size: String(bytes.length),
    md5Hash: object.md5,
    crc32c: object.crc32c,
    etag: `"${generation}"`,
    timeCreated: time,
    updated: time,
    ...(deletedMs === undefined ? {} : { timeDeleted: new Date(deletedMs).toISOString() }),
    ...(metadata.metadata === undefined ? {} : { metadata: metadata.metadata }),
  }
}

function media(object: StoredObject, range: string | undefined): Answer {
  const { bytes, generation, metadata } = object
  const headers = {
    'content-type': metadata.contentType ?? 'application/octet-stream',
    'accept-ranges': 'bytes',
    'x-goog-hash': `crc32c=${object.crc32c},md5=${object.md5}`,
    'x-goog-generation': String(generation),
    'x-goog-metageneration': '1',
    'x-goog-stored-content-length': bytes.length,
    'x-goog-stored-content-encoding': 'identity',
    'last-modified': new Date(object.createdMs).toUTCString(),
    etag: `"${generation}"`,
  }
  const [, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(range ?? '') ?? []
  if (from === '' && to === '') return { status: 200, headers, body: bytes }
  const begin = from === '' ? Math.max(0, bytes.length - Number(to)) : Number(from)
  const end = from === '' || to === '' ? bytes.length : Math.min(bytes.length, Number(to) + 1)
  if (begin >= bytes.length || begin >= end)
    throw new GcsRefusal(416, 'requestedRangeNotSatisfiable', 'The requested range cannot be satisfied.')
  const contentRange = `bytes ${begin}-${end - 1}/${bytes.length}`
  return { status: 206, headers: { ...headers, 'content-range': contentRange }, body: bytes.subarray(begin, end) }
}
