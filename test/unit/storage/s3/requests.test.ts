import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, symlinkSync, utimesSync } from 'node:fs'
import http, { type IncomingMessage, type RequestListener, type Server } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openS3Client } from '../../../../src/storage/s3/client.ts'
import type { S3Description } from '../../../../src/storage/s3/description.ts'
import { uriEncodePath } from '../../../../src/storage/s3/names.ts'
import { textToBytes } from '../../../../src/util/byte-string.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import { makeTestDir } from '../../../support/processes/test-user.ts'
import { makeCertificates } from '../../../support/stores/tls.ts'

interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

/** Requests of the client as a test server receives them; the test sets the answers. */
let asked: Asked[]
let answer: (one: Asked) => { status?: number; headers?: Record<string, string>; body?: string }
let plain: Server
let secure: Server
let caFile: string

beforeAll(async () => {
  const listener: RequestListener = async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method = '', url = '', headers } = request
    const one = { method, url, headers, body: Buffer.concat(chunks) }
    asked.push(one)
    const { status = 200, headers: more = {}, body = '' } = answer(one)
    response.writeHead(status, more).end(body)
  }
  const certificates = makeCertificates(`${makeTestDir('s3-requests')}/tls`)
  caFile = certificates.caFile
  plain = http.createServer(listener)
  const [cert, key] = [readFileSync(certificates.certFile), readFileSync(certificates.keyFile)]
  secure = https.createServer({ cert, key }, listener)
  for (const server of [plain, secure]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  }
})
afterAll(() => {
  plain.close()
  secure.close()
})
/** Headers of every answer of the service about an object. */
const ABOUT = { etag: '"e"', 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }
const EMPTY_LISTING = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
beforeEach(() => {
  asked = []
  answer = () => ({ headers: ABOUT })
})

const open = (tls: boolean, more: Partial<S3Description> = {}, endpoint: Partial<S3Description['endpoint']> = {}) =>
  openS3Client(
    {
      bucket: 'bucket',
      region: 'eu-central-1',
      endpoint: {
        secure: tls,
        uriStyle: 'path',
        host: '127.0.0.1',
        port: ((tls ? secure : plain).address() as AddressInfo).port,
        ...endpoint,
      },
      service: 's3',
      keys: { type: 'shared', key: 'AKID', secret: 'geheim' },
      access: { verifyTls: true, caFile, stallMs: 10_000 },
      requesterPays: false,
      partBytes: 5 * 1024 * 1024,
      repository: 'repo1',
      ...more,
    },
    systemClock,
  )

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const base64OfCrc = (bytes: Uint8Array) => {
  const value = Buffer.alloc(4)
  value.writeUInt32BE(crc32(bytes))
  return value.toString('base64')
}
/** Larger than one write to a socket. */
const LARGE = Buffer.alloc(700_001, 'large')

describe('the checksum of a body', () => {
  const confirms = ({ headers }: Asked) => {
    const crc = headers['x-amz-checksum-crc32']
    return { headers: { ...ABOUT, ...(typeof crc === 'string' ? { 'x-amz-checksum-crc32': crc } : {}) } }
  }

  test.each([
    ['small', Buffer.from('small')],
    ['empty', Buffer.alloc(0)],
    ['large', LARGE],
  ])('is its signature over TLS until the store confirms a CRC-32 (%s)', async (_, body) => {
    await using client = await open(true)
    await client.put('a', body, { kind: 'data' })
    answer = confirms
    await client.put('b', body, { kind: 'data' })
    await client.put('c', body, { kind: 'data' })
    expect(asked.map(({ headers }) => headers['x-amz-content-sha256'])).toEqual([
      sha256(body),
      sha256(body),
      'UNSIGNED-PAYLOAD',
    ])
    for (const { headers, body: sent } of asked) {
      expect(sent.equals(body)).toBe(true)
      expect(headers).toMatchObject({
        'x-amz-checksum-crc32': base64OfCrc(body),
        'content-length': String(body.length),
      })
      // Waiting for a 100 Continue would cost one more round trip.
      expect(headers).not.toHaveProperty('expect')
    }
  })

  test('is its signature without TLS', async () => {
    await using client = await open(false)
    answer = confirms
    for (const body of [LARGE, LARGE]) await client.put('a', body, { kind: 'data' })
    expect(asked.map(({ headers }) => headers['x-amz-content-sha256'])).toEqual([sha256(LARGE), sha256(LARGE)])
  })

  test.each([
    [true, 'CRC32', 'UNSIGNED-PAYLOAD'],
    [true, undefined, sha256(LARGE)],
    [false, 'CRC32', sha256(LARGE)],
  ])('of a part (TLS: %s, the store confirms %s): %s', async (tls, algorithm, hash) => {
    await using client = await open(tls)
    answer = ({ method, url }) => {
      if (method === 'PUT') return { headers: { etag: '"e"' } }
      if (!url.includes('uploads')) {
        return { body: '<CompleteMultipartUploadResult><ETag>"x-1"</ETag></CompleteMultipartUploadResult>' }
      }
      const headers: Record<string, string> = algorithm === undefined ? {} : { 'x-amz-checksum-algorithm': algorithm }
      const body = '<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>'
      return { headers, body }
    }
    const upload = await client.upload('a', { kind: 'data' })
    await upload.part(1, LARGE)
    await upload.complete()
    const [, part, complete] = asked
    expect(part!.body.equals(LARGE)).toBe(true)
    expect(part!.headers['x-amz-content-sha256']).toBe(hash)
    expect(part!.headers['x-amz-checksum-crc32']).toBe(algorithm && base64OfCrc(LARGE))
    expect(complete!.body.toString().includes(base64OfCrc(LARGE))).toBe(algorithm !== undefined)
  })

  test('is an MD5 for a batch of removals', async () => {
    await using client = await open(true)
    answer = () => ({
      body: '<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>',
    })
    expect(await client.removeBatch(['a', 'b'])).toEqual([{ name: 'b', reason: 'AccessDenied: no', denied: true }])
    const [{ headers, body }] = asked as [Asked]
    expect(headers['content-md5']).toBe(createHash('md5').update(body).digest('base64'))
    expect(headers['x-amz-content-sha256']).toBe(sha256(body))
    expect(Object.keys(headers).filter((name) => name.includes('checksum'))).toEqual([])
  })
})

describe('a store with fewer features than AWS', () => {
  const CHECKSUM = /^x-amz-(sdk-)?checksum/
  const carries = ({ headers }: Asked, name: RegExp) => Object.keys(headers).some((header) => name.test(header))
  const refused = (status: number, code: string, message: string) => ({
    status,
    body: code === '' ? '<html>no</html>' : `<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  })
  const taken = ({ method, url }: Asked) => {
    if (method === 'PUT') return { headers: { etag: '"e"' } }
    const [element, inside] = url.includes('uploads')
      ? ['InitiateMultipartUploadResult', '<UploadId>id</UploadId>']
      : ['CompleteMultipartUploadResult', '<ETag>"x-1"</ETag>']
    return { body: `<${element}>${inside}</${element}>` }
  }
  const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('base64')
  /** Checksums of each sent body, beside its signature. */
  const proofs = () =>
    asked.map((one) => (carries(one, CHECKSUM) ? 'crc' : (one.headers['content-md5'] ?? '-').toString()))

  test.each([
    ['B2', 400, 'InvalidArgument', "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call."],
    ['R2', 501, 'NotImplemented', "Header 'x-amz-checksum-crc32' with value 'x' not implemented"],
    ['Google', 403, 'SignatureDoesNotMatch', 'Invalid argument.'],
    ['a balancer', 405, '', ''],
  ])('refuses a CRC-32 (%s): bodies carry an MD5 after one refusal', async (_, status, code, message) => {
    await using client = await open(false)
    answer = (one) => (carries(one, CHECKSUM) ? refused(status, code, message) : taken(one))
    await client.put('a', LARGE, { kind: 'data' })
    await client.put('b', LARGE, { kind: 'data' })
    expect(proofs()).toEqual(['crc', md5(LARGE), md5(LARGE)])
    expect(asked.every(({ body }) => body.equals(LARGE))).toBe(true)
    expect(asked[1]!.headers['x-amz-content-sha256']).toBe(sha256(LARGE))
    const upload = await client.upload('c', { kind: 'data' })
    await upload.part(1, LARGE)
    await upload.complete()
    expect(proofs().slice(3)).toEqual(['-', md5(LARGE), '-'])
  })

  test('refuses an upload first', async () => {
    await using client = await open(false)
    answer = (one) => (carries(one, CHECKSUM) ? refused(400, 'InvalidArgument', 'Unsupported header') : taken(one))
    const upload = await client.upload('a', { kind: 'data' })
    await upload.part(1, LARGE)
    await upload.complete()
    expect(proofs()).toEqual(['crc', '-', md5(LARGE), '-'])
  })

  test('refuses bodies without an MD5, as buckets with object lock do', async () => {
    await using client = await open(true)
    const message = 'Content-MD5 HTTP header is required for Put Part requests with Object Lock parameters'
    answer = (one) =>
      one.method === 'PUT' && one.headers['content-md5'] === undefined
        ? refused(400, 'InvalidRequest', message)
        : taken(one)
    const upload = await client.upload('a', { kind: 'data' })
    await upload.part(1, LARGE)
    await upload.part(2, LARGE)
    await upload.complete()
    expect(await client.putIfAbsent('b', LARGE, { kind: 'info' })).toBe(true)
    expect(proofs()).toEqual(['crc', '-', md5(LARGE), md5(LARGE), '-', md5(LARGE)])
  })

  test('refuses everything for another reason, which is reported and not recorded', async () => {
    await using client = await open(false, { tags: { a: 'b' } })
    answer = (one) =>
      carries(one, CHECKSUM)
        ? refused(400, 'InvalidArgument', 'Unsupported header')
        : refused(501, 'NotImplemented', 'x-amz-tagging is not implemented')
    for (let i = 0; i < 2; i++) {
      await expect(client.put('a', LARGE, { kind: 'data' })).rejects.toMatchObject({
        code: 'feature-not-supported',
        message: expect.stringContaining('x-amz-tagging is not implemented'),
        hints: ['remove repo1-storage-tag if the service does not support it'],
      })
    }
    expect(proofs()).toEqual(['crc', md5(LARGE), 'crc', md5(LARGE)])
  })

  test('a refusal with another reason is not repeated', async () => {
    await using client = await open(false)
    answer = () => refused(403, 'InvalidAccessKeyId', 'unknown')
    await expect(client.put('a', LARGE, { kind: 'data' })).rejects.toMatchObject({ code: 'access' })
    expect(asked).toHaveLength(1)
  })

  describe('a refused CRC-32 is recorded in a file for the next process', () => {
    const put = async (memoryPath: string, bucket = 'bucket') => {
      asked = []
      answer = (one) => (carries(one, CHECKSUM) ? refused(400, 'InvalidArgument', 'Unsupported') : taken(one))
      await using client = await open(false, { memoryPath, bucket })
      await client.put('a', LARGE, { kind: 'wal' })
      return asked.length
    }

    test('which is valid for the bucket and for a day', async () => {
      const path = `${makeTestDir('s3-memory')}/lock`
      expect([await put(path), await put(path)]).toEqual([2, 1])
      expect(await put(path, 'other')).toBe(2)
      for (const name of readdirSync(path)) utimesSync(`${path}/${name}`, 1, 1)
      expect([await put(path), await put(path)]).toEqual([2, 1])
    })

    test('which may not be writable or may be another kind of file', async () => {
      expect([await put('/proc/absent'), await put('/proc/absent')]).toEqual([2, 2])
      const path = makeTestDir('s3-memory')
      await put(path)
      const [name] = readdirSync(path) as [string]
      rmSync(`${path}/${name}`)
      symlinkSync('/dev/zero', `${path}/${name}`)
      expect([await put(path), await put(path)]).toEqual([2, 2])
    })
  })

  test.each([
    [400, 'InvalidArgument', "Unsupported header 'If-None-Match' received for this API call."],
    [405, 'MethodNotAllowed', 'no'],
    [501, 'NotImplemented', 'A header you provided implies functionality that is not implemented'],
  ])('refuses a condition (%s %s): reported as not supported', async (status, code, message) => {
    await using client = await open(false)
    answer = (one) => (carries(one, /^if-none-match$/) ? refused(status, code, message) : taken(one))
    await expect(client.putIfAbsent('a', LARGE, { kind: 'info' })).rejects.toMatchObject({
      code: 'feature-not-supported',
    })
    await client.put('a', LARGE, { kind: 'info' })
    expect(proofs().at(-1)).toBe('crc')
  })

  test.each([
    [412, 'PreconditionFailed'],
    [304, ''],
    [409, 'ObjectAlreadyExists'],
  ])('a failed condition (%s %s) is reported as an existing file', async (status, code) => {
    await using client = await open(false)
    // A 304 has no body: a HEAD follows.
    answer = ({ method }) => {
      if (method === 'HEAD') return { headers: { ...ABOUT, 'content-length': '5' } }
      return status === 304 ? { status } : refused(status, code, 'it exists')
    }
    expect(await client.putIfAbsent('a', LARGE, { kind: 'info' })).toBe(false)
  })
})

test('headers that describe the client to AWS are not sent', async () => {
  await using client = await open(false)
  await client.put('a', Buffer.from('x'), { kind: 'data' })
  const [{ url, headers }] = asked as [Asked]
  expect(url).toBe('/bucket/a')
  expect(Object.keys(headers).filter((name) => /^amz-|user-agent$/.test(name))).toEqual(['user-agent'])
  expect(headers.authorization).not.toMatch(/[=;]amz-/)
})

test('a name of any bytes is encoded as the path that the signature requires', async () => {
  await using client = await open(false)
  answer = () => ({ headers: { ...ABOUT, 'content-length': '0' } })
  const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code))
  const name = fc.oneof(
    fc.array(byte, { minLength: 1, maxLength: 40 }).map((bytes) => bytes.join('')),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).map((text) => textToBytes(text)),
  )
  await fc.assert(
    fc.asyncProperty(name, async (bytes) => {
      asked = []
      await client.head(bytes)
      expect(asked.map(({ url }) => url)).toEqual([`/bucket/${uriEncodePath(bytes)}`])
    }),
    { numRuns: 100 },
  )
})

test('storage-host is connected, while Host header and signature are those of the endpoint', async () => {
  const { port } = secure.address() as AddressInfo
  const names = { uriStyle: 'host', host: 'store.example', connectHost: '127.0.0.1' } as const
  await using client = await open(true, { service: 's3-outposts', requesterPays: true }, names)
  await client.put('a/b', Buffer.from('x'), { kind: 'data' })
  const [{ headers, url }] = asked as [Asked]
  expect(headers.host).toBe(`bucket.store.example:${port}`)
  expect(headers['x-amz-request-payer']).toBe('requester')
  expect(headers.authorization).toContain('/eu-central-1/s3-outposts/aws4_request')
  expect(headers.authorization).toMatch(/SignedHeaders=[^,]*host[^,]*x-amz-request-payer/)
  expect(url.startsWith('/a/b')).toBe(true)
})

test('requests depend on the options only, not on the environment', async () => {
  process.env['AWS_ENDPOINT_URL'] = 'https://elsewhere.invalid'
  process.env['AWS_CONFIG_FILE'] = '/no/such/config'
  process.env['AWS_RETRY_MODE'] = 'nonsense'
  try {
    await using client = await open(false)
    answer = () => ({ status: 503 })
    await expect(client.put('a', LARGE, { kind: 'data' })).rejects.toMatchObject({ overloaded: true })
    // Once: the layer above decides about retries.
    expect(asked).toHaveLength(1)
  } finally {
    for (const name of ['AWS_ENDPOINT_URL', 'AWS_CONFIG_FILE', 'AWS_RETRY_MODE']) delete process.env[name]
  }
})

test('versions and delete markers keep the order of the service, also within one second', async () => {
  await using client = await open(false)
  const one = (element: string, id: string) =>
    `<${element}><Key>a</Key><VersionId>${id}</VersionId><LastModified>2026-01-01T00:00:00Z</LastModified></${element}>`
  const { atPointInTime } = await import('../../../../src/storage/s3/point-in-time.ts')
  const listed = (...elements: string[]) => {
    answer = () => ({
      body: `<ListVersionsResult><IsTruncated>false</IsTruncated>${elements.join('')}</ListVersionsResult>`,
    })
    return atPointInTime(client, Date.parse('2026-06-01T00:00:00Z')).head('a')
  }
  expect(await listed(one('DeleteMarker', '2'), one('Version', '1'))).toBeUndefined()
  expect(await listed(one('Version', '2'), one('DeleteMarker', '1'))).toMatchObject({ versionId: '2' })
})

test('a store that stops answering is reported as a timeout', async () => {
  await using client = await open(false, { access: { verifyTls: true, stallMs: 300 } })
  const silent = http.createServer(() => undefined)
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as AddressInfo
  await using waiting = await open(false, { access: { verifyTls: true, stallMs: 300 } }, { port })
  await expect(waiting.head('a')).rejects.toMatchObject({ message: expect.stringContaining('timeout') })
  silent.closeAllConnections()
  silent.close()
  answer = () => ({ body: EMPTY_LISTING })
  expect(await client.list({ prefix: '' })).toEqual({ objects: [], prefixes: [] })
})
