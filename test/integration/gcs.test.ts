import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Storage } from '@google-cloud/storage'
import { OAuth2Client } from 'google-auth-library'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openGcsClient, type GcsClient } from '../../src/storage/gcs/client.ts'
import { atPointInTime } from '../../src/storage/gcs/point-in-time.ts'
import type { GcsDescription } from '../../src/storage/gcs/description.ts'
import type { ObjectClient } from '../../src/storage/object/client.ts'
import { RetryableStoreError } from '../../src/storage/object/retryable-error.ts'
import { FaultyFront, type FrontFaults } from '../support/faults/faulty-front.ts'
import { GcsServer } from '../support/stores/gcs-server.ts'
import { GcsTokens } from '../support/stores/gcs-token.ts'
import { bytesOf, namesBelow, objectClientLaws, text } from '../support/stores/object-client-laws.ts'
import { makeTestDir } from '../support/processes/test-user.ts'
import { makeCertificates, type TestCertificates } from '../support/stores/tls.ts'

const data = { kind: 'data' } as const
const BUCKET = 'pgts-gcs-client'
const GRAIN = 256 * 1024
let certificates: TestCertificates
let server: GcsServer
let keyFile: string
const closed: AsyncDisposable[] = []

beforeAll(async () => {
  const dir = makeTestDir('gcs-client')
  certificates = makeCertificates(join(dir, 'tls'))
  server = await GcsServer.start(certificates)
  server.createBucket(BUCKET)
  keyFile = join(dir, 'key.json')
  writeFileSync(keyFile, server.keyFile())
})
afterAll(async () => {
  for (const one of closed) await one[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

async function open(changed: Partial<GcsDescription> = {}): Promise<ObjectClient> {
  const client = await openGcsClient({
    bucket: BUCKET,
    serviceUrl: `https://127.0.0.1:${server.httpsPort}`,
    credential: { type: 'service', keyFile },
    partBytes: 1024 * 1024,
    access: { verifyTls: true, caFile: certificates.caFile, stallMs: 30_000 },
    repository: 'repo1',
    ...changed,
  })
  closed.push(client)
  return client
}

objectClientLaws(() => open())

/** Every kind of request, because each must report an error that concerns all. */
function everyRequest(client: ObjectClient): [string, () => Promise<unknown>][] {
  return [
    ['head', () => client.head('x')],
    ['list', () => client.list({ prefix: '' })],
    ['get', () => client.get('x')],
    ['put', () => client.put('x', text('x'), data)],
    ['upload', () => client.upload('x', data)],
    ['remove', () => client.removeBatch(['x', 'y'])],
    ['remove one', () => client.removeBatch(['x'])],
  ]
}

async function expectAll(client: ObjectClient, error: object): Promise<void> {
  for (const [what, request] of everyRequest(client)) await expect(request(), what).rejects.toMatchObject(error)
}

describe('gcs credentials', () => {
  test('use one token for all requests until it is about to expire', async () => {
    const client = await open()
    const before = server.tokens.issued
    await Promise.all([client.head('x'), client.list({ prefix: '' }), client.head('y')])
    await client.head('z')
    expect(server.tokens.issued - before).toBe(1)
    server.tokens.lifetimeMs = 60_000
    try {
      const brief = await open()
      await brief.head('x')
      await brief.head('x')
      expect(server.tokens.issued - before).toBe(3)
    } finally {
      server.tokens.lifetimeMs = 3_600_000
    }
  })

  test('of type token are sent unchanged', async () => {
    const { access_token: token } = server.tokens.issue()
    const client = await open({ credential: { type: 'token', token: `${token}\n` } })
    await client.put('token/a', text('x'), data)
    expect(await client.head('token/a')).toMatchObject({ sizeBytes: 1 })
    server.tokens.revokeAll()
    await expectAll(client, { code: 'access', hints: [expect.stringContaining('renew the token in repo1-gcs-key')] })
  })

  test('of type auto are those of the machine', async () => {
    const client = await open({ credential: { type: 'auto', metadata: `127.0.0.1:${server.httpPort}` } })
    await client.put('auto/a', text('x'), data)
    expect(await client.head('auto/a')).toMatchObject({ sizeBytes: 1 })
    const nowhere = await open({ credential: { type: 'auto', metadata: '127.0.0.1:1' } })
    await expect(nowhere.head('x')).rejects.toMatchObject({
      code: 'access',
      message: expect.stringContaining('nothing answers at 127.0.0.1:1'),
    })
  })

  test('of type web-id are exchanged for the token in a file, which is read at each exchange', async () => {
    const dir = makeTestDir('gcs-web-id')
    const [tokenFile, accountFile] = [join(dir, 'token'), join(dir, 'account.json')]
    const tokenUrl = `https://127.0.0.1:${server.httpsPort}/token`
    const account = server.tokens.externalAccount(tokenUrl, tokenFile)
    writeFileSync(accountFile, JSON.stringify(account))
    server.tokens.subject = 'first.token'
    writeFileSync(tokenFile, 'first.token\n')
    server.tokens.lifetimeMs = 60_000
    try {
      const client = await open({ credential: { type: 'web-id', accountFile } })
      await client.put('web-id/a', text('x'), data)
      // Kubernetes replaces the token.
      server.tokens.subject = 'second.token'
      await expect(client.head('web-id/a')).rejects.toMatchObject({
        code: 'access',
        message: expect.stringContaining(`cannot exchange the token in ${tokenFile}`),
        hints: [expect.stringContaining('the identity pool in repo1-gcs-key')],
      })
      writeFileSync(tokenFile, 'second.token')
      expect(await client.head('web-id/a')).toMatchObject({ sizeBytes: 1 })
    } finally {
      server.tokens.lifetimeMs = 3_600_000
    }
    const impersonated = { ...account, service_account_impersonation_url: 'https://iamcredentials.googleapis.com/x' }
    for (const [content, error] of [
      ['no json', { code: 'file-invalid' }],
      [JSON.stringify({ type: 'service_account' }), { message: expect.stringContaining('an external account') }],
      [JSON.stringify(impersonated), { code: 'feature-not-supported' }],
      [JSON.stringify({ ...account, credential_source: { url: 'http://x' } }), { code: 'file-invalid' }],
      [JSON.stringify({ ...account, credential_source: { file: join(dir, 'absent') } }), { code: 'file-open' }],
    ] as const) {
      writeFileSync(accountFile, content)
      const invalid = await open({ credential: { type: 'web-id', accountFile } })
      await expect(invalid.head('x'), content).rejects.toMatchObject(error)
    }
  })

  test('with an invalid key file are refused', async () => {
    const dir = makeTestDir('gcs-keys')
    const file = (name: string, content: string) => {
      writeFileSync(join(dir, name), content)
      return join(dir, name)
    }
    const key = JSON.parse(server.keyFile()) as Record<string, string>
    const other = JSON.parse(new GcsTokens().keyFile('')) as Record<string, string>
    for (const [path, error] of [
      [join(dir, 'absent'), { code: 'file-open', hints: [expect.stringContaining('set repo1-gcs-key to the path')] }],
      [file('text', 'not json'), { code: 'file-invalid' }],
      [file('user', '{"type":"authorized_user"}'), { message: expect.stringContaining('but of authorized_user') }],
      [
        file('cut', JSON.stringify({ ...key, private_key: key['private_key']!.slice(0, 300) })),
        { code: 'file-invalid' },
      ],
      [
        file('other', JSON.stringify({ ...key, private_key: other['private_key'] })),
        { code: 'access', message: expect.stringContaining('Invalid JWT Signature') },
      ],
    ] as const) {
      const client = await open({ credential: { type: 'service', keyFile: path } })
      const error_ = await client.head('x').catch((caught: unknown) => caught)
      expect(error_, path).toMatchObject(error)
      expect(JSON.stringify(error_, Object.getOwnPropertyNames(Object(error_))), path).not.toContain('PRIVATE KEY')
    }
  })

  test('request a new token when the service revokes one, and repeat the request', async () => {
    const client = await open()
    await client.head('x')
    server.tokens.revokeAll()
    // It was requested just now: a new one would not be accepted either.
    await expect(client.head('x')).rejects.not.toBeInstanceOf(RetryableStoreError)
  })
})

describe('a configuration error in gcs', () => {
  test('with a missing bucket names the bucket', async () => {
    const client = await open({ bucket: 'nowhere' })
    const error = {
      code: 'path-missing',
      message: expect.stringContaining('bucket nowhere does not exist'),
      hints: [expect.stringContaining('create bucket nowhere')],
    }
    for (const [what, request] of everyRequest(client))
      if (what !== 'remove') await expect(request(), what).rejects.toMatchObject(error)
    expect(await client.removeBatch(['x', 'y'])).toMatchObject([
      { name: 'x', reason: expect.stringContaining('bucket nowhere does not exist') },
      { name: 'y' },
    ])
  })

  test('with an untrusted certificate names the option that makes it trusted', async () => {
    const { access_token: token } = server.tokens.issue()
    const credential = { type: 'token', token } as const
    const access = { verifyTls: true, stallMs: 30_000 }
    const error: unknown = await (await open({ access, credential })).head('x').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'service', hints: [expect.stringContaining('repo-storage-ca-file')] })
    expect(error, 'a retry does not help').not.toBeInstanceOf(RetryableStoreError)
    expect(await (await open({ access: { ...access, verifyTls: false } })).head('not there')).toBeUndefined()
  })
})

describe("the gcs client and Google's client", () => {
  test('read the objects of each other; tags are custom metadata; the billed project is sent', async () => {
    const authClient = new OAuth2Client({ universeDomain: '0.0.1' })
    authClient.setCredentials({ access_token: server.tokens.issue().access_token })
    const google = new Storage({
      apiEndpoint: `http://127.0.0.1:${server.httpPort}`,
      projectId: 'test',
      useAuthWithCustomEndpoint: true,
      universeDomain: '0.0.1',
      retryOptions: { autoRetry: false },
      authClient,
    }).bucket(BUCKET)
    const client = await open({ tags: { team: 'db' }, userProject: 'payer' })
    await client.put('both/put', text('put by pgts'), data)
    const upload = await client.upload('both/uploaded', data)
    await upload.part(1, Buffer.alloc(GRAIN, 'u'))
    await upload.part(2, text('end'))
    await upload.complete()
    for (const name of ['both/put', 'both/uploaded'])
      expect((await google.file(name).getMetadata())[0], name).toMatchObject({ metadata: { team: 'db' } })
    expect((await google.file('both/put').download())[0].toString()).toBe('put by pgts')
    expect((await google.file('both/uploaded').download())[0]).toHaveLength(GRAIN + 3)
    await google.file('both/google').save('put by Google')
    expect((await bytesOf(await client.get('both/google'))).toString()).toBe('put by Google')
    expect(await client.removeBatch(['both/put', 'both/google'])).toEqual([])
    expect((await google.getFiles({ prefix: 'both/' }))[0].map(({ name }) => name)).toEqual(['both/uploaded'])
  })
})

describe('the gcs client on a bad network', () => {
  let front: FaultyFront
  beforeAll(async () => {
    front = await FaultyFront.start({ host: '127.0.0.1', port: server.httpPort })
  })
  afterAll(() => front[Symbol.asyncDispose]())
  beforeEach(() => front.set())

  const through = () => open({ serviceUrl: `http://127.0.0.1:${front.port}` })
  const sessionPut = ({ method, path }: { method: string; path: string }) =>
    method === 'PUT' && path.includes('upload_id')

  test.each<[string, FrontFaults['how']]>([
    ['the answer is lost', { kind: 'lose-answer' }],
    ['the store is busy', { kind: 'answer', status: 503 }],
  ])('asks for the state of an upload and sends a piece again when %s', async (_name, how) => {
    const client = await through()
    const name = `lost/${how.kind}`
    const content = [Buffer.alloc(GRAIN * 2, 'a'), Buffer.alloc(GRAIN * 2, 'b'), text('end')]
    const upload = await client.upload(name, data)
    for (const [index, piece] of content.entries()) {
      front.set({ only: sessionPut, times: 1, how })
      if (piece.length > 3) await expect(upload.part(index + 1, piece)).rejects.toBeInstanceOf(RetryableStoreError)
      await upload.part(index + 1, piece)
    }
    front.set({ only: sessionPut, times: 1, how })
    await expect(upload.complete()).rejects.toBeInstanceOf(RetryableStoreError)
    expect(front.counters.struck).toBe(1)
    await upload.complete()
    expect((await bytesOf(await client.get(name))).equals(Buffer.concat(content))).toBe(true)
  })

  test('stores and returns no damaged bytes', async () => {
    const client = await through()
    front.set({ only: ({ path }) => path.includes('alt=media'), how: { kind: 'truncate' }, times: 1 })
    await client.put('damaged', text('0123456789'), data)
    const body = await client.get('damaged')
    await expect(bytesOf(body)).rejects.toBeInstanceOf(RetryableStoreError)
    expect(front.counters.struck).toBe(1)
  })

  test.each([
    [429, '{"error":{"code":429,"message":"slow down","errors":[{"reason":"rateLimitExceeded"}]}}', true],
    [403, '{"error":{"code":403,"message":"slow down","errors":[{"reason":"userRateLimitExceeded"}]}}', true],
    [500, 'a proxy says <b>oops</b>', false],
    [502, '', false],
  ])('treats %s %s as retryable', async (status, body, overloaded) => {
    const client = await through()
    front.set({ how: { kind: 'answer', status, body, headers: { 'retry-after': '7' } } })
    for (const [what, request] of everyRequest(client)) {
      const error = await request().catch((caught: unknown) => caught)
      expect(error, what).toBeInstanceOf(RetryableStoreError)
      expect(error, what).toMatchObject({ overloaded, retryAfterMs: 7000 })
    }
  })

  test.each([
    ['retentionPolicyNotMet', 'file-remove', 'retention'],
    ['forbidden', 'access', 'roles/storage.objectUser'],
    ['userProjectMissing', 'file-remove', 'repo1-gcs-user-project'],
  ])('treats 403 %s as final', async (reason, code, hint) => {
    const client = await through()
    const body = JSON.stringify({ error: { code: 403, message: 'no', errors: [{ reason }] } })
    front.set({ how: { kind: 'answer', status: 403, body } })
    const error = await client.removeBatch(['x', 'y']).catch((caught: unknown) => caught)
    expect(error).not.toBeInstanceOf(RetryableStoreError)
    expect(error).toMatchObject({ code, hints: [expect.stringContaining(hint)] })
  })

  test('reports names of a batch without a result as not removed', async () => {
    const client = await through()
    const answer =
      '--b\r\nContent-Type: application/http\r\nContent-ID: <response-1>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n' +
      '--b\r\nContent-Type: application/http\r\nContent-ID: <response-2>\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n\r\n' +
      '{"error":{"code":403,"message":"Object is under active hold","errors":[{"reason":"objectUnderActiveHold"}]}}\r\n--b--\r\n'
    front.set({
      only: ({ path }) => path.startsWith('/batch'),
      how: { kind: 'answer', status: 200, headers: { 'content-type': 'multipart/mixed; boundary=b' }, body: answer },
    })
    expect(await client.removeBatch(['one', 'two', 'three'])).toEqual([
      { name: 'two', reason: expect.stringContaining('under active hold'), denied: true },
      { name: 'three', reason: 'the store returned no result for it' },
    ])
    front.set({
      only: ({ path }) => path.startsWith('/batch'),
      how: {
        kind: 'answer',
        status: 200,
        headers: { 'content-type': 'multipart/mixed; boundary=b' },
        body: answer.replace('403 Forbidden', '503 Unavailable'),
      },
    })
    await expect(client.removeBatch(['one', 'two'])).rejects.toBeInstanceOf(RetryableStoreError)
  })
})

test('the gcs client lists names below a prefix in pages of the service', async () => {
  const bucket = server.createBucket('paged')
  for (let index = 0; index < 2345; index++) bucket.put(`p/${String(index).padStart(5, '0')}`, Buffer.alloc(1), {}, {})
  const client = await open({ bucket: 'paged' })
  const names = await namesBelow(client, 'p/')
  expect(names).toHaveLength(2345)
  expect(names).toEqual([...names].sort())
})

describe('a bucket with versions at a point in time', () => {
  const BEGIN = Date.UTC(2026, 0, 1)

  /** Changes of the bucket, one per second: `[second, name, content]`, undefined removes. */
  async function pointInTime(
    bucket: string,
    changes: readonly [number, string, string | undefined][],
    atSecond: number,
  ) {
    const objects = server.createBucket(bucket, { versioning: true })
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      for (const [second, name, content] of changes) {
        vi.setSystemTime(BEGIN + second * 1000)
        if (content === undefined) objects.remove(name)
        else objects.put(name, text(content), {}, {})
      }
    } finally {
      vi.useRealTimers()
    }
    return atPointInTime((await open({ bucket })) as GcsClient, BEGIN + atSecond * 1000)
  }

  const changes: [number, string, string | undefined][] = [
    [1, 'a/written-over', 'old'],
    [1, 'a/removed', 'gone now'],
    [1, 'a/removed-before', 'gone then'],
    [1, 'a/removed-and-back', 'first'],
    [2, 'a/removed-before', undefined],
    [2, 'a/removed-and-back', undefined],
    [3, 'a/at-that-moment', 'there'],
    [3, 'a/removed-at-that-moment', 'not any more'],
    [4, 'a/removed-at-that-moment', undefined],
    [4, 'a/at-that-moment', 'newer'],
    [5, 'a/removed', undefined],
    [5, 'a/written-over', 'new'],
    [5, 'a/removed-and-back', 'second'],
    [5, 'a/later', 'later'],
    [5, 'a/written-over-too', 'no'],
  ]

  test('has the objects and content of that time in listings and requests', async () => {
    const then = await pointInTime('past', changes, 4)
    expect(await namesBelow(then, 'a/')).toEqual(['a/at-that-moment', 'a/removed', 'a/written-over'])
    const fresh = atPointInTime((await open({ bucket: 'past' })) as GcsClient, BEGIN + 4000)
    for (const client of [then, fresh]) {
      expect(await bytesOf(await client.get('a/written-over'))).toEqual(text('old'))
      expect(await bytesOf(await client.get('a/at-that-moment'))).toEqual(text('newer'))
      expect(await bytesOf(await client.get('a/removed', { offset: 5, length: 3 }))).toEqual(text('now'))
      expect(await client.head('a/removed')).toMatchObject({ sizeBytes: 8, mtimeMs: BEGIN + 1000 })
      for (const name of ['a/removed-before', 'a/removed-and-back', 'a/removed-at-that-moment', 'a/later', 'a/none']) {
        expect(await client.head(name), name).toBeUndefined()
        await expect(client.get(name), name).rejects.toMatchObject({ code: 'file-missing' })
      }
    }
    expect((await then.list({ prefix: '', delimiter: '/' })).prefixes).toEqual(['a/'])
  })

  test('has the right generation among more generations than a page has', async () => {
    const many = Array.from({ length: 1500 }, (_, i): [number, string, string] => [i, 'busy', `content ${i}`])
    const then = await pointInTime('busy', [[0, 'before', 'x'], ...many, [2000, 'busy-too', 'y']], 1234)
    expect(await namesBelow(then, '')).toEqual(['before', 'busy'])
    expect(await bytesOf(await then.get('busy'))).toEqual(text('content 1234'))
    const fresh = atPointInTime((await open({ bucket: 'busy' })) as GcsClient, BEGIN + 1400_000)
    expect(await bytesOf(await fresh.get('busy'))).toEqual(text('content 1400'))
    // The last generation of that time is followed by later ones in its page.
    const early = atPointInTime((await open({ bucket: 'busy' })) as GcsClient, BEGIN + 999_000)
    expect((await early.list({ prefix: 'busy' })).objects).toEqual([])
    expect(await namesBelow(early, '')).toEqual(['before', 'busy'])
  })

  test('is read-only', async () => {
    const then = await pointInTime('unchanged', changes, 4)
    await expect(then.put('x', text('x'), data)).rejects.toMatchObject({ code: 'assert' })
    await expect(then.removeBatch(['a/removed'])).rejects.toMatchObject({ code: 'assert' })
    await expect(then.upload('x', data)).rejects.toMatchObject({ code: 'assert' })
  })
})
