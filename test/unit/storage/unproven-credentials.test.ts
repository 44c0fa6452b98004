import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { Agent as TlsAgent } from 'node:https'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { managedIdentity } from '../../../src/storage/azure/managed-identity.ts'
import { tokenSource } from '../../../src/storage/gcs/token.ts'
import { httpSender } from '../../../src/storage/http/send.ts'
import { RetryableStoreError } from '../../../src/storage/object/retryable-error.ts'
import type { S3Keys } from '../../../src/storage/s3/description.ts'
import { openCredentials } from '../../../src/storage/s3/keys/credentials.ts'
import { type FetchKeys } from '../../../src/storage/s3/keys/fetched-keys.ts'
import { makeTestDir } from '../../support/processes/test-user.ts'
import { BOGUS, caught, impostorForFile } from '../../support/stores/impostor.ts'

const store = impostorForFile()

describe('credential services', () => {
  const agents = { http: new Agent(), https: new TlsAgent() }
  const send = httpSender(agents, 5000)
  const access = { verifyTls: true, stallMs: 5000 }
  const url = () => `http://127.0.0.1:${store.port}`
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
      tokenSource(
        { credential: { type: 'auto', metadata: `127.0.0.1:${store.port}` }, repository: 'repo1' },
        send,
      ).get(),
    'Azure managed identity': () =>
      managedIdentity(send, 'https://a', 'repo1', { service: { endpoint: `${url()}/msi`, header: 'h' } }).getToken(''),
  }
  describe.each(Object.entries(sources))('%s', (_, get) => {
    const successes = BOGUS.filter(([, { status }]) => status === 200)
    test.each(successes)('%s is a retryable error without its text', async (_title, bogus) => {
      store.answer = () => bogus
      const error = await caught(get())
      expect(error).toBeInstanceOf(RetryableStoreError)
      expect((error as Error).message).not.toContain('log in')
    })
  })

  test.each([
    ['of another type', { token_type: 'mac', access_token: 't', expires_in: 300 }],
    ['without an end', { token_type: 'Bearer', access_token: 't' }],
  ])('a token %s is refused', async (_, token) => {
    store.answer = () => ({ status: 200, body: JSON.stringify(token) })
    expect(await caught(sources['Google tokens']!())).toBeInstanceOf(RetryableStoreError)
  })
})
