import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openAzureClient } from '../../../../src/storage/azure/client.ts'
import type { AzureDescription } from '../../../../src/storage/azure/description.ts'
import type { ObjectClient } from '../../../../src/storage/object/client.ts'
import { RefusedRequestError, RetryableStoreError } from '../../../../src/storage/object/retryable-error.ts'

// Answers that the emulator never gives.

let server: Server
let client: ObjectClient
let answer: (asked: IncomingMessage, response: ServerResponse) => void
const requests: string[] = []

beforeAll(async () => {
  server = createServer((asked, response) => {
    requests.push(`${asked.method} ${asked.url}`)
    // Headers of every answer of the service.
    response.setHeader('x-ms-request-id', '1').setHeader('x-ms-version', '2024-08-04')
    response.setHeader('last-modified', 'Thu, 01 Jan 2026 00:00:00 GMT')
    asked.resume().on('end', () => answer(asked, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  client = await open()
})
afterAll(async () => {
  await client[Symbol.asyncDispose]()
  server.close()
})

function open(stallMs = 30_000, more: Partial<AzureDescription> = {}): Promise<ObjectClient> {
  return openAzureClient({
    account: 'account',
    container: 'container',
    serviceUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/account`,
    credential: { type: 'shared', key: Buffer.from('key').toString('base64') },
    partBytes: 1024 * 1024,
    access: { verifyTls: true, stallMs },
    repository: 'repo2',
    ...more,
  })
}

function refuse(status: number, code: string, headers: Record<string, string> = {}): void {
  const body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>said ${code}.\nRequestId:1\nTime:2</Message></Error>`
  answer = (asked, response) =>
    response
      .writeHead(status, { 'x-ms-error-code': code, 'content-type': 'application/xml', ...headers })
      .end(asked.method === 'HEAD' ? undefined : body)
}

const data = { kind: 'data' } as const
const caught = (promise: Promise<unknown>) => promise.then(String, (error: unknown) => error)

describe('retryable errors', () => {
  test.each([
    [503, 'ServerBusy', true],
    [500, 'OperationTimedOut', true],
    [500, 'InternalError', false],
    [429, 'TooManyRequests', true],
    [400, 'Md5Mismatch', false],
  ])('%s %s', async (status, code, overloaded) => {
    refuse(status, code, { 'retry-after': '3' })
    for (const request of [
      () => client.head('x'),
      () => client.list({ prefix: 'p' }),
      () => client.get('x'),
      () => client.put('x', Buffer.from('x'), data),
      () => client.removeBatch(['x', 'y']),
    ]) {
      const before = requests.length
      const error = await caught(request())
      expect(error).toBeInstanceOf(RetryableStoreError)
      expect(error).toMatchObject({ overloaded, retryAfterMs: 3000 })
      expect(requests.length - before, 'asked once').toBe(1)
    }
  })

  test('a server that stops answering is a retryable error', async () => {
    await using client = await open(500)
    answer = () => undefined
    const error = await caught(client.head('x'))
    expect(error).toBeInstanceOf(RetryableStoreError)
    expect(error).toMatchObject({ message: expect.stringContaining('timeout') })
  })

  test('a body that stalls or ends early is a retryable error', async () => {
    await using client = await open(500)
    for (const end of [false, true]) {
      answer = (_asked, response) => {
        response.writeHead(200, { 'content-length': '100', etag: '"1"' })
        response.write('half', () => end && response.destroy())
      }
      const body = await client.get('x')
      const error = await caught(
        (async () => {
          for await (const chunk of body.chunks) expect(Buffer.from(chunk).toString()).toBe('half')
        })(),
      )
      expect(error).toBeInstanceOf(RetryableStoreError)
    }
  })

  test('a slow reader does not cause a timeout of the store', async () => {
    await using client = await open(500)
    const bytes = Buffer.alloc(4 * 1024 * 1024, 'x')
    answer = (_asked, response) => {
      response.writeHead(200, { 'content-length': String(bytes.length), etag: '"1"' }).end(bytes)
    }
    const body = await client.get('x')
    let got = 0
    for await (const chunk of body.chunks) {
      // Longer than the timeout of a connection without traffic.
      if (got === 0) await new Promise((resolve) => setTimeout(resolve, 1200))
      got += chunk.length
    }
    expect(got).toBe(bytes.length)
  })
})

describe('refusals that a gateway may cause', () => {
  test.each([
    [400, '', 'file-write'],
    [403, 'AuthenticationFailed', 'access'],
    [404, 'ContainerNotFound', 'path-missing'],
    [404, '', 'file-write'],
    [405, '', 'file-write'],
  ])('%s %s', async (status, code, kind) => {
    refuse(status, code)
    const error = await caught(client.put('x', Buffer.from('x'), data))
    expect(error).toBeInstanceOf(RefusedRequestError)
    expect(error).toMatchObject({ code: kind })
  })

  test('the hint names the clock only when the time of the service differs', async () => {
    for (const [minutes, expected] of [
      [0, false],
      [20, true],
    ] as const) {
      refuse(403, 'AuthenticationFailed', { date: new Date(Date.now() + minutes * 60_000).toUTCString() })
      const error = (await caught(client.put('x', Buffer.from('x'), data))) as { hints: string[] }
      expect(error.hints.join().includes('clock')).toBe(expected)
    }
  })
})

test.each([
  [400, 'ConditionHeadersNotSupported'],
  [400, 'UnsupportedHeader'],
  [405, ''],
  [501, 'NotImplemented'],
])('a refused condition (%i %s) is reported as not supported, an existing name as existing', async (status, code) => {
  refuse(status, code)
  await expect(client.putIfAbsent?.('x', Buffer.from('x'), data)).rejects.toMatchObject({
    code: 'feature-not-supported',
  })
  refuse(409, 'BlobAlreadyExists')
  expect(await client.putIfAbsent?.('x', Buffer.from('x'), data)).toBe(false)
  refuse(403, 'AuthorizationFailure')
  await expect(client.putIfAbsent?.('x', Buffer.from('x'), data)).rejects.toMatchObject({ code: 'access' })
})

describe('a removal', () => {
  test.each([
    [403, 'AuthorizationPermissionMismatch', true],
    [403, 'AuthorizationFailure', true],
    [409, 'BlobImmutableDueToPolicy', true],
    [403, 'AuthenticationFailed', false],
    [403, 'AccountIsDisabled', false],
    [501, 'NotImplemented', false],
  ])('answered by %s %s: denied is %s', async (status, code, denied) => {
    refuse(status, code)
    expect(await caught(client.removeBatch(['x', 'y']))).toMatchObject({ denied })
    expect(await caught(client.put('x', Buffer.from('x'), data))).toMatchObject({ denied: false })
  })
})

describe('final errors', () => {
  test.each([
    [403, 'AuthenticationFailed', 'access', 'repo2-azure-key'],
    [403, 'AuthorizationPermissionMismatch', 'access', 'repo2-azure-key'],
    [409, 'BlobImmutableDueToPolicy', 'file-write', 'retention'],
    [412, 'LeaseIdMissing', 'file-write', ''],
    [409, 'BlobArchived', 'file-write', 'archive tier'],
    [501, 'NotImplemented', 'feature-not-supported', ''],
  ])('%s %s', async (status, code, expected, hint) => {
    refuse(status, code)
    const error = await caught(client.put('x', Buffer.from('x'), data))
    expect(error).not.toBeInstanceOf(RetryableStoreError)
    expect(error).toMatchObject({ code: expected, message: expect.stringContaining(`${status} ${code}`) })
    if (hint !== '') expect((error as { hints: string[] }).hints.join('\n')).toContain(hint)
  })
})

test('a batch removal lists names that were not removed, each with its reason', async () => {
  const part = (id: number, status: string, code = '') =>
    `--b\r\nContent-Type: application/http\r\nContent-ID: ${id}\r\n\r\nHTTP/1.1 ${status}\r\n${code === '' ? '' : `x-ms-error-code: ${code}\r\n`}x-ms-version: 2024-08-04\r\n\r\n`
  answer = (_asked, response) =>
    response.writeHead(202, { 'content-type': 'multipart/mixed; boundary=b' }).end(
      part(0, '202 Accepted') +
        part(1, '404 The specified blob does not exist.', 'BlobNotFound') +
        part(2, '409 Conflict', 'BlobImmutableDueToPolicy') +
        // No result for 3 and two for 2: the answer is not valid.
        part(2, '202 Accepted') +
        '--b--\r\n',
    )
  expect(await client.removeBatch(['gone', 'absent', 'kept', 'unknown'])).toEqual([
    {
      name: 'kept',
      reason: 'an immutability policy or a legal hold protects it (409 BlobImmutableDueToPolicy)',
      denied: true,
    },
    { name: 'unknown', reason: 'the store returned no result for it' },
  ])
})

test('a batch removal with missing answers is an error', async () => {
  answer = (_asked, response) =>
    response
      .writeHead(202, { 'content-type': 'multipart/mixed; boundary=b' })
      .end('--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n--b--\r\n')
  const outcome = await client.removeBatch(['a', 'b', 'c'])
  expect(outcome).toEqual([
    { name: 'b', reason: expect.any(String) },
    { name: 'c', reason: expect.any(String) },
  ])
})

test('an upload carries its MD5 where the service compares it', async () => {
  let headers: IncomingMessage['headers'] = {}
  answer = (asked, response) => {
    headers = asked.headers
    response.writeHead(201, { etag: '"1"', 'last-modified': new Date().toUTCString() }).end()
  }
  await client.put('x', Buffer.from('hello'), data)
  expect(headers['content-md5']).toBe('XUFAKrxLKna5cZ2REBfFkg==')
  await (await client.upload('x', data)).part(1, Buffer.from('hello'))
  expect(headers['content-md5']).toBe('XUFAKrxLKna5cZ2REBfFkg==')
})

test('requests with a shared access signature have a version header, and a batch that is refused as a whole removes nothing', async () => {
  const versions: (string | undefined)[] = []
  answer = (asked, response) => {
    versions.push(asked.headers['x-ms-version'] as string | undefined)
    if (asked.method === 'HEAD') return void response.writeHead(200, { 'content-length': '1', etag: '"1"' }).end()
    // Without the version the service answers with one part that has no Content-ID.
    response
      .writeHead(202, { 'content-type': 'multipart/mixed; boundary=b' })
      .end(
        '--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 400 One of the request inputs is not valid.\r\nx-ms-error-code: InvalidInput\r\n\r\n--b--\r\n',
      )
  }
  await using signed = await open(30_000, { credential: { type: 'sas', token: 'sv=2024-08-04&sig=abc' } })
  await signed.head('x')
  const left = await signed.removeBatch(['a', 'b', 'c']).catch(() => 'refused' as const)
  expect(left === 'refused' ? 3 : left.length).toBe(3)
  expect(versions).toHaveLength(2)
  for (const version of versions) expect(version).toMatch(/^\d{4}-\d{2}-\d{2}$/)
})
