import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  BlobSASPermissions,
  ContainerClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  newPipeline,
  StorageSharedKeyCredential,
} from '@azure/storage-blob'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openAzureClient } from '../../src/storage/azure/client.ts'
import type { AzureDescription } from '../../src/storage/azure/description.ts'
import type { ObjectClient } from '../../src/storage/object/client.ts'
import { RetryableStoreError } from '../../src/storage/object/retryable-error.ts'
import type { AzuriteAddress } from '../support/stores/azurite.ts'
import { bytesOf, namesBelow, objectClientLaws, text } from '../support/stores/object-client-laws.ts'
import { sharedStore } from '../support/stores/store-keeper.ts'

const data = { kind: 'data' } as const
const CONTAINER = 'pgts-azure-client'
let azurite: AzuriteAddress
let admin: ObjectClient
const closed: AsyncDisposable[] = []

beforeAll(async () => {
  azurite = await sharedStore('azure')
  admin = await open({})
  await microsofts().createIfNotExists()
})
afterAll(async () => {
  for (const one of closed) await one[Symbol.asyncDispose]()
})

/** The container in the client of Microsoft. */
function microsofts(): ContainerClient {
  // `tlsOptions` is passed to the HTTP client, although its type does not have it.
  const trusting = { userAgentOptions: {}, tlsOptions: { ca: readFileSync(azurite.caFile) } }
  const credential = new StorageSharedKeyCredential(azurite.account, azurite.key)
  return new ContainerClient(`${serviceUrl()}/${CONTAINER}`, newPipeline(credential, trusting))
}

const serviceUrl = () => `https://${azurite.host}:${azurite.port}/${azurite.account}`

async function open(changed: Partial<AzureDescription>): Promise<ObjectClient> {
  const client = await openAzureClient({
    account: azurite.account,
    container: CONTAINER,
    serviceUrl: serviceUrl(),
    credential: { type: 'shared', key: azurite.key },
    partBytes: 1024 * 1024,
    access: { verifyTls: true, caFile: azurite.caFile, stallMs: 30_000 },
    repository: 'repo1',
    ...changed,
  })
  closed.push(client)
  return client
}

objectClientLaws(() => open({}))

/** Every kind of request, because each must report an error that concerns all. */
function everyRequest(client: ObjectClient): [string, () => Promise<unknown>][] {
  return [
    ['head', () => client.head('x')],
    ['list', () => client.list({ prefix: '' })],
    ['get', () => client.get('x')],
    ['put', () => client.put('x', text('x'), data)],
    ['part', async () => (await client.upload('x', data)).part(1, text('x'))],
    ['remove', () => client.removeBatch(['x', 'y'])],
  ]
}

async function expectAll(client: ObjectClient, error: object): Promise<void> {
  for (const [what, request] of everyRequest(client)) await expect(request(), what).rejects.toMatchObject(error)
}

describe('a configuration error in azure', () => {
  test('with a wrong key is an access error', async () => {
    const client = await open({ credential: { type: 'shared', key: Buffer.from('not the key').toString('base64') } })
    await expectAll(client, {
      code: 'access',
      hints: expect.arrayContaining([expect.stringContaining('repo1-azure-key')]),
    })
  })

  test('with a key that is not base64, or an invalid signature, is reported before a request is sent', async () => {
    await expect(open({ credential: { type: 'shared', key: 'sv=2024&sig=x' } })).rejects.toMatchObject({
      code: 'option-invalid-value',
      message: 'repo1-azure-key is not base64',
    })
    await expect(open({ credential: { type: 'sas', token: azurite.key } })).rejects.toMatchObject({
      code: 'option-invalid-value',
      message: 'repo1-azure-key is not a shared access signature',
    })
  })

  test('with a missing container names the container', async () => {
    const client = await open({ container: 'nowhere' })
    const error = {
      code: 'path-missing',
      message: expect.stringContaining('container nowhere does not exist'),
      hints: [expect.stringContaining('create container nowhere')],
    }
    for (const [what, request] of everyRequest(client))
      if (what !== 'remove') await expect(request(), what).rejects.toMatchObject(error)
    expect(await client.removeBatch(['x', 'y'])).toMatchObject([
      { name: 'x', reason: expect.stringContaining('container nowhere does not exist') },
      { name: 'y' },
    ])
  })

  test('with an unknown account names the account', async () => {
    const client = await open({ serviceUrl: serviceUrl().replace(/[^/]*$/, 'nobody') })
    await expect(client.head('x')).rejects.toMatchObject({
      code: 'path-missing',
      hints: [expect.stringContaining('repo1-azure-account')],
    })
  })

  test('with an untrusted certificate names the option that makes it trusted', async () => {
    const access = { verifyTls: true, stallMs: 30_000 }
    const error: unknown = await (await open({ access })).head('x').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'service', hints: [expect.stringContaining('repo-storage-ca-file')] })
    expect(error, 'a retry does not help').not.toBeInstanceOf(RetryableStoreError)
    const trusting = await open({ access: { ...access, verifyTls: false } })
    expect(await trusting.head('not there')).toBeUndefined()
  })

  test('with a closed port or an unknown host is a retryable error', async () => {
    for (const url of ['https://127.0.0.1:1/pgts', 'https://nowhere.invalid/pgts']) {
      const error: unknown = await (await open({ serviceUrl: url })).head('x').catch((caught: unknown) => caught)
      expect(error, url).toBeInstanceOf(RetryableStoreError)
      expect(error, url).toMatchObject({ hints: [expect.stringMatching(/endpoint|DNS/)] })
    }
  })

  test('never shows the key, the account or the signature', async () => {
    const token = signature({ expiresInS: -60 })
    for (const client of [await open({ credential: { type: 'sas', token } }), await open({ container: 'nowhere' })]) {
      for (const [what, request] of everyRequest(client)) {
        const error = await Promise.resolve(request()).catch((caught: unknown) => caught)
        const shown = JSON.stringify(error, Object.getOwnPropertyNames(Object(error))) + inside(error)
        for (const secret of [azurite.key, new URLSearchParams(token).get('sig')!])
          expect(shown.includes(secret) || shown.includes(encodeURIComponent(secret)), what).toBe(false)
      }
    }
  })
})

function inside(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined
  return cause === undefined ? '' : JSON.stringify(cause, Object.getOwnPropertyNames(Object(cause))) + inside(cause)
}

function signature({ permissions = 'racwdlt', expiresInS = 3600, blobName = '' } = {}): string {
  const { account, key } = azurite
  const at = Date.now()
  return generateBlobSASQueryParameters(
    {
      containerName: CONTAINER,
      blobName: blobName === '' ? undefined : blobName,
      permissions: (blobName === '' ? ContainerSASPermissions : BlobSASPermissions).parse(permissions),
      startsOn: new Date(at - 3_600_000),
      expiresOn: new Date(at + expiresInS * 1000),
    },
    new StorageSharedKeyCredential(account, key),
  ).toString()
}

describe('shared access signatures', () => {
  test.each(['', '?'])('allow every operation of a repository, with the prefix "%s"', async (front) => {
    const client = await open({ credential: { type: 'sas', token: `${front}${signature()}\n` }, tags: { team: 'db' } })
    await client.put('sas/a', text('by signature'), data)
    expect(await client.head('sas/a')).toMatchObject({ sizeBytes: 12 })
    expect((await bytesOf(await client.get('sas/a', { offset: 3 }))).toString()).toBe('signature')
    const upload = await client.upload('sas/b', data)
    await upload.part(1, text('one'))
    await upload.complete()
    expect(await namesBelow(client, 'sas/')).toEqual(['sas/a', 'sas/b'])
    expect(await client.removeBatch(['sas/a', 'sas/b', 'sas/c'])).toEqual([])
    expect(await namesBelow(client, 'sas/')).toEqual([])
  })

  test('that are expired are reported as expired', async () => {
    await expectAll(await open({ credential: { type: 'sas', token: signature({ expiresInS: -60 }) } }), {
      code: 'access',
      hints: expect.arrayContaining([expect.stringContaining('repo1-azure-key')]),
    })
  })

  test('without permission to remove keep each name and report the reason', async () => {
    const client = await open({ credential: { type: 'sas', token: signature({ permissions: 'rcwl' }) } })
    await admin.put('kept/a', text('x'), data)
    await admin.put('kept/b', text('x'), data)
    const outcome = await client.removeBatch(['kept/a', 'kept/b']).catch((error: unknown) => error)
    // The service refuses the batch or each name in it.
    if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'access' })
    else expect(outcome).toMatchObject([{ name: 'kept/a', reason: expect.stringContaining('403') }, { name: 'kept/b' }])
    expect(await namesBelow(admin, 'kept/')).toEqual(['kept/a', 'kept/b'])
  })
})

describe('stored blobs', () => {
  test('have tags after put and after upload', async () => {
    const client = await open({ tags: { team: 'db', 'cost centre': '42' } })
    await client.put('tags/put', text('x'), data)
    const upload = await client.upload('tags/uploaded', data)
    await upload.part(1, text('x'))
    await upload.complete()
    for (const name of ['tags/put', 'tags/uploaded'])
      expect((await microsofts().getBlobClient(name).getTags()).tags, name).toEqual({ team: 'db', 'cost centre': '42' })
  })

  test('can be uploaded although another program left uncommitted blocks of the name', async () => {
    // Block names of pgbackrest.
    await microsofts().getBlockBlobClient('left').stageBlock('0123456789ABCDEFx0000000', 'left by a crash', 15)
    const upload = await admin.upload('left', data)
    await upload.part(1, text('new '))
    await upload.part(2, text('content'))
    await upload.complete()
    expect((await bytesOf(await admin.get('left'))).toString()).toBe('new content')
  })
})

describe('a managed identity', () => {
  let server: Server
  let asked: { url: URL; headers: NodeJS.Dict<string | string[]> }[] = []
  let answer: { status: number; body: string }
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push({ url: new URL(request.url ?? '', 'http://x'), headers: request.headers })
      response.writeHead(answer.status).end(answer.body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterAll(() => server.close())

  const identity = () => ({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/msi/token`,
    header: 'app secret',
  })

  test('uses one token for many requests, for this account, with the header of the platform', async () => {
    asked = []
    answer = { status: 200, body: JSON.stringify({ access_token: jwt(), expires_in: '3600' }) }
    const client = await open({ credential: { type: 'auto', service: identity(), clientId: 'the second' } })
    await Promise.all([client.put('msi/a', text('by identity'), data), client.list({ prefix: '' }), client.head('x')])
    const upload = await client.upload('msi/b', data)
    await upload.part(1, text('x'))
    await upload.complete()
    expect((await bytesOf(await client.get('msi/a'))).toString()).toBe('by identity')
    expect(await client.removeBatch(['msi/a', 'msi/b', 'msi/c'])).toEqual([])
    expect(await namesBelow(client, 'msi/')).toEqual([])
    expect(asked).toHaveLength(1)
    expect(asked[0]!.headers['x-identity-header']).toBe('app secret')
    expect(asked[0]!.url.searchParams.get('resource')).toBe('https://storage.azure.com')
    expect(asked[0]!.url.searchParams.get('client_id')).toBe('the second')
  })

  test('that does not exist is reported', async () => {
    answer = {
      status: 400,
      body: JSON.stringify({ error: 'invalid_request', error_description: 'Identity not found' }),
    }
    const client = await open({ credential: { type: 'auto', service: identity(), clientId: 'the second' } })
    await expect(client.head('x')).rejects.toMatchObject({
      code: 'access',
      message: expect.stringContaining('Identity not found'),
      hints: [expect.stringContaining('managed identity')],
    })
  })

  test('is requested again when the service is busy', async () => {
    answer = { status: 429, body: '{}' }
    const client = await open({ credential: { type: 'auto', service: identity(), clientId: 'the second' } })
    await expect(client.head('x')).rejects.toBeInstanceOf(RetryableStoreError)
  })

  test('sends no token without TLS', async () => {
    await expect(
      open({
        serviceUrl: 'http://127.0.0.1:1/pgts',
        credential: { type: 'auto', service: identity(), clientId: 'the second' },
      }),
    ).rejects.toMatchObject({ code: 'option-invalid-value', message: expect.stringContaining('repo1-azure-key-type') })
  })
})

/** A token in the form of Azure; the emulator does not check its signature. */
function jwt(): string {
  const nowS = Math.floor(Date.now() / 1000)
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = {
    aud: 'https://storage.azure.com',
    iss: 'https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/',
    iat: nowS - 60,
    nbf: nowS - 60,
    exp: nowS + 3600,
  }
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.${Buffer.from('unsigned').toString('base64url')}`
}
