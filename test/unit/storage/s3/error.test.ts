import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { RefusedRequestError, RetryableStoreError } from '../../../../src/storage/object/retryable-error.ts'
import { s3Error, type S3Action } from '../../../../src/storage/s3/error.ts'
import { refusalOf } from '../../../../src/storage/s3/refusal.ts'

const place = {
  action: 'write' as S3Action,
  shown: 's3://bucket/repo/x',
  bucket: 'bucket',
  repository: 'repo2',
  region: 'us-east-1',
  nowMs: Date.parse('2026-03-01T10:00:00Z'),
}

/** The error of AWS's client after such an answer, translated. */
async function errorFor(
  status: number,
  code: string,
  more: { inside?: string; headers?: object; action?: S3Action; body?: string; message?: string } = {},
) {
  const xml = `<Error><Code>${code}</Code><Message>${more.message ?? 'words of the service'}</Message>${more.inside ?? ''}</Error>`
  const body = Readable.from([Buffer.from(more.body ?? (code === '' ? '' : xml))])
  const response = { statusCode: status, headers: { ...more.headers }, body }
  const sdk = new S3Client({
    region: 'us-east-1',
    endpoint: 'https://store.example',
    maxAttempts: 1,
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    requestHandler: { handle: () => Promise.resolve({ response }) },
  })
  const thrown = await sdk.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'x', Body: 'y' })).then(
    () => undefined,
    (error: unknown) => error,
  )
  const refusal = refusalOf(thrown)
  expect(refusal).toBeDefined()
  return s3Error(refusal!, { ...place, action: more.action ?? place.action })
}

describe('retryable errors', () => {
  test.each([
    [503, 'SlowDown'],
    [503, 'ServiceUnavailable'],
    [503, ''],
    [429, ''],
    [400, 'ThrottlingException'],
  ])('%i %s: the store is overloaded', async (status, code) => {
    const error = await errorFor(status, code, { headers: { 'retry-after': '7' } })
    expect(error).toBeInstanceOf(RetryableStoreError)
    expect(error).toMatchObject({ overloaded: true, retryAfterMs: 7000 })
  })

  test.each([
    [500, 'InternalError'],
    [502, ''],
    [504, ''],
    [400, 'RequestTimeout'],
    [409, 'OperationAborted'],
    [409, 'ConditionalRequestConflict'],
    [400, 'BadDigest'],
    [400, 'XAmzContentSHA256Mismatch'],
    [200, 'InternalError'],
  ])('%i %s: a retryable error', async (status, code) => {
    expect(await errorFor(status, code)).toBeInstanceOf(RetryableStoreError)
    expect(await errorFor(status, code)).toMatchObject({ overloaded: false, code: 'service' })
  })
})

describe('refusals that a gateway may cause are retried a few times', () => {
  test.each([
    [404, 'NoSuchBucket', 'path-missing', 'bucket bucket does not exist'],
    [403, 'InvalidAccessKeyId', 'access', 'the service does not know this key'],
    [403, 'SignatureDoesNotMatch', 'access', 'the signature does not match'],
    [403, 'AccessDenied', 'access', 'access denied (AccessDenied: words of the service)'],
    [403, '', 'access', 'access denied (HTTP status 403)'],
    [400, 'ExpiredToken', 'access', 'the credentials have expired'],
    [400, '', 'service', 'HTTP status 400'],
    [404, '', 'service', 'HTTP status 404'],
    [301, '', 'service', 'the bucket bucket is at another endpoint'],
    [405, '', 'service', 'HTTP status 405'],
    [501, '', 'feature-not-supported', 'the service cannot do this'],
    [400, 'InvalidStorageClass', 'service', 'InvalidStorageClass: words of the service'],
    [403, 'RequestTimeTooSkewed', 'clock', 'the store does not accept the time of the request'],
  ])('%i %s', async (status, code, kind, words) => {
    const error = await errorFor(status, code)
    expect(error).toBeInstanceOf(RefusedRequestError)
    expect(error).toMatchObject({ code: kind, message: expect.stringContaining(words) })
  })

  test.each([
    [520, ''],
    [408, ''],
  ])('%i: retryable', async (status, code) => {
    expect(await errorFor(status, code)).toBeInstanceOf(RetryableStoreError)
  })

  test('a reported clock difference that does not exist', async () => {
    const error = await errorFor(403, 'RequestTimeTooSkewed', {
      headers: { date: 'Sun, 01 Mar 2026 10:00:04 GMT' },
    })
    expect(error).toBeInstanceOf(RefusedRequestError)
    expect(error.code).toBe('service')
    expect(error.message).toContain(
      'the store reports a clock difference, but its time is Sun, 01 Mar 2026 10:00:04 GMT',
    )
    expect(error.hints.join()).not.toContain('clock')
  })
})

describe('messages of final errors', () => {
  test.each([
    [404, 'NoSuchKey', 'file-missing', 'cannot write s3://bucket/repo/x: it does not exist'],
    [501, 'NotImplemented', 'feature-not-supported', 'the service cannot do this'],
    [507, '', 'file-write', 'the store is full'],
    [403, 'InvalidObjectState', 'file-read', 'its storage class does not allow an immediate read'],
    [412, 'PreconditionFailed', 'file-read', 'it was replaced during the operation'],
  ])('%i %s', async (status, code, kind, words) => {
    const error = await errorFor(status, code)
    expect(error).not.toBeInstanceOf(RetryableStoreError)
    expect(error).not.toBeInstanceOf(RefusedRequestError)
    expect(error.code).toBe(kind)
    expect(error.message).toContain(words)
  })

  test.each([
    ['look', 's3:GetObject'],
    ['read', 's3:GetObject'],
    ['write', 's3:PutObject'],
    ['list', 's3:ListBucket'],
    ['remove', 's3:DeleteObject'],
    ['abort', 's3:AbortMultipartUpload'],
    ['list-uploads', 's3:ListBucketMultipartUploads'],
    ['list-versions', 's3:ListBucketVersions'],
    ['read-version', 's3:GetObjectVersion'],
  ] as [S3Action, string][])('access denied to %s names %s', async (action, permission) => {
    const error = await errorFor(403, 'AccessDenied', { action })
    expect(error).toMatchObject({ code: 'access' })
    expect(error.hints.join()).toContain(permission)
    expect(error.hints.join()).toContain('repo2')
    expect(error.hints.join()).toContain('bucket')
  })

  test('the message of a denied removal mentions object lock', async () => {
    expect((await errorFor(403, 'AccessDenied', { action: 'remove' })).hints.join()).toContain('object lock')
  })

  test.each([
    [403, 'AccessDenied', '', true],
    [403, '', '', true],
    [405, 'MethodNotAllowed', '', true],
    [400, 'InvalidRequest', 'Object is WORM protected and cannot be overwritten', true],
    [400, 'InvalidRequest', 'something else', false],
    [403, 'SignatureDoesNotMatch', '', false],
    [403, 'InvalidAccessKeyId', '', false],
    [403, 'RequestTimeTooSkewed', '', false],
    [400, 'ExpiredToken', '', false],
    [500, 'InternalError', '', false],
    [501, 'NotImplemented', '', false],
  ])('%i %s %s on a removal: denied is %s', async (status, code, message, denied) => {
    const more = message === '' ? {} : { message }
    expect((await errorFor(status, code, { action: 'remove', ...more })).denied).toBe(denied)
    expect((await errorFor(status, code, { action: 'write', ...more })).denied).toBe(false)
  })

  test('the message about different clocks has both times', async () => {
    const error = await errorFor(403, 'RequestTimeTooSkewed', {
      inside: '<ServerTime>2026-03-01T11:00:00Z</ServerTime>',
    })
    expect(error).not.toBeInstanceOf(RefusedRequestError)
    expect(error.code).toBe('clock')
    expect(error.message).toContain('store 2026-03-01T11:00:00Z')
    expect(error.message).toContain('this host 2026-03-01T10:00:00Z')
  })

  test.each([
    [400, 'AuthorizationHeaderMalformed', { inside: '<Region>eu-west-3</Region>' }],
    [301, 'PermanentRedirect', { headers: { 'x-amz-bucket-region': 'eu-west-3' } }],
    [301, '', { headers: { 'x-amz-bucket-region': 'eu-west-3' } }],
  ])('%i %s: the message has the correct region', async (status, code, more) => {
    const error = await errorFor(status, code, more)
    expect(error.message).toContain('the bucket bucket is in region eu-west-3, not in us-east-1')
    expect(error.hints.join()).toContain('repo2-s3-region=eu-west-3')
  })

  test('the cause has the request id of the service', async () => {
    const error = await errorFor(403, 'AccessDenied', { inside: '<RequestId>ABC123</RequestId>' })
    expect(String((error.cause as Error).message)).toContain('ABC123')
  })
})

test('a page of a proxy is classified by its status only', async () => {
  const error = await errorFor(502, '', { body: '<html><body><h1>Bad Gateway</h1><br></body></html>' })
  expect(error).toBeInstanceOf(RetryableStoreError)
  expect(error.message).toBe('cannot write s3://bucket/repo/x: HTTP status 502')
})
