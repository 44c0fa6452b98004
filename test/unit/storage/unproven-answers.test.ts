import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, type Server } from 'node:http'
import { Agent as TlsAgent } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { managedIdentity } from '../../../src/storage/azure/managed-identity.ts'
import { gcsClient } from '../../../src/storage/gcs/client.ts'
import { pastOf as gcsPastOf, type GcsClient } from '../../../src/storage/gcs/past.ts'
import { tokenSource } from '../../../src/storage/gcs/token.ts'
import { httpSender } from '../../../src/storage/http/send.ts'
import type { ObjectClient, ObjectUpload } from '../../../src/storage/object/client.ts'
import { StoreTrouble } from '../../../src/storage/object/trouble.ts'
import { openS3Client, type S3Client } from '../../../src/storage/s3/client.ts'
import type { S3Keys } from '../../../src/storage/s3/description.ts'
import { openCredentials, type FetchKeys } from '../../../src/storage/s3/keys/credentials.ts'
import { pastOf as s3PastOf } from '../../../src/storage/s3/past.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { makeTestDir } from '../../support/test-user.ts'

// What a login page, a balancer, a cache or an incomplete look-alike answers, to each operation of each store.

interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
}
interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

let server: Server
let port: number
let requests: string[]
let answer: (asked: Asked) => Answer

beforeAll(async () => {
  server = createServer((asked, response) => {
    const { method = '', url = '', headers } = asked
    asked.resume().on('end', () => {
      requests.push(`${method} ${url}`)
      const { status, headers: more = {}, body = '' } = answer({ method, url, headers })
      response.writeHead(status, more).end(method === 'HEAD' ? undefined : body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => server.close())
beforeEach(() => {
  requests = []
})

const PAGE = '<html><body>please "log in"</body></html>'
const html = (status: number, headers = {}): Answer => ({
  status,
  headers: { 'content-type': 'text/html; charset=utf-8', ...headers },
  body: PAGE,
})
const xml = (body: string): Answer => ({ status: 200, headers: { 'content-type': 'application/xml' }, body })

/** What no store answers to anything. */
const BOGUS: readonly (readonly [string, Answer])[] = [
  ['200 HTML', html(200)],
  ['200 without a body', { status: 200 }],
  ['200 other XML', xml('<?xml version="1.0"?><feed><IsTruncated>false</IsTruncated></feed>')],
  ['200 JSON of something else', { status: 200, headers: { 'content-type': 'application/json' }, body: '{"ok":true}' }],
  ['202 HTML', html(202)],
  ['204 of a balancer', { status: 204 }],
  ['302 to a login page', html(302, { location: 'https://login.example/' })],
  ['304 of a cache', { status: 304 }],
  ['308 to another host', html(308, { location: 'https://elsewhere.example/' })],
  ['404 HTML', html(404)],
  ['404 without a body', { status: 404 }],
  ['409 HTML', html(409)],
  ['410 HTML', html(410)],
  ['412 HTML', html(412)],
  ['416 HTML', html(416)],
  ['502 HTML', html(502)],
]

const data = { kind: 'data' } as const
const bytes = Buffer.from('bytes')
const caught = (promise: Promise<unknown>) =>
  promise.then(
    (value) => `resolved with ${JSON.stringify(value)}`,
    (error: unknown) => error,
  )

interface Case {
  readonly run?: (client: ObjectClient) => Promise<unknown>
  /** Of an upload that was begun and has one part, with answers of the store. */
  readonly runOn?: (upload: ObjectUpload) => Promise<unknown>
  /** What is an answer to this operation, of all that is none elsewhere. */
  readonly except?: readonly string[]
}

/** A client's contract, request by request. */
const OPERATIONS: Readonly<Record<string, Case>> = {
  head: { run: (client) => client.head('p/a') },
  list: { run: (client) => client.list({ prefix: 'p/' }) },
  'list on': { run: (client) => client.list({ prefix: 'p/', after: 'token' }) },
  get: { run: (client) => client.get('p/a') },
  'get a range': { run: (client) => client.get('p/a', { offset: 2, length: 5 }) },
  'get from the end on': { run: (client) => client.get('p/a', { offset: 200 }) },
  put: { run: (client) => client.put('p/a', bytes, data) },
  putIfAbsent: { run: (client) => client.putIfAbsent!('p/a', bytes, data) },
  'remove one': { run: (client) => client.removeBatch(['p/a']) },
  'remove several': { run: (client) => client.removeBatch(['p/a', 'p/b']) },
}

/** Every operation with every answer that is none. @param begin an upload with one part */
function neverBelieved(
  kind: string,
  operations: Readonly<Record<string, Case>>,
  client: () => ObjectClient,
  begin: () => Promise<ObjectUpload>,
): void {
  describe.each(Object.entries(operations))('%s', (_, { run, runOn, except = [] }) => {
    test.each(BOGUS.filter(([title]) => !except.includes(title)))('%s is a retryable error', async (_title, bogus) => {
      const upload = runOn === undefined ? undefined : await begin()
      answer = () => bogus
      const error = await caught(upload === undefined ? run!(client()) : runOn!(upload))
      expect(error).toBeInstanceOf(StoreTrouble)
      if (bogus.status >= 500) return
      expect((error as Error).message).toContain(`answer ${bogus.status} `)
      expect((error as Error).message).toContain(`is not ${kind} answer`)
    })
  })
}

const S3_OBJECT = { etag: '"e"', 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }
const s3Error = (status: number, code: string): Answer => ({
  ...xml(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`),
  status,
})

describe('S3', () => {
  let client: S3Client
  beforeAll(async () => {
    client = await openS3Client(
      {
        bucket: 'bucket',
        region: 'eu-central-1',
        endpoint: { secure: false, uriStyle: 'path', host: '127.0.0.1', port },
        service: 's3',
        keys: { type: 'shared', key: 'k', secret: 's' },
        access: { verifyTls: true, stallMs: 5000 },
        requesterPays: false,
        partBytes: 5 * 1024 * 1024,
        repository: 'repo1',
      },
      systemClock,
    )
    return () => client[Symbol.asyncDispose]()
  })

  const operations: Record<string, Case> = {
    ...OPERATIONS,
    'remove one': { ...OPERATIONS['remove one'], except: ['204 of a balancer'] },
    'begin an upload': { run: () => client.upload('p/a', data) },
    'write a part': { runOn: (upload) => upload.part(2, bytes) },
    'complete an upload': { runOn: (upload) => upload.complete() },
    'abort an upload': { runOn: (upload) => upload.abort(), except: ['204 of a balancer'] },
    'list uploads': { run: () => client.abortAbandoned('p/', 1) },
    'list versions': { run: () => s3PastOf(client, Date.now()).list({ prefix: 'p/' }) },
    'look up a version': { run: () => s3PastOf(client, Date.now()).head('p/a') },
  }

  const beginUpload = async (): Promise<ObjectUpload> => {
    answer = ({ method }) =>
      method === 'PUT'
        ? { status: 200, headers: S3_OBJECT }
        : xml('<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>')
    const upload = await client.upload('p/a', data)
    await upload.part(1, bytes)
    return upload
  }

  neverBelieved('an S3', operations, () => client, beginUpload)

  test('the message names the operation, the answer and its first 100 characters, escaped, and what to check', async () => {
    answer = () => ({ ...html(200), body: `<p>\n${'x'.repeat(200)}` })
    expect(await caught(client.put('p/a', bytes, data))).toMatchObject({
      code: 'service',
      message: `cannot write s3://bucket/p/a: answer 200 text/html is not an S3 answer (no header etag): '<p>\\n${'x'.repeat(96)}...'`,
      hints: ['check for a proxy, load balancer or login page between this host and the store'],
    })
  })

  const COMPLETED = '<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>'
  test.each([
    ['with an empty ETag (Ceph)', COMPLETED],
    ['after white space that kept the connection open', `<?xml version="1.0"?>\n \n  ${COMPLETED}\n`],
    ['with a prefix of its namespace', COMPLETED.replaceAll(/<(\/?)C/g, '<$1s3:C')],
  ])('an upload is complete when the answer says so, %s', async (_, body) => {
    const upload = await beginUpload()
    answer = () => xml(body)
    await upload.complete()
  })

  test.each([
    ['', '<Error><Code>InternalError</Code><Message>again</Message></Error>', 'InternalError: again'],
    ['with white space', `<?xml version="1.0"?>\n\n <Error><Code>SlowDown</Code></Error>\n`, 'overloaded (SlowDown'],
    ['truncated', COMPLETED.slice(0, -1), 'no element CompleteMultipartUploadResult'],
  ])('a success whose body is an error %s fails', async (_, body, words) => {
    const upload = await beginUpload()
    answer = () => xml(body)
    const error = await caught(upload.complete())
    expect(error).toBeInstanceOf(StoreTrouble)
    expect((error as Error).message).toContain(words)
  })

  test('an object is missing when the store says so in a body, of HEAD by a GET', async () => {
    answer = ({ method }) => (method === 'HEAD' ? { status: 404 } : s3Error(404, 'NoSuchKey'))
    expect(await client.head('p/a')).toBeUndefined()
    expect(requests.map((line) => line.split('?')[0])).toEqual(['HEAD /bucket/p/a', 'GET /bucket/p/a'])
    expect(await caught(client.get('p/a'))).toMatchObject({ code: 'file-missing' })
    answer = ({ method }) => (method === 'HEAD' ? { status: 404 } : s3Error(404, 'NoSuchBucket'))
    expect(await caught(client.head('p/a'))).toMatchObject({ code: 'path-missing' })
    const there = { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 0-0/5', 'content-length': '1' } }
    answer = ({ method }) => (method === 'HEAD' ? { status: 404 } : { ...there, body: 'x' })
    expect(await caught(client.head('p/a'))).toBeInstanceOf(StoreTrouble)
  })

  test('a batch of removals: what has no answer of its own is removed by itself', async () => {
    answer = ({ method }) =>
      method === 'POST' ? xml('<DeleteResult><Deleted><Key>p/a</Key></Deleted></DeleteResult>') : { status: 204 }
    expect(await client.removeBatch(['p/a', 'p/b', 'p/c'])).toEqual([])
    expect(requests.map((line) => line.split('?')[0])).toEqual([
      'POST /bucket/',
      'DELETE /bucket/p/b',
      'DELETE /bucket/p/c',
    ])
  })

  const entry = (name: string) =>
    `<Contents><Key>${name}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>`
  const listing = (inner: string) => xml(`<ListBucketResult>${inner}</ListBucketResult>`)
  const TRUNCATED = '<IsTruncated>true</IsTruncated>'
  test.each([
    ['truncated without a token', listing(TRUNCATED + entry('p/a')), 'does not report where its next page begins'],
    [
      'truncated with an empty token',
      listing(`${TRUNCATED}<NextContinuationToken></NextContinuationToken>`),
      'does not report where its next page begins',
    ],
    [
      'truncated with the token of the request',
      listing(`${TRUNCATED}<NextContinuationToken>token</NextContinuationToken>`),
      'the page after this one is the same page',
    ],
    ['that does not say whether it is truncated', listing(entry('p/a')), 'no element IsTruncated'],
    ['of another prefix', listing(`<IsTruncated>false</IsTruncated>${entry('q/a')}`), "'q/a', which was not asked for"],
    [
      'with an object without its size',
      listing('<IsTruncated>false</IsTruncated><Contents><Key>p/a</Key></Contents>'),
      'an object without its size or time',
    ],
    [
      'that ends early',
      { ...listing(''), body: '<ListBucketResult><IsTruncated>false</IsTruncated>' },
      'ListBucketResult',
    ],
  ])('a listing %s is a retryable error', async (_, bogus, words) => {
    answer = () => bogus
    const error = await caught(client.list({ prefix: 'p/', after: 'token' }))
    expect(error).toBeInstanceOf(StoreTrouble)
    expect((error as Error).message).toContain(words)
  })

  test('a listing of uploads or versions that is truncated and names no next page is a retryable error', async () => {
    answer = ({ url }) => {
      const root = url.includes('uploads') ? 'ListMultipartUploadsResult' : 'ListVersionsResult'
      return xml(`<${root}>${TRUNCATED}</${root}>`)
    }
    const past = s3PastOf(client, Date.now())
    for (const listed of [
      () => client.abortAbandoned('p/', 1),
      () => past.list({ prefix: '' }),
      () => past.head('a'),
    ]) {
      requests = []
      const error = await caught(listed())
      expect(error).toBeInstanceOf(StoreTrouble)
      expect((error as Error).message).toContain('does not report where its next page begins')
      expect(requests).toHaveLength(1)
    }
  })

  test.each([
    ['200 with all of a larger object', { status: 200, headers: { ...S3_OBJECT, 'content-length': '10' } }],
    ['206 of another range', { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 0-4/10' } }],
    ['206 of more bytes', { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 2-9/10' } }],
    ['206 of fewer bytes', { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 2-4/10' } }],
    ['206 without a range', { status: 206, headers: S3_OBJECT }],
  ])('a range answered by %s is a retryable error', async (_, bogus) => {
    const { headers } = bogus
    const range = /(\d+)-(\d+)/.exec('content-range' in headers ? headers['content-range'] : '')
    const length = range === null ? 10 : Number(range[2]) - Number(range[1]) + 1
    answer = () => ({ ...bogus, headers: { 'content-length': String(length), ...headers }, body: 'x'.repeat(length) })
    const error = await caught(client.get('p/a', { offset: 2, length: 5 }))
    expect(error).toBeInstanceOf(StoreTrouble)
    expect((error as Error).message).toContain('cannot read s3://bucket/p/a: the store sent other bytes')
  })
})

describe('GCS', () => {
  let client: GcsClient
  beforeAll(async () => {
    client = await gcsClient({
      bucket: 'bucket',
      serviceUrl: `http://127.0.0.1:${port}`,
      credential: { type: 'token', token: 't' },
      access: { verifyTls: true, stallMs: 5000 },
      partBytes: 256 * 1024,
      repository: 'repo1',
    })
    return () => client[Symbol.asyncDispose]()
  })

  const json = (value: object, status = 200): Answer => ({
    status,
    headers: { 'content-type': 'application/json; charset=UTF-8' },
    body: JSON.stringify(value),
  })
  const refusal = (status: number, message: string) => json({ error: { code: status, message } }, status)
  const session = () => ({ location: `http://127.0.0.1:${port}/upload?uploadType=resumable&upload_id=1` })
  const PART = Buffer.alloc(256 * 1024)

  const beginUpload = async (): Promise<ObjectUpload> => {
    answer = ({ method }) =>
      method === 'POST'
        ? { status: 200, headers: session() }
        : { status: 308, headers: { range: `bytes=0-${PART.length - 1}` } }
    const upload = await client.upload('p/a', data)
    await upload.part(1, PART)
    return upload
  }

  const operations: Record<string, Case> = {
    ...OPERATIONS,
    'remove one': { ...OPERATIONS['remove one'], except: ['204 of a balancer'] },
    'begin an upload': { run: () => client.upload('p/a', data) },
    'write a part': { runOn: (upload) => upload.part(2, PART) },
    'complete an upload': { runOn: (upload) => upload.complete() },
    'list generations': { run: () => gcsPastOf(client, Date.now()).list({ prefix: 'p/' }) },
    'look up a generation': { run: () => gcsPastOf(client, Date.now()).head('p/a') },
    'get a generation': { run: () => client.getGeneration('p/a', '1', {}) },
  }
  neverBelieved('a GCS', operations, () => client, beginUpload)

  test('what an answer that is none says of an upload is not believed later, either', async () => {
    const upload = await beginUpload()
    for (const bogus of [html(200), html(308, { location: 'https://elsewhere.example/' }), { status: 308 }]) {
      answer = () => bogus
      expect(await caught(upload.part(2, PART))).toBeInstanceOf(StoreTrouble)
    }
    let stored = PART.length
    answer = ({ headers }) => {
      if (headers['content-range'] !== 'bytes */*') stored = 2 * PART.length
      return { status: 308, headers: { range: `bytes=0-${stored - 1}` } }
    }
    await upload.part(2, PART)
    const object = { kind: 'storage#object', name: 'p/a', size: String(2 * PART.length) }
    answer = () => json({ ...object, size: '1' })
    expect(await caught(upload.complete())).toMatchObject({ code: 'protocol' })
    answer = () => json(object)
    await upload.complete()
  })

  test.each([
    ['another size', { size: '4' }],
    ['another name', { name: 'p/b' }],
    ['another MD5', { md5Hash: 'x' }],
  ])('an object that was stored with %s is a retryable error', async (_, other) => {
    answer = () => json({ kind: 'storage#object', name: 'p/a', size: '5', ...other })
    expect(await caught(client.put('p/a', bytes, data))).toBeInstanceOf(StoreTrouble)
  })

  // As the service does it: bytes are refused in prose, the description of an object in JSON.
  const isMedia = ({ url }: Asked) => url.includes('alt=media')
  const prose = (status: number, body: string): Answer => ({ status, headers: { 'content-type': 'text/html' }, body })
  test('an object is missing when the store says so in JSON', async () => {
    answer = (asked) =>
      isMedia(asked) ? prose(404, 'No such object: bucket/p/a') : refusal(404, 'No such object: bucket/p/a')
    expect(await client.head('p/a')).toBeUndefined()
    expect(await caught(client.get('p/a'))).toMatchObject({ code: 'file-missing' })
    answer = () => refusal(404, 'The specified bucket does not exist.')
    expect(await caught(client.get('p/a'))).toMatchObject({ code: 'path-missing' })
    answer = (asked) => (isMedia(asked) ? html(404) : json({ kind: 'storage#object', size: '5' }))
    expect(await caught(client.get('p/a'))).toBeInstanceOf(StoreTrouble)
  })

  test('a range begins beyond the end when the size of the object says so, too', async () => {
    answer = (asked) =>
      isMedia(asked) ? prose(416, 'Range not satisfiable') : json({ kind: 'storage#object', size: '5' })
    expect(await client.get('p/a', { offset: 5 })).toMatchObject({ sizeBytes: 0 })
    expect(await caught(client.get('p/a', { offset: 4 }))).toBeInstanceOf(StoreTrouble)
  })

  test.each([
    [
      'that goes on with the page of the request',
      { nextPageToken: 'token' },
      'the page after this one is the same page',
    ],
    [
      'of another prefix',
      { items: [{ name: 'q/a', size: '1', updated: '2026-01-01T00:00:00Z' }] },
      'was not asked for',
    ],
    [
      'with an object without its size',
      { items: [{ name: 'p/a', updated: '2026-01-01T00:00:00Z' }] },
      'without its size',
    ],
    ['of another kind', { kind: 'storage#buckets' }, 'no storage#objects'],
  ])('a listing %s is a retryable error', async (_, more, words) => {
    answer = () => json({ kind: 'storage#objects', ...more })
    const error = await caught(client.list({ prefix: 'p/', after: 'token' }))
    expect(error).toBeInstanceOf(StoreTrouble)
    expect((error as Error).message).toContain(words)
  })
})

describe('services that give credentials', () => {
  const agents = { http: new Agent(), https: new TlsAgent() }
  const send = httpSender(agents, 5000)
  const access = { verifyTls: true, stallMs: 5000 }
  const url = () => `http://127.0.0.1:${port}`
  const s3 = async (keys: S3Keys) => ((await openCredentials(keys, access, 'repo1')) as FetchKeys)()
  const dir = makeTestDir('tokens')
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  const gcsKey = () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const key = {
      client_email: 'a@b',
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      token_uri: `${url()}/token`,
    }
    return file('key.json', JSON.stringify(key))
  }

  const sources: Record<string, () => Promise<unknown>> = {
    'EC2 metadata': () => s3({ type: 'instance', metadata: url() }),
    'EC2 metadata, of a role': () => s3({ type: 'instance', metadata: url(), role: 'r' }),
    'the role of a container': () => s3({ type: 'container', url: `${url()}/keys` }),
    STS: () => s3({ type: 'web-id', stsUrl: url(), role: 'arn:aws:iam::1:role/r', tokenFile: file('token', 't') }),
    'Google tokens': () =>
      tokenSource({ credential: { type: 'service', keyFile: gcsKey() }, repository: 'repo1' }, send).get(),
    'Google metadata': () =>
      tokenSource({ credential: { type: 'auto', metadata: `127.0.0.1:${port}` }, repository: 'repo1' }, send).get(),
    'Azure managed identity': () =>
      managedIdentity(send, 'https://a', 'repo1', { service: { endpoint: `${url()}/msi`, header: 'h' } }).getToken(''),
  }
  describe.each(Object.entries(sources))('%s', (_, get) => {
    const successes = BOGUS.filter(([, { status }]) => status === 200)
    test.each(successes)('%s is a retryable error, which repeats nothing of it', async (_title, bogus) => {
      answer = () => bogus
      const error = await caught(get())
      expect(error).toBeInstanceOf(StoreTrouble)
      expect((error as Error).message).not.toContain('log in')
    })
  })

  test.each([
    ['of another type', { token_type: 'mac', access_token: 't', expires_in: 300 }],
    ['without an end', { token_type: 'Bearer', access_token: 't' }],
  ])('a token %s is not taken', async (_, token) => {
    answer = () => ({ status: 200, body: JSON.stringify(token) })
    expect(await caught(sources['Google tokens']!())).toBeInstanceOf(StoreTrouble)
  })
})
