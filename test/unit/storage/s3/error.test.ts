import { describe, expect, test } from 'vitest'
import { StoreTrouble } from '../../../../src/storage/object/trouble.ts'
import { s3Error, type S3Action } from '../../../../src/storage/s3/error.ts'
import { refusalOf } from '../../../../src/storage/s3/refusal.ts'
import { parseXml } from '../../../../src/storage/s3/xml.ts'

const place = {
  action: 'write' as S3Action,
  shown: 's3://bucket/repo/x',
  bucket: 'bucket',
  repository: 'repo2',
  region: 'us-east-1',
  nowMs: Date.parse('2026-03-01T10:00:00Z'),
}

function errorFor(status: number, code: string, more: { inside?: string; headers?: object; action?: S3Action } = {}) {
  const xml = `<Error><Code>${code}</Code><Message>words of the service</Message>${more.inside ?? ''}</Error>`
  const refusal = refusalOf(status, code === '' ? undefined : parseXml(xml), { ...more.headers })
  return s3Error(refusal, { ...place, action: more.action ?? place.action })
}

describe('what may be asked again', () => {
  test.each([
    [503, 'SlowDown'],
    [503, 'ServiceUnavailable'],
    [503, ''],
    [429, ''],
    [400, 'ThrottlingException'],
  ])('%i %s: the store is overloaded', (status, code) => {
    const error = errorFor(status, code, { headers: { 'retry-after': '7' } })
    expect(error).toBeInstanceOf(StoreTrouble)
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
  ])('%i %s: a trouble that may pass', (status, code) => {
    expect(errorFor(status, code)).toBeInstanceOf(StoreTrouble)
    expect(errorFor(status, code)).toMatchObject({ overloaded: false, code: 'service' })
  })
})

describe('what is final, in words', () => {
  test.each([
    [404, 'NoSuchKey', 'file-missing', 'cannot write s3://bucket/repo/x: it is not there'],
    [404, 'NoSuchBucket', 'path-missing', 'there is no bucket bucket'],
    [403, 'InvalidAccessKeyId', 'access', 'the service does not know this key'],
    [403, 'SignatureDoesNotMatch', 'access', 'the signature does not match'],
    [400, 'ExpiredToken', 'access', 'the keys have expired'],
    [501, 'NotImplemented', 'feature-not-supported', 'the service cannot do this'],
    [507, '', 'file-write', 'the store is full'],
    [403, 'InvalidObjectState', 'file-read', 'a storage class that is not read at once'],
    [412, 'PreconditionFailed', 'file-read', 'it was replaced meanwhile'],
    [400, 'InvalidStorageClass', 'service', 'InvalidStorageClass: words of the service'],
  ])('%i %s', (status, code, kind, words) => {
    const error = errorFor(status, code)
    expect(error).not.toBeInstanceOf(StoreTrouble)
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
  ] as [S3Action, string][])('access denied to %s names %s', (action, permission) => {
    const error = errorFor(403, 'AccessDenied', { action })
    expect(error).toMatchObject({ code: 'access' })
    expect(error.hints.join()).toContain(permission)
    expect(error.hints.join()).toContain('repo2')
    expect(error.hints.join()).toContain('bucket')
  })

  test('a removal that is denied may be due to object lock', () => {
    expect(errorFor(403, 'AccessDenied', { action: 'remove' }).hints.join()).toContain('object lock')
  })

  test('clocks that differ: both times', () => {
    const error = errorFor(403, 'RequestTimeTooSkewed', { inside: '<ServerTime>2026-03-01T11:00:00Z</ServerTime>' })
    expect(error.code).toBe('clock')
    expect(error.message).toContain('2026-03-01T11:00:00Z there')
    expect(error.message).toContain('2026-03-01T10:00:00Z here')
  })

  test.each([
    [400, 'AuthorizationHeaderMalformed', { inside: '<Region>eu-west-3</Region>' }],
    [301, 'PermanentRedirect', { headers: { 'x-amz-bucket-region': 'eu-west-3' } }],
    [301, '', { headers: { 'x-amz-bucket-region': 'eu-west-3' } }],
  ])('%i %s: the region that would be right', (status, code, more) => {
    const error = errorFor(status, code, more)
    expect(error.message).toContain('the bucket bucket is in region eu-west-3, not in us-east-1')
    expect(error.hints.join()).toContain('repo2-s3-region=eu-west-3')
  })

  test('the number of the request goes with the cause, so that the service can be asked about it', () => {
    const error = errorFor(403, 'AccessDenied', { inside: '<RequestId>ABC123</RequestId>' })
    expect(String((error.cause as Error).message)).toContain('ABC123')
  })
})
