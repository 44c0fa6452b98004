import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { S3Keys } from '../../../../src/storage/s3/description.ts'
import { openS3Client, type S3Client } from '../../../../src/storage/s3/client.ts'
import { openCredentials } from '../../../../src/storage/s3/keys/credentials.ts'
import { type FetchKeys } from '../../../../src/storage/s3/keys/fetched-keys.ts'
import { RetryableStoreError } from '../../../../src/storage/object/retryable-error.ts'
import { systemClock } from '../../../../src/util/clock.ts'

interface Asked {
  readonly line: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A service that returns credentials; the test sets its answers. */
let answer: (asked: Asked) => { status?: number; body: string }
let asked: Asked[]
let server: Server
let url: string
let dir: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-keys-'))
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const one = {
      line: `${request.method ?? ''} ${request.url ?? ''}`,
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    }
    asked.push(one)
    const { status = 200, body } = answer(one)
    response.writeHead(status)
    response.end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  rmSync(dir, { recursive: true, force: true })
})
beforeEach(() => {
  asked = []
})

const access = { verifyTls: true, stallMs: 5000 }
/** Requests these credentials again with each call. */
const sourceOf = async (keys: S3Keys) => (await openCredentials(keys, access, 'repo1')) as FetchKeys
const ROLES = '/latest/meta-data/iam/security-credentials/'
const json = (expiration = '2099-01-01T00:00:00Z', id = 'AKID') =>
  JSON.stringify({ Code: 'Success', AccessKeyId: id, SecretAccessKey: 'geheim', Token: 'tok', Expiration: expiration })

describe('the role of a machine', () => {
  /** Answers of the metadata service, version 2. */
  const metadata = ({ line, headers }: Asked) => {
    if (line === 'PUT /latest/api/token') return { body: 'session' }
    if (headers['x-aws-ec2-metadata-token'] !== 'session') return { status: 401, body: '' }
    if (line === `GET ${ROLES}`) return { body: 'backup-role\n' }
    return line === `GET ${ROLES}backup-role` ? { body: json() } : { status: 404, body: '' }
  }

  test('is detected, and its credentials are fetched with a token', async () => {
    answer = metadata
    const keys = await (await sourceOf({ type: 'instance', metadata: url }))()
    expect(keys).toMatchObject({ accessKeyId: 'AKID', secretAccessKey: 'geheim', sessionToken: 'tok' })
    expect(asked[0]!.headers['x-aws-ec2-metadata-token-ttl-seconds']).toBe('300')
  })

  test('that is configured is not detected', async () => {
    answer = metadata
    await (
      await sourceOf({ type: 'instance', metadata: url, role: 'backup-role' })
    )()
    expect(asked.map(({ line }) => line)).toEqual(['PUT /latest/api/token', `GET ${ROLES}backup-role`])
  })

  test('is used without tokens (version 1)', async () => {
    answer = ({ line }) =>
      line.startsWith('PUT') ? { status: 405, body: '' } : { body: line.endsWith('/') ? 'backup-role' : json() }
    expect(await (await sourceOf({ type: 'instance', metadata: url }))()).toMatchObject({ accessKeyId: 'AKID' })
  })

  test('that does not exist is reported by name', async () => {
    answer = metadata
    await expect((await sourceOf({ type: 'instance', metadata: url, role: 'other' }))()).rejects.toMatchObject({
      message: expect.stringContaining('this machine has no role other'),
      hints: [expect.stringContaining('repo1-s3-role')],
    })
  })

  test('a failing service is a retryable error', async () => {
    answer = ({ line }) => (line.startsWith('PUT') ? { body: 'session' } : { status: 503, body: '' })
    await expect((await sourceOf({ type: 'instance', metadata: url }))()).rejects.toBeInstanceOf(RetryableStoreError)
  })
})

describe('the role of a container', () => {
  test('is used with a token file that is renewed', async () => {
    const tokenFile = join(dir, 'token')
    answer = () => ({ body: json('2020-01-01T00:00:00Z') })
    const source = await sourceOf({ type: 'container', url: `${url}/v1/credentials`, tokenFile })
    for (const token of ['first', 'second']) {
      writeFileSync(tokenFile, `${token}\n`)
      await source()
    }
    expect(asked.map(({ line, headers }) => `${line} ${headers.authorization ?? ''}`)).toEqual([
      'GET /v1/credentials first',
      'GET /v1/credentials second',
    ])
  })

  test('that is refused is reported without secrets', async () => {
    answer = () => ({ status: 403, body: 'token geheim is not good' })
    const error: unknown = await (
      await sourceOf({ type: 'container', url, token: 'geheim' })
    )().catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'access', message: expect.stringContaining('HTTP status 403') })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('geheim')
  })
})

describe('the role of a web identity', () => {
  const keys = () => {
    const tokenFile = join(dir, 'jwt')
    writeFileSync(tokenFile, 'ey+J/h=\n')
    return { type: 'web-id', stsUrl: url, role: 'arn:aws:iam::1:role/backup', tokenFile } as const
  }

  test('is exchanged for its token, which is in no URL', async () => {
    answer = () => ({
      body: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
        <Credentials><SessionToken>tok</SessionToken><SecretAccessKey>geheim</SecretAccessKey><Expiration>2099-01-01T00:00:00Z</Expiration>
        <AccessKeyId>ASIA</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
    })
    expect(await (await sourceOf(keys()))()).toMatchObject({
      accessKeyId: 'ASIA',
      secretAccessKey: 'geheim',
      sessionToken: 'tok',
    })
    expect(asked[0]!.line).toBe('POST /')
    const form = new URLSearchParams(asked[0]!.body)
    expect(Object.fromEntries(form)).toEqual({
      Action: 'AssumeRoleWithWebIdentity',
      RoleArn: 'arn:aws:iam::1:role/backup',
      RoleSessionName: 'pgts',
      Version: '2011-06-15',
      WebIdentityToken: 'ey+J/h=',
    })
  })

  test('that is not trusted is reported with the message of the service', async () => {
    answer = () => ({
      status: 400,
      body: '<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>No OpenIDConnect provider</Message></Error></ErrorResponse>',
    })
    await expect((await sourceOf(keys()))()).rejects.toMatchObject({
      code: 'access',
      message: expect.stringContaining('InvalidIdentityToken: No OpenIDConnect provider'),
      hints: [expect.stringContaining('AWS_ROLE_ARN')],
    })
  })
})

describe('a program that prints credentials', () => {
  const run = async (script: string, ...args: string[]) =>
    (await sourceOf({ type: 'process', command: [process.execPath, '-e', script, ...args] }))()

  test('is run with its arguments', async () => {
    const script = `console.log(JSON.stringify({ Version: 1, AccessKeyId: process.argv[1], SecretAccessKey: 's', SessionToken: 't' }))`
    expect(await run(script, 'a b')).toMatchObject({ accessKeyId: 'a b', secretAccessKey: 's', sessionToken: 't' })
  })

  test.each([
    ['console.log("geheim")', 'format', 'not JSON'],
    ['console.log(JSON.stringify({ AccessKeyId: "geheim" }))', 'format', 'SecretAccessKey is missing'],
    ['console.log("geheim"); console.error("no login"); process.exit(3)', 'execute', 'exit code 3: no login'],
  ])('%s', async (script, code, words) => {
    const error: unknown = await run(script).catch((e: unknown) => e)
    expect(error).toMatchObject({ code, message: expect.stringContaining(words) })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('geheim')
  })

  test('that does not exist is reported', async () => {
    const source = await sourceOf({ type: 'process', command: ['/no/such/program'] })
    await expect(source()).rejects.toMatchObject({ code: 'execute', message: expect.stringContaining('ENOENT') })
  })
})

/** A store whose keys come from the same server; a request is answered as `store` says. */
describe('credentials are fetched', () => {
  let given: number
  let store: (usedKey: string) => { status?: number; body: string }
  let client: S3Client
  const expired = { status: 400, body: '<Error><Code>ExpiredToken</Code><Message>too old</Message></Error>' }
  const open = (keys: S3Keys) =>
    openS3Client(
      {
        bucket: 'bucket',
        region: 'us-east-1',
        endpoint: { secure: false, uriStyle: 'path', host: '127.0.0.1', port: Number(new URL(url).port) },
        service: 's3',
        keys,
        access,
        requesterPays: false,
        partBytes: 5 * 1024 * 1024,
        repository: 'repo1',
      },
      systemClock,
    )
  const fetches = () => asked.filter(({ line }) => line === 'GET /keys').length

  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-01-01T00:00:00Z') })
    given = 0
    store = () => ({ body: '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>' })
    answer = ({ line, headers }) =>
      line === 'GET /keys'
        ? { body: json(new Date(Date.now() + 3_600_000).toISOString(), `AKID${++given}`) }
        : store(/Credential=(\w+)/.exec(headers.authorization ?? '')?.[1] ?? '')
    client = await open({ type: 'container', url: `${url}/keys` })
  })
  afterEach(async () => {
    vi.useRealTimers()
    await client[Symbol.asyncDispose]()
  })
  const list = () => client.list({ prefix: '' })

  test('once for concurrent requests', async () => {
    await Promise.all([list(), list(), list()])
    await list()
    expect(fetches()).toBe(1)
  })

  test('again five minutes before they expire', async () => {
    const used: string[] = []
    store = (key) => {
      used.push(key)
      return { body: '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>' }
    }
    await list()
    vi.setSystemTime(Date.parse('2026-01-01T00:54:00Z'))
    await list()
    vi.setSystemTime(Date.parse('2026-01-01T00:56:00Z'))
    await list()
    expect(used).toEqual(['AKID1', 'AKID1', 'AKID2'])
  })

  test('again when the service reports that they have expired, once for all refused requests', async () => {
    store = (key) =>
      key === 'AKID1' ? expired : { body: '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>' }
    await Promise.all([list(), list(), list()])
    await list()
    expect(fetches()).toBe(2)
  })

  test('again by the next request after a failure', async () => {
    const working = answer
    answer = () => ({ status: 500, body: '' })
    await expect(list()).rejects.toBeInstanceOf(RetryableStoreError)
    answer = working
    expect(await list()).toEqual({ objects: [], prefixes: [] })
  })

  test('not for credentials of the configuration', async () => {
    await using fixed = await open({ type: 'shared', key: 'k', secret: 's', token: 't' })
    store = () => expired
    const refused = { code: 'access', message: expect.stringContaining('the credentials have expired') }
    await expect(fixed.list({ prefix: '' })).rejects.toMatchObject(refused)
    expect(asked).toHaveLength(1)
  })
})
