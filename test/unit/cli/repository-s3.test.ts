import { describe, expect, test } from 'vitest'
import { parseAddress, proxyOf } from '../../../src/cli/http-access.ts'
import { storageDescription } from '../../../src/cli/repository.ts'
import type { Environment } from '../../../src/cli/storage-settings.ts'
import type { S3Description } from '../../../src/storage/s3/description.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { ini, resolving } from '../config/resolving.ts'

const BASE = `[global]
repo1-type=s3
repo1-path=/backups/main
repo1-s3-bucket=my-bucket
repo1-s3-endpoint=s3.eu-west-3.amazonaws.com
repo1-s3-region=eu-west-3
repo1-retention-full=1
`
const KEYS = 'repo1-s3-key=AKID\nrepo1-s3-key-secret=geheim\n'

async function described(lines: string, env: Environment = {}, more = ''): Promise<S3Description> {
  const resolved = await resolving(`info --stanza=main ${more}`, ini(`${BASE}${lines}\n[main]\npg1-path=/pg\n`))
  const description = storageDescription(resolved.options.repo[0]!, resolved, env)
  if (description.kind !== 's3') throw new Error(description.kind)
  expect(description.path).toBe('/backups/main')
  return description.s3
}

async function refusal(lines: string, env: Environment = {}, more = ''): Promise<PgtsError> {
  const error: unknown = await described(lines, env, more).catch((caught: unknown) => caught)
  if (!(error instanceof PgtsError)) throw new Error('no error was thrown')
  expect(error.message + error.hints.join()).not.toContain('geheim')
  return error
}

describe('options of a repository in S3', () => {
  test('have their defaults', async () => {
    expect(await described(KEYS)).toEqual({
      bucket: 'my-bucket',
      region: 'eu-west-3',
      endpoint: { secure: true, uriStyle: 'host', host: 's3.eu-west-3.amazonaws.com' },
      service: 's3',
      keys: { type: 'shared', key: 'AKID', secret: 'geheim' },
      access: { verifyTls: true, stallMs: 60_000 },
      requesterPays: false,
      partBytes: 5 * 1024 * 1024,
      repository: 'repo1',
    })
  })

  test('all reach the description', async () => {
    const lines = `${KEYS}repo1-s3-token=tok
repo1-s3-uri-style=path
repo1-storage-host=http://store.internal:8080
repo1-storage-port=9000
repo1-storage-ca-file=/ca.crt
repo1-storage-ca-path=/ca.d
repo1-storage-verify-tls=n
repo1-storage-tag=team=db
repo1-storage-tag=cost=42
repo1-storage-upload-chunk-size=16MiB
repo1-s3-kms-key-id=key-1
repo1-s3-requester-pays=y
repo1-s3-service=s3-outposts
repo1-s3-storage-class=data=STANDARD_IA
repo1-s3-storage-class=wal=GLACIER_IR
io-timeout=10s`
    expect(await described(lines)).toEqual({
      bucket: 'my-bucket',
      region: 'eu-west-3',
      endpoint: {
        secure: false,
        uriStyle: 'path',
        host: 's3.eu-west-3.amazonaws.com',
        connectHost: 'store.internal',
        port: 9000,
      },
      service: 's3-outposts',
      keys: { type: 'shared', key: 'AKID', secret: 'geheim', token: 'tok' },
      access: { verifyTls: false, stallMs: 10_000, caFile: '/ca.crt', caPath: '/ca.d' },
      encryption: { kmsKeyId: 'key-1' },
      tags: { team: 'db', cost: '42' },
      requesterPays: true,
      storageClass: { data: 'STANDARD_IA', wal: 'GLACIER_IR' },
      partBytes: 16 * 1024 * 1024,
      repository: 'repo1',
    })
  })

  test('of an endpoint set scheme and port; repo1-storage-port has precedence', async () => {
    const endpoint = (text: string, more = '') => described(`${KEYS}${more}`.trim(), {}, `--repo1-s3-endpoint=${text}`)
    expect((await endpoint('http://minio:9000')).endpoint).toMatchObject({
      secure: false,
      host: 'minio',
      port: 9000,
    })
    expect((await endpoint('https://h:1', 'repo1-storage-port=2')).endpoint).toMatchObject({ secure: true, port: 2 })
  })

  describe('for the source of credentials', () => {
    const keys = async (lines: string, env: Environment = {}) => (await described(lines, env)).keys

    test('auto: the machine, a named role of it, or the container in the environment', async () => {
      const auto = 'repo1-s3-key-type=auto\n'
      const ecs = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/x' }
      const metadata = 'http://169.254.169.254'
      expect(await keys(auto)).toEqual({ type: 'instance', metadata })
      expect(await keys(`${auto}repo1-s3-role=r`, ecs)).toEqual({ type: 'instance', metadata, role: 'r' })
      expect(await keys(auto, ecs)).toEqual({ type: 'container', url: 'http://169.254.170.2/v2/x' })
    })

    test('web-id and pod-id: the variables of the platform', async () => {
      const web = { AWS_ROLE_ARN: 'arn', AWS_WEB_IDENTITY_TOKEN_FILE: '/jwt' }
      expect(await keys('repo1-s3-key-type=web-id', web)).toEqual({
        type: 'web-id',
        stsUrl: 'https://sts.amazonaws.com',
        role: 'arn',
        tokenFile: '/jwt',
      })
      const pod = { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://p/', AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/t' }
      expect(await keys('repo1-s3-key-type=pod-id', pod)).toEqual({
        type: 'container',
        url: 'http://p/',
        tokenFile: '/t',
      })
      const error = await refusal('repo1-s3-key-type=web-id', { AWS_ROLE_ARN: 'arn' })
      expect(error.message).toBe('repo1-s3-key-type=web-id requires AWS_WEB_IDENTITY_TOKEN_FILE in the environment')
    })

    test('process: program and arguments', async () => {
      const lines = 'repo1-s3-key-type=process\nrepo1-s3-process-cmd=/bin/keys\nrepo1-s3-process-cmd=--all of them'
      expect(await keys(lines)).toEqual({ type: 'process', command: ['/bin/keys', '--all of them'] })
    })
  })

  test.each([
    [
      'repo1-s3-uri-style=host\nrepo1-storage-host=a b',
      'repo1-storage-host (from /c/x.conf line 11) is not a host: a b',
    ],
    ['repo1-s3-storage-class=info=STANDARD_IA', 'contains a class for info, but only data and wal are supported'],
    ['repo1-s3-storage-class=wal=DEEP_ARCHIVE', 'sets class DEEP_ARCHIVE for wal, which cannot be read immediately'],
    ['repo1-s3-sse-customer-key=c2hvcnQ=', 'is not 32 bytes in base64'],
    [`repo1-s3-kms-key-id=k\nrepo1-s3-sse-customer-key=${'A'.repeat(43)}=`, 'cannot be used together'],
  ])('%s is refused', async (lines, words) => {
    expect((await refusal(KEYS + lines)).message).toContain(words)
  })

  test.each(['http://127.0.0.1:9000', '[::1]'])('with endpoint %s in host style are refused', async (endpoint) => {
    const given = `--repo1-s3-endpoint=${endpoint}`
    const error = await refusal(KEYS, {}, given)
    expect(error.message).toMatch(/repo1-s3-endpoint .*is an IP address \((127\.0\.0\.1|::1)\)/)
    expect(error.hints).toEqual(['set repo1-s3-uri-style=path'])
    expect((await described(`${KEYS}repo1-s3-uri-style=path`, {}, given)).endpoint.uriStyle).toBe('path')
  })

  test('with a dot in the bucket name are refused in host style, because no certificate matches', async () => {
    const dotted = '--repo1-s3-bucket=a.b'
    expect((await refusal(KEYS, {}, dotted)).hints).toEqual(['set repo1-s3-uri-style=path'])
    expect((await described(`${KEYS}repo1-s3-uri-style=path`, {}, dotted)).bucket).toBe('a.b')
    expect((await described(`${KEYS}repo1-storage-verify-tls=n`, {}, dotted)).bucket).toBe('a.b')
  })

  test('repo-target-time requires --repo', async () => {
    const parts = (more: string) => described(KEYS, {}, more)
    expect((await parts('--repo=1 --repo-target-time=2026-01-02T03:04:05Z')).atMs).toBe(Date.UTC(2026, 0, 2, 3, 4, 5))
    expect((await refusal(KEYS, {}, '--repo-target-time=2026-01-02T03:04:05Z')).code).toBe('option-required')
  })
})

describe('addresses', () => {
  test.each([
    ['host', { secure: true, host: 'host' }],
    ['HTTPS://Host/', { secure: true, host: 'Host' }],
    ['http://host:9000', { secure: false, host: 'host', port: 9000 }],
    ['[::1]:9000', { secure: true, host: '::1', port: 9000 }],
  ])('%s', (text, address) => expect(parseAddress(text)).toEqual(address))

  test.each(['', 'a b', 'ftp://host', 'host/path', 'user@host', 'host:port', 'http://'])('%j is refused', (text) => {
    expect(parseAddress(text)).toBeUndefined()
  })
})

describe('the proxy of the environment', () => {
  const url = 'http://proxy:3128'
  test.each([
    [{ HTTPS_PROXY: url }, { url, exceptions: '' }],
    [
      { https_proxy: 'proxy:3128', HTTPS_PROXY: 'http://other' },
      { url, exceptions: '' },
    ],
    [{}, undefined],
    [{ HTTPS_PROXY: '' }, undefined],
    [
      { https_proxy: '', HTTPS_PROXY: url, no_proxy: '', NO_PROXY: 'a' },
      { url, exceptions: 'a' },
    ],
    [
      { HTTPS_PROXY: url, no_proxy: 'a', NO_PROXY: 'b' },
      { url, exceptions: 'a' },
    ],
  ])('%j', (env, expected) => expect(proxyOf(env)).toEqual(expected))
})

describe('an invalid URL in the configuration is an invalid value [032], never an assert error', () => {
  test.each([
    ['repo1-s3-endpoint=exa<mple.com', {}, /^repo1-s3-endpoint .* is not a host: exa<mple\.com$/],
    ['repo1-s3-endpoint=1.2.3.999', {}, /^repo1-s3-endpoint .* is not a host/],
    ['repo1-s3-endpoint=host:99999', {}, /^repo1-s3-endpoint .* is not a host/],
    ['repo1-storage-host=a%zz', {}, /^repo1-storage-host .* is not a host: a%zz$/],
    ['repo1-s3-bucket=a b', {}, /^repo1-s3-bucket .* 'a b' cannot be part of a host name$/],
    ['repo1-s3-bucket=evil.com/x', {}, /cannot be part of a host name$/],
    ['repo1-s3-bucket=user@evil', {}, /cannot be part of a host name$/],
    ['', { HTTPS_PROXY: 'http://user:geheim@[::1' }, /^invalid URL in the environment variable HTTPS_PROXY$/],
    ['', { https_proxy: 'user:geheim%zz@host' }, /^invalid URL in the environment variable https_proxy$/],
    ['', { HTTPS_PROXY: 'host:99999' }, /HTTPS_PROXY$/],
    [
      'repo1-s3-key-type=auto',
      { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'nowhere' },
      /AWS_CONTAINER_CREDENTIALS_FULL_URI$/,
    ],
    ['repo1-s3-key-type=auto', { AWS_EC2_METADATA_SERVICE_ENDPOINT: 'ftp://x' }, /AWS_EC2_METADATA_SERVICE_ENDPOINT$/],
    [
      'repo1-s3-key-type=pod-id',
      { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://', AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/t' },
      /AWS_CONTAINER_CREDENTIALS_FULL_URI$/,
    ],
    [
      'repo1-s3-key-type=web-id\nrepo1-s3-sts-host=a b',
      { AWS_ROLE_ARN: 'r', AWS_WEB_IDENTITY_TOKEN_FILE: '/t' },
      /^repo1-s3-sts-host .*is not a host: a b$/,
    ],
  ] as [string, Environment, RegExp][])('%s %j', async (lines, env, message) => {
    const option = lines.split('=')[0]!
    const base = lines.startsWith('repo1-s3-bucket') || lines.startsWith('repo1-s3-endpoint') ? option : undefined
    const error = await refusalWith(base, lines, env)
    expect(error.exitCode).toBe(32)
    expect(error.message).toMatch(message)
  })
})

/** With one line of the base configuration replaced. */
async function refusalWith(replaced: string | undefined, lines: string, env: Environment): Promise<PgtsError> {
  const base = replaced === undefined ? BASE : BASE.replace(new RegExp(`^${replaced}=.*\n`, 'm'), '')
  const keys = lines.includes('key-type') ? '' : KEYS
  const error: unknown = await resolving('info --stanza=main', ini(`${base}${keys}${lines}\n[main]\npg1-path=/pg\n`))
    .then((resolved) => storageDescription(resolved.options.repo[0]!, resolved, env))
    .catch((caught: unknown) => caught)
  if (!(error instanceof PgtsError)) throw new Error('no error was thrown')
  expect(error.message + error.hints.join()).not.toContain('geheim')
  return error
}
