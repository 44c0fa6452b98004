import http, { type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { HttpRequest } from '../../../../src/storage/s3/commands.ts'
import { openAgents } from '../../../../src/storage/http/agents.ts'
import { httpSender } from '../../../../src/storage/http/send.ts'
import type { S3Description } from '../../../../src/storage/s3/description.ts'
import { DirectSender, type DirectInput, type DirectOperation } from '../../../../src/storage/s3/direct.ts'
import { batchBody } from '../../../../src/storage/s3/remove-batch.ts'
import { keysProvider } from '../../../../src/storage/s3/library.ts'
import { openSdk } from '../../../../src/storage/s3/sdk.ts'
import { ServiceClock } from '../../../../src/storage/s3/service-clock.ts'
import { decodeUtf8, textToBytes } from '../../../../src/util/byte-string.ts'

/** What a server receives: the same whether pgts or AWS's client composes it, its signature included. */
interface Received {
  readonly line: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

let received: Received[]
let server: Server
beforeAll(async () => {
  server = http.createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const { method = '', url = '', headers } = request
    received.push({ line: `${method} ${url}`, headers, body })
    response.writeHead(200, { etag: '"e"' }).end(url.includes('?') && !url.includes('Id=') ? '<Result/>' : '')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(() => void server.close())
beforeEach(() => {
  received = []
  // One time for both signatures.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-03-01T12:00:00Z') })
})
afterEach(() => void vi.useRealTimers())

const BODY = Buffer.from('the body')
const Objects = ['a b', 'ü<&>"\'\r\n', 'c%2F'].map((Key) => ({ Key }))
const BATCH = batchBody(Objects.map(({ Key }) => textToBytes(Key)))
const HASH = 'a'.repeat(64)
const CRC = { ContentLength: BODY.length, ChecksumAlgorithm: 'CRC32', ChecksumCRC32: 'AAAAAA==' } as const
const MD5 = { ContentLength: BODY.length, ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA==' }
const CUSTOMER = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: Buffer.alloc(32, 'k').toString('base64') }
const KMS = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'arn:aws:kms:key' } as const

type Input = DirectInput & { readonly Bucket: string; readonly Key: string }
const SEND: Record<DirectOperation, (sdk: S3Client, input: Input) => Promise<unknown>> = {
  PutObject: (sdk, input) => sdk.send(new PutObjectCommand({ ...input, Body: BODY })),
  UploadPart: (sdk, input) => sdk.send(new UploadPartCommand({ PartNumber: 1, UploadId: '', ...input, Body: BODY })),
  GetObject: (sdk, input) => sdk.send(new GetObjectCommand(input)),
  HeadObject: (sdk, input) => sdk.send(new HeadObjectCommand(input)),
  DeleteObject: (sdk, input) => sdk.send(new DeleteObjectCommand(input)),
  AbortMultipartUpload: (sdk, input) => sdk.send(new AbortMultipartUploadCommand({ UploadId: '', ...input })),
  DeleteObjects: (sdk, input) => sdk.send(new DeleteObjectsCommand({ ...input, Delete: { Objects } })),
  ListMultipartUploads: (sdk, input) => sdk.send(new ListMultipartUploadsCommand(input)),
  ListObjectsV2: (sdk, input) => sdk.send(new ListObjectsV2Command(input)),
}

const ON_BUCKET = new Set<DirectOperation>(['DeleteObjects', 'ListMultipartUploads', 'ListObjectsV2'])

const CASES: readonly (readonly [DirectOperation, string, DirectInput])[] = [
  ['PutObject', 'with a CRC-32', CRC],
  ['PutObject', 'with an MD5, on a condition', { ...MD5, IfNoneMatch: '*' }],
  ['PutObject', 'with a customer key', { ...CRC, ...CUSTOMER }],
  ['PutObject', 'with KMS, tags and a class', { ...CRC, ...KMS, Tagging: 'a=b%20c&d=e', StorageClass: 'STANDARD_IA' }],
  ['PutObject', 'that the requester pays', { ...CRC, RequestPayer: 'requester' }],
  ['UploadPart', 'with a customer key', { ...CRC, ...CUSTOMER, PartNumber: 7, UploadId: '2~a/b+c=' }],
  ['UploadPart', 'with an MD5', { ...MD5, PartNumber: 10_000, UploadId: 'x' }],
  ['GetObject', '', {}],
  ['GetObject', 'of a range', { Range: 'bytes=5-9', IfMatch: '"e"', RequestPayer: 'requester', ...CUSTOMER }],
  ['GetObject', 'of a version', { VersionId: 'null+/=' }],
  ['HeadObject', 'with a customer key', { ...CUSTOMER, RequestPayer: 'requester' }],
  ['DeleteObject', 'that the requester pays', { RequestPayer: 'requester' }],
  ['AbortMultipartUpload', 'that the requester pays', { UploadId: '2~a/b+c=', RequestPayer: 'requester' }],
  ['DeleteObjects', 'that the requester pays', { ...BATCH.input, RequestPayer: 'requester' }],
  ['ListMultipartUploads', '', { Prefix: 'a b/', KeyMarker: 'ü+', UploadIdMarker: '1+/=' }],
  ['ListObjectsV2', 'of everything', { EncodingType: 'url' }],
  [
    'ListObjectsV2',
    'of a level',
    { EncodingType: 'url', Prefix: 'a b/ü+*', Delimiter: '/', ContinuationToken: '1+/=' },
  ],
]

const description = (endpoint: Partial<S3Description['endpoint']>): S3Description => ({
  bucket: 'bucket',
  region: 'eu-central-1',
  endpoint: {
    secure: false,
    uriStyle: 'path',
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    ...endpoint,
  },
  service: 's3',
  keys: { type: 'shared', key: 'AKID', secret: 'geheim' },
  access: { verifyTls: true, stallMs: 10_000 },
  requesterPays: false,
  partBytes: 5 * 1024 * 1024,
  repository: 'repo1',
})

describe.each([
  ['path style', {}, { accessKeyId: 'AKID', secretAccessKey: 'geheim' }],
  [
    'host style, another host and a session token',
    { uriStyle: 'host', host: 'store.example', connectHost: '127.0.0.1' },
    { accessKeyId: 'AKID', secretAccessKey: 'geheim', sessionToken: 'token+/=' },
  ],
] as const)('in %s', (_, endpoint, credentials) => {
  test.each(CASES)('%s %s is the request of AWS client, byte for byte', async (operation, _title, input) => {
    const of = description(endpoint)
    const agents = await openAgents(of.access)
    const keys = keysProvider(credentials)
    const name = ON_BUCKET.has(operation) ? undefined : textToBytes("backup/a b+c/ü(1)!'*.zst")
    const hasBody = operation === 'PutObject' || operation === 'UploadPart'
    const batch = operation === 'DeleteObjects' ? BATCH.body : undefined
    const body = hasBody ? { bytes: BODY, hash: HASH } : batch
    const answer = await new DirectSender(of, httpSender(agents, of.access.stallMs)).send(
      { operation, name, input, body },
      credentials,
      new Date(new ServiceClock(0).nowMs),
    )
    answer.body.resume()

    const sdk = openSdk(of, agents, keys)
    sdk.middlewareStack.add(
      (next) => (args) => {
        const { headers } = args.request as HttpRequest
        if (hasBody) headers['x-amz-content-sha256'] = HASH
        if (operation !== 'DeleteObjects') return next(args)
        // The library adds a CRC-32, which pgts does not send.
        for (const header of Object.keys(headers)) if (header.includes('checksum')) delete headers[header]
        headers['content-md5'] = BATCH.input.ContentMD5 ?? ''
        return next(args)
      },
      { name: 'body', step: 'build', priority: 'low' },
    )
    await SEND[operation](sdk, { Bucket: 'bucket', Key: name === undefined ? '' : decodeUtf8(name), ...input })
    agents[Symbol.dispose]()

    const [direct, library] = received.map(({ headers, ...rest }) => ({ ...rest, headers: { ...headers } }))
    for (const { headers } of [direct!, library!]) delete headers['user-agent']
    expect(direct).toEqual(library)
    expect(direct!.headers.authorization).toMatch(/Signature=[0-9a-f]{64}$/)
  })
})

test('the clock of the service follows its answers, except those of a cache and of slow requests', () => {
  const clock = new ServiceClock(0)
  const at = (ms: number) => new Date(Date.now() + ms).toUTCString()
  clock.learn(at(600_000), {}, Date.now())
  expect(clock.offsetMs).toBe(600_000)
  clock.learn(at(0), { age: '3' }, Date.now())
  clock.learn(at(0), {}, Date.now() - 1_000_000)
  clock.learn('nonsense', {}, Date.now())
  clock.learn(undefined, {}, Date.now())
  expect(clock.nowMs - Date.now()).toBe(600_000)
})
