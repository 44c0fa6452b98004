import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:https'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Storage, type Bucket } from '@google-cloud/storage'
import { JWT, OAuth2Client } from 'google-auth-library'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { GcsServer } from '../support/stores/gcs-server.ts'
import type { GcsBucket } from '../support/stores/gcs-objects.ts'
import { GcsTokens } from '../support/stores/gcs-token.ts'
import { makeTestDir } from '../support/processes/test-user.ts'
import { makeCertificates } from '../support/stores/tls.ts'

// The replacement of Google's server is tested with Google's own client, and with the rules that this
// client never breaks.

let server: GcsServer
let bucket: Bucket
let there: GcsBucket
let ca: Buffer
beforeAll(async () => {
  const certificates = makeCertificates(join(makeTestDir('gcs'), 'tls'))
  ca = readFileSync(certificates.caFile)
  server = await GcsServer.start(certificates)
})
afterAll(() => server[Symbol.asyncDispose]())

let buckets = 0
beforeEach(() => {
  const name = `bucket-${++buckets}`
  there = server.createBucket(name)
  const authClient = new OAuth2Client({ universeDomain: '0.0.1' })
  authClient.setCredentials({ access_token: server.tokens.issue().access_token })
  const storage = new Storage({
    apiEndpoint: `http://127.0.0.1:${server.httpPort}`,
    projectId: 'test',
    useAuthWithCustomEndpoint: true,
    // Otherwise it sends no token with resumable uploads: the address must look like a part of Google's domain.
    universeDomain: '0.0.1',
    retryOptions: { autoRetry: false },
    authClient,
  })
  bucket = storage.bucket(name)
})

const text = (answer: [Buffer]) => answer[0].toString()

describe("Google's client", () => {
  test('writes and reads with each of its methods', async () => {
    const content = randomBytes(3 * 1024 * 1024 + 17)
    await bucket.file('simple').save(content, { resumable: false })
    await bucket.file('resumable').save(content, { resumable: true })
    await bucket.file('chunked').save(content, { resumable: true, chunkSize: 512 * 1024 })
    await bucket.file('empty').save('')
    for (const name of ['simple', 'resumable', 'chunked']) {
      // It compares the checksums that the server returns.
      const [bytes] = await bucket.file(name).download()
      expect(bytes.equals(content), name).toBe(true)
    }
    expect(text(await bucket.file('empty').download())).toBe('')
    expect(server.openUploads(bucket.name)).toEqual([])
    const [metadata] = await bucket.file('simple').getMetadata()
    expect(metadata).toMatchObject({
      size: String(content.length),
      name: 'simple',
      contentType: 'application/octet-stream',
    })
  })

  test('reads ranges', async () => {
    await bucket.file('a').save('0123456789')
    expect(text(await bucket.file('a').download({ start: 2, end: 5 }))).toBe('2345')
    expect(text(await bucket.file('a').download({ start: 7 }))).toBe('789')
    expect(text(await bucket.file('a').download({ start: 8, end: 100 }))).toBe('89')
    await expect(bucket.file('a').download({ start: 10 })).rejects.toMatchObject({ code: 416 })
  })

  test('lists page by page, in order, with and without a delimiter', async () => {
    const names = Array.from({ length: 2345 }, (_, i) => `p/${i % 7}/${i}`)
    for (const name of names) there.put(name, Buffer.from('x'), {}, {})
    there.put('p\u00e9', Buffer.alloc(0), {}, {})
    const [all] = await bucket.getFiles({ prefix: 'p/' })
    expect(all.map(({ name }) => name)).toEqual(names.sort())
    const [page, next, answer] = await bucket.getFiles({ prefix: 'p/', maxResults: 1000, autoPaginate: false })
    expect([page.length, next, answer]).toMatchObject([1000, { pageToken: expect.any(String) }, {}])
    const query = { prefix: 'p/', delimiter: '/', autoPaginate: false, maxResults: 3 }
    const prefixes: string[] = []
    for (let more: object | null = query; more !== null;) {
      const [, following, got] = (await bucket.getFiles(more)) as [unknown, object | null, { prefixes?: string[] }]
      prefixes.push(...(got.prefixes ?? []))
      more = following
    }
    expect(prefixes).toEqual([0, 1, 2, 3, 4, 5, 6].map((i) => `p/${i}/`))
    expect((await bucket.getFiles({ prefix: 'absent' }))[0]).toEqual([])
  })

  test('accepts unusual names', async () => {
    const odd = ['sp ace', '+', '%41', 'a?b#c', 'quote\'"', 'é\u{1f600}', '/', '//x', 'p', 'p/q', 'x'.repeat(1024)]
    for (const name of odd) await bucket.file(name).save(name)
    for (const name of odd) expect(text(await bucket.file(name).download())).toBe(name)
    expect(
      there
        .live()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(odd.sort())
    for (const name of ['x'.repeat(1025), 'new\nline'])
      await expect(bucket.file(name).save('x', { resumable: false })).rejects.toMatchObject({ code: 400 })
  })

  test('reports missing objects and failed preconditions', async () => {
    expect(await bucket.file('a').exists()).toEqual([false])
    await expect(bucket.file('a').download()).rejects.toMatchObject({ code: 404 })
    await expect(bucket.file('a').delete()).rejects.toMatchObject({ code: 404 })
    const once = { preconditionOpts: { ifGenerationMatch: 0 } }
    for (const resumable of [true, false]) {
      const file = bucket.file(`once-${resumable}`)
      await file.save('first', { resumable, ...once })
      await expect(file.save('second', { resumable, ...once })).rejects.toMatchObject({ code: 412 })
      expect(text(await file.download())).toBe('first')
    }
    await bucket.file('once-true').delete()
    expect(await bucket.file('once-true').exists()).toEqual([false])
    await expect(bucket.storage.bucket('absent').file('a').save('x', { resumable: false })).rejects.toMatchObject({
      code: 404,
    })
  })

  test('reads older generations when versioning is on', async () => {
    there = server.createBucket(bucket.name, { versioning: true })
    await bucket.file('a').save('old')
    await bucket.file('a').save('new')
    await bucket.file('a').delete()
    const [versions] = await bucket.getFiles({ versions: true })
    expect(versions).toHaveLength(2)
    const [old] = versions
    expect(text(await bucket.file('a', { generation: Number(old?.metadata.generation) }).download())).toBe('old')
    expect(old?.metadata.timeDeleted).toBeDefined()
    expect((await bucket.getFiles())[0]).toEqual([])
  })
})

interface Answer {
  readonly status: number | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** One request over TLS, without a client library. */
async function ask(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body: Buffer | string = '',
): Promise<Answer> {
  const sent = request({ port: server.httpsPort, host: '127.0.0.1', ca, method, path, headers })
  sent.end(body)
  const [answer] = await once(sent, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return { status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks).toString() }
}

describe('the replacement of Google Cloud Storage', () => {
  const token = () => ({ authorization: `Bearer ${server.tokens.issue().access_token}` })

  test('refuses every request without a valid token', async () => {
    const path = `/storage/v1/b/${bucket.name}/o`
    expect((await ask('GET', path)).status).toBe(401)
    expect((await ask('GET', path, { authorization: 'Bearer made-up' })).status).toBe(401)
    const headers = token()
    expect((await ask('GET', path, headers)).status).toBe(200)
    server.tokens.revokeAll()
    expect((await ask('GET', path, headers)).status).toBe(401)
  })

  test('grants a token only for the key of the account', async () => {
    const key = JSON.parse(server.keyFile()) as { client_email: string; private_key: string; token_uri: string }
    const scopes = ['https://www.googleapis.com/auth/devstorage.read_write']
    const grant = async (email: string, privateKey: string) => {
      const client = new JWT({ email, key: privateKey, scopes })
      // Google's library signs; its token request is sent to the test server instead of Google's.
      client.transporter = {
        request: async (options: { data: URLSearchParams }) => {
          const headers = { 'content-type': 'application/x-www-form-urlencoded' }
          const answer = await ask('POST', '/token', headers, String(new URLSearchParams(options.data)))
          if (answer.status !== 200) throw new Error(answer.body)
          return { data: JSON.parse(answer.body) as unknown }
        },
      } as never
      return (await client.authorize()).access_token
    }
    const granted = await grant(key.client_email, key.private_key)
    const path = `/storage/v1/b/${bucket.name}/o`
    expect((await ask('GET', path, { authorization: `Bearer ${granted}` })).status).toBe(200)
    await expect(grant('other@example.com', key.private_key)).rejects.toThrow('iss is not the account')
    const other = JSON.parse(new GcsTokens().keyFile('')) as { private_key: string }
    await expect(grant(key.client_email, other.private_key)).rejects.toThrow('Invalid JWT Signature')
  })

  test('accepts a resumable upload in pieces of 256 KiB with status requests, visible after the last piece', async () => {
    const content = randomBytes(600 * 1024)
    const path = `/upload/storage/v1/b/${bucket.name}/o?uploadType=resumable&name=a%2Fb`
    const begun = await ask('POST', path, { ...token(), 'content-type': 'application/json' }, '{}')
    const { pathname, search } = new URL(String(begun.headers['location']))
    const put = (range: string, from = 0, to = from, headers = {}) =>
      ask('PUT', pathname + search, { 'content-range': `bytes ${range}`, ...headers }, content.subarray(from, to))
    expect(await put('*/*')).toMatchObject({ status: 308, headers: { 'content-length': '0' } })
    expect((await put('*/*')).headers['range']).toBeUndefined()
    const piece = 256 * 1024
    expect((await put('0-99/*', 0, 100)).status, 'too small a piece').toBe(400)
    expect((await put(`0-${piece - 1}/*`, 0, piece)).headers['range']).toBe(`bytes=0-${piece - 1}`)
    expect((await put(`${2 * piece}-${2 * piece + 9}/${2 * piece + 10}`, 0, 10)).status, 'a gap').toBe(503)
    expect(await put('*/*')).toMatchObject({ status: 308, headers: { range: `bytes=0-${piece - 1}` } })
    // Bytes that were received before are skipped.
    expect((await put(`0-${2 * piece - 1}/*`, 0, 2 * piece)).headers['range']).toBe(`bytes=0-${2 * piece - 1}`)
    expect(there.live()).toEqual([])
    expect(server.openUploads(bucket.name)).toEqual(['a/b'])
    const last = await put(`${2 * piece}-${content.length - 1}/${content.length}`, 2 * piece, content.length)
    expect([last.status, JSON.parse(last.body)]).toMatchObject([200, { name: 'a/b', size: String(content.length) }])
    expect(await put('*/*')).toMatchObject({ status: 200 })
    expect(there.find('a/b')?.bytes.equals(content)).toBe(true)
    expect(server.openUploads(bucket.name)).toEqual([])
  })

  test('discards an upload that is cancelled or has a wrong checksum', async () => {
    const begin = async () => {
      const path = `/upload/storage/v1/b/${bucket.name}/o?uploadType=resumable&name=a`
      const { pathname, search } = new URL(String((await ask('POST', path, token(), '{}')).headers['location']))
      return pathname + search
    }
    const path = await begin()
    expect((await ask('DELETE', path)).status).toBe(499)
    expect((await ask('PUT', path, { 'content-range': 'bytes 0-0/1' }, 'x')).status).toBe(404)
    const wrong = { 'content-range': 'bytes 0-0/1', 'x-goog-hash': 'md5=AAAAAAAAAAAAAAAAAAAAAA==' }
    expect((await ask('PUT', await begin(), wrong, 'x')).status).toBe(400)
    const media = `/upload/storage/v1/b/${bucket.name}/o?uploadType=media&name=a`
    expect((await ask('POST', media, { ...token(), 'x-goog-hash': 'crc32c=AAAAAA==' }, 'x')).status).toBe(400)
    expect(there.live()).toEqual([])
  })

  test('answers for each name of a batch removal', async () => {
    for (const name of ['a b', 'c']) there.put(name, Buffer.from('x'), {}, {})
    const call = (id: number, name: string) =>
      [
        '--mark',
        'Content-Type: application/http',
        `Content-ID: <${id}>`,
        '',
        `DELETE /storage/v1/b/${bucket.name}/o/${encodeURIComponent(name)} HTTP/1.1`,
        '',
        '',
      ].join('\r\n')
    const batch = (body: string, type = 'multipart/mixed; boundary=mark') =>
      ask('POST', '/batch/storage/v1', { ...token(), 'content-type': type }, body)
    const answer = await batch(`${call(1, 'a b')}${call(2, 'absent')}${call(3, 'c')}--mark--`)
    expect(answer.status).toBe(200)
    const answers = [...answer.body.matchAll(/Content-ID: (\S+)\r\n\r\nHTTP\/1\.1 (\d+)/g)].map((m) => m.slice(1))
    expect(answers).toEqual([
      ['<response-1>', '204'],
      ['<response-2>', '404'],
      ['<response-3>', '204'],
    ])
    expect(there.live()).toEqual([])
    expect((await batch(`${Array.from({ length: 101 }, (_, i) => call(i, 'a')).join('')}--mark--`)).status).toBe(400)
    expect((await ask('POST', '/batch/storage/v1', { 'content-type': 'multipart/mixed; boundary=mark' })).status).toBe(
      401,
    )
  })
})
