import { describe, expect, test } from 'vitest'
import { storageDescription } from '../../../src/cli/repository.ts'
import { ini, resolving } from '../config/resolving.ts'

async function described(lines: string, env: Record<string, string> = {}) {
  const text = `[global]\nrepo1-path=/team/pgts\nrepo1-retention-full=1\n${lines}\n[main]\npg1-path=/pg\n`
  const resolved = await resolving('backup --stanza=main', ini(text))
  return storageDescription(resolved.options.repo[0]!, resolved, env)
}

const AZURE = 'repo1-type=azure\nrepo1-azure-account=acc\nrepo1-azure-container=con'
const SHARED = `${AZURE}\nrepo1-azure-key=a2V5`

describe('a repository in azure', () => {
  test.each([
    ['', 'https://acc.blob.core.windows.net'],
    ['repo1-azure-endpoint=blob.core.usgovcloudapi.net', 'https://acc.blob.core.usgovcloudapi.net'],
    ['repo1-azure-uri-style=path', 'https://blob.core.windows.net/acc'],
    ['repo1-storage-host=blobs', 'https://blobs/acc'],
    ['repo1-storage-host=blobs\nrepo1-azure-uri-style=host', 'https://acc.blobs'],
    ['repo1-storage-host=http://127.0.0.1:10000', 'http://127.0.0.1:10000/acc'],
    ['repo1-storage-host=127.0.0.1\nrepo1-storage-port=10000', 'https://127.0.0.1:10000/acc'],
    ['repo1-storage-host=http://blobs:80', 'http://blobs/acc'],
    ['repo1-storage-host=[::1]\nrepo1-storage-port=9', 'https://[::1]:9/acc'],
    ['repo1-azure-endpoint=http://emulator:10000', 'http://acc.emulator:10000'],
  ])('with %s has the address %s', async (lines, serviceUrl) => {
    expect(await described(`${SHARED}\n${lines}`)).toMatchObject({
      kind: 'azure',
      path: '/team/pgts',
      azure: { serviceUrl, account: 'acc', container: 'con', credential: { type: 'shared', key: 'a2V5' } },
    })
  })

  test('has tags, part size, certificates and timeouts of its options', async () => {
    const lines =
      'repo1-storage-tag=team=db\nrepo1-storage-upload-chunk-size=16MiB\nrepo1-storage-ca-file=/ca\nrepo1-storage-verify-tls=n'
    expect(await described(`${SHARED}\n${lines}\nio-timeout=30`)).toMatchObject({
      azure: {
        tags: { team: 'db' },
        partBytes: 16 * 1024 * 1024,
        access: { caFile: '/ca', verifyTls: false, stallMs: 30_000 },
        repository: 'repo1',
      },
    })
  })

  test.each([
    ['repo1-azure-endpoint=geheim<', {}, /^repo1-azure-endpoint .* is not a host$/],
    ['repo1-storage-host=a b', {}, /^repo1-storage-host .* is not a host: a b$/],
    ['repo1-azure-key-type=auto', { IDENTITY_ENDPOINT: 'nowhere', IDENTITY_HEADER: 'h' }, /IDENTITY_ENDPOINT$/],
  ] as [string, Record<string, string>, RegExp][])('%s %j is an invalid value [032]', async (lines, env, message) => {
    const keys = lines.includes('key-type') ? AZURE : SHARED
    await expect(described(`${keys}\n${lines}`, env)).rejects.toMatchObject({
      code: 'option-invalid-value',
      message: expect.stringMatching(message),
    })
  })

  test('with an invalid account is refused without showing the account', async () => {
    const lines = SHARED.replace('account=acc', 'account=geheim/x')
    const error = await described(lines).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'option-invalid-value' })
    expect(String(error)).not.toContain('geheim')
  })

  test('has the credential of the machine, of the app, or of one of several identities', async () => {
    const lines = `${AZURE}\nrepo1-azure-key-type=auto`
    const credential = async (env: Record<string, string>) =>
      ((await described(lines, env)) as { azure: { credential: unknown } }).azure.credential
    expect(await credential({})).toEqual({ type: 'auto' })
    expect(await credential({ IDENTITY_ENDPOINT: 'http://x/msi', IDENTITY_HEADER: 'h', AZURE_CLIENT_ID: 'c' })).toEqual(
      {
        type: 'auto',
        service: { endpoint: 'http://x/msi', header: 'h' },
        clientId: 'c',
      },
    )
  })

  test('without a key is refused', async () => {
    await expect(described(AZURE)).rejects.toMatchObject({
      code: 'option-required',
      message: 'repo1-azure-key must be set',
    })
  })

  test('with an invalid host is refused', async () => {
    await expect(described(`${SHARED}\nrepo1-storage-host=a/b`)).rejects.toMatchObject({
      code: 'option-invalid-value',
      message: expect.stringContaining('repo1-storage-host (from /c/x.conf line 8) is not a host: a/b'),
    })
  })
})

const GCS = 'repo1-type=gcs\nrepo1-gcs-bucket=b'

describe('a repository in gcs', () => {
  test('has a key file and the endpoint of Google by default', async () => {
    expect(await described(`${GCS}\nrepo1-gcs-key=/etc/key.json\nrepo1-gcs-user-project=p`)).toMatchObject({
      kind: 'gcs',
      path: '/team/pgts',
      gcs: {
        bucket: 'b',
        serviceUrl: 'https://storage.googleapis.com',
        credential: { type: 'service', keyFile: '/etc/key.json' },
        userProject: 'p',
        partBytes: 4 * 1024 * 1024,
      },
    })
  })

  test('has a token, the identity of the machine, or another endpoint by its options', async () => {
    expect(await described(`${GCS}\nrepo1-gcs-key-type=token\nrepo1-gcs-key=t`)).toMatchObject({
      gcs: { credential: { type: 'token', token: 't' } },
    })
    const auto = `${GCS}\nrepo1-gcs-key-type=auto\nrepo1-gcs-endpoint=http://127.0.0.1:4443`
    expect(await described(auto, { GCE_METADATA_HOST: 'meta:1' })).toMatchObject({
      gcs: { credential: { type: 'auto', metadata: 'meta:1' }, serviceUrl: 'http://127.0.0.1:4443' },
    })
  })
})
