import { beforeAll, describe, expect, test } from 'vitest'
import type { ObjectUpload } from '../../../../src/storage/object/client.ts'
import { openS3Client, type S3Client } from '../../../../src/storage/s3/client.ts'
import { atPointInTime } from '../../../../src/storage/s3/point-in-time.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import {
  type Answer,
  bytes,
  type Case,
  caught,
  data,
  expectRetryable,
  html,
  impostorForFile,
  neverBelieved,
  OPERATIONS,
  xml,
} from '../../../support/stores/impostor.ts'

const store = impostorForFile()

const S3_OBJECT = { etag: '"e"', 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }
const s3Error = (status: number, code: string): Answer => ({
  ...xml(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`),
  status,
})

describe('S3', () => {
  let client: S3Client
  beforeAll(async () => {
    client = await openS3Client(
      {
        bucket: 'bucket',
        region: 'eu-central-1',
        endpoint: { secure: false, uriStyle: 'path', host: '127.0.0.1', port: store.port },
        service: 's3',
        keys: { type: 'shared', key: 'k', secret: 's' },
        access: { verifyTls: true, stallMs: 5000 },
        requesterPays: false,
        partBytes: 5 * 1024 * 1024,
        repository: 'repo1',
      },
      systemClock,
    )
    return () => client[Symbol.asyncDispose]()
  })

  const operations: Record<string, Case> = {
    ...OPERATIONS,
    'remove one': { ...OPERATIONS['remove one'], except: ['204 of a load balancer'] },
    'begin an upload': { run: () => client.upload('p/a', data) },
    'write a part': { runOn: (upload) => upload.part(2, bytes) },
    'complete an upload': { runOn: (upload) => upload.complete() },
    'abort an upload': { runOn: (upload) => upload.abort(), except: ['204 of a load balancer'] },
    'list uploads': { run: () => client.abortAbandoned('p/', 1) },
    'list versions': { run: () => atPointInTime(client, Date.now()).list({ prefix: 'p/' }) },
    'look up a version': { run: () => atPointInTime(client, Date.now()).head('p/a') },
  }

  const beginUpload = async (): Promise<ObjectUpload> => {
    store.answer = ({ method }) =>
      method === 'PUT'
        ? { status: 200, headers: S3_OBJECT }
        : xml('<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>')
    const upload = await client.upload('p/a', data)
    await upload.part(1, bytes)
    return upload
  }

  neverBelieved(store, 'an S3', operations, () => client, beginUpload)

  test('the message names the operation, the answer and its first 100 characters, escaped, and what to check', async () => {
    store.answer = () => ({ ...html(200), body: `<p>\n${'x'.repeat(200)}` })
    expect(await caught(client.put('p/a', bytes, data))).toMatchObject({
      code: 'service',
      message: `cannot write s3://bucket/p/a: answer 200 text/html is not an S3 answer (no header etag): '<p>\\n${'x'.repeat(96)}...'`,
      hints: ['check for a proxy, load balancer or login page between this host and the store'],
    })
  })

  const COMPLETED = '<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>'
  test.each([
    ['with an empty ETag (Ceph)', COMPLETED],
    ['after white space that kept the connection open', `<?xml version="1.0"?>\n \n  ${COMPLETED}\n`],
    ['with a prefix of its namespace', COMPLETED.replaceAll(/<(\/?)C/g, '<$1s3:C')],
  ])('an upload is complete only when the answer confirms it, %s', async (_, body) => {
    const upload = await beginUpload()
    store.answer = () => xml(body)
    await upload.complete()
  })

  test.each([
    ['', '<Error><Code>InternalError</Code><Message>again</Message></Error>', 'InternalError: again'],
    ['with white space', `<?xml version="1.0"?>\n\n <Error><Code>SlowDown</Code></Error>\n`, 'overloaded (SlowDown'],
    ['truncated', COMPLETED.slice(0, -1), 'no element CompleteMultipartUploadResult'],
  ])('a success whose body is an error %s fails', async (_, body, words) => {
    const upload = await beginUpload()
    store.answer = () => xml(body)
    const error = await caught(upload.complete())
    expectRetryable(error)
    expect((error as Error).message).toContain(words)
  })

  test('an object is missing when the store says so in a body, of HEAD by a GET', async () => {
    store.answer = ({ method }) => (method === 'HEAD' ? { status: 404 } : s3Error(404, 'NoSuchKey'))
    expect(await client.head('p/a')).toBeUndefined()
    expect(store.requests.map((line) => line.split('?')[0])).toEqual(['HEAD /bucket/p/a', 'GET /bucket/p/a'])
    expect(await caught(client.get('p/a'))).toMatchObject({ code: 'file-missing' })
    store.answer = ({ method }) => (method === 'HEAD' ? { status: 404 } : s3Error(404, 'NoSuchBucket'))
    expect(await caught(client.head('p/a'))).toMatchObject({ code: 'path-missing' })
    const there = { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 0-0/5', 'content-length': '1' } }
    store.answer = ({ method }) => (method === 'HEAD' ? { status: 404 } : { ...there, body: 'x' })
    expectRetryable(await caught(client.head('p/a')))
    // It was created after the first request.
    const heads = [404, 200]
    store.answer = ({ method }) => {
      if (method !== 'HEAD') return { ...there, body: 'x' }
      return { status: heads.shift() ?? 404, headers: { ...S3_OBJECT, 'content-length': '5' } }
    }
    expect(await client.head('p/a')).toMatchObject({ sizeBytes: 5 })
  })

  test('names of a batch without an answer are removed one by one', async () => {
    store.answer = ({ method }) =>
      method === 'POST' ? xml('<DeleteResult><Deleted><Key>p/a</Key></Deleted></DeleteResult>') : { status: 204 }
    expect(await client.removeBatch(['p/a', 'p/b', 'p/c'])).toEqual([])
    expect(store.requests.map((line) => line.split('?')[0])).toEqual([
      'POST /bucket/',
      'DELETE /bucket/p/b',
      'DELETE /bucket/p/c',
    ])
  })

  const entry = (name: string) =>
    `<Contents><Key>${name}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>`
  const listing = (inner: string) => xml(`<ListBucketResult>${inner}</ListBucketResult>`)
  const TRUNCATED = '<IsTruncated>true</IsTruncated>'
  test.each([
    ['truncated without a token', listing(TRUNCATED + entry('p/a')), 'has no marker for the next page'],
    [
      'truncated with an empty token',
      listing(`${TRUNCATED}<NextContinuationToken></NextContinuationToken>`),
      'has no marker for the next page',
    ],
    [
      'truncated with the token of the request',
      listing(`${TRUNCATED}<NextContinuationToken>token</NextContinuationToken>`),
      'the next page is the same page',
    ],
    ['that does not say whether it is truncated', listing(entry('p/a')), 'no element IsTruncated'],
    ['of another prefix', listing(`<IsTruncated>false</IsTruncated>${entry('q/a')}`), "'q/a', which was not requested"],
    [
      'with an object without its size',
      listing('<IsTruncated>false</IsTruncated><Contents><Key>p/a</Key></Contents>'),
      'an object without its size or time',
    ],
    [
      'that ends early',
      { ...listing(''), body: '<ListBucketResult><IsTruncated>false</IsTruncated>' },
      'ListBucketResult',
    ],
  ])('a listing %s is a retryable error', async (_, bogus, words) => {
    store.answer = () => bogus
    const error = await caught(client.list({ prefix: 'p/', after: 'token' }))
    expectRetryable(error)
    expect((error as Error).message).toContain(words)
  })

  test('a truncated listing of uploads or versions without a next page is a retryable error', async () => {
    store.answer = ({ url }) => {
      const root = url.includes('uploads') ? 'ListMultipartUploadsResult' : 'ListVersionsResult'
      return xml(`<${root}>${TRUNCATED}</${root}>`)
    }
    const past = atPointInTime(client, Date.now())
    for (const listed of [
      () => client.abortAbandoned('p/', 1),
      () => past.list({ prefix: '' }),
      () => past.head('a'),
    ]) {
      store.requests = []
      const error = await caught(listed())
      expectRetryable(error)
      expect((error as Error).message).toContain('has no marker for the next page')
      expect(store.requests).toHaveLength(1)
    }
  })

  test.each([
    ['200 with all of a larger object', { status: 200, headers: { ...S3_OBJECT, 'content-length': '10' } }],
    ['206 of another range', { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 0-4/10' } }],
    ['206 of more bytes', { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 2-9/10' } }],
    ['206 of fewer bytes', { status: 206, headers: { ...S3_OBJECT, 'content-range': 'bytes 2-4/10' } }],
    ['206 without a range', { status: 206, headers: S3_OBJECT }],
  ])('a range answered by %s is a retryable error', async (_, bogus) => {
    const { headers } = bogus
    const range = /(\d+)-(\d+)/.exec('content-range' in headers ? headers['content-range'] : '')
    const length = range === null ? 10 : Number(range[2]) - Number(range[1]) + 1
    store.answer = () => ({
      ...bogus,
      headers: { 'content-length': String(length), ...headers },
      body: 'x'.repeat(length),
    })
    const error = await caught(client.get('p/a', { offset: 2, length: 5 }))
    expectRetryable(error)
    expect((error as Error).message).toContain('cannot read s3://bucket/p/a: the store sent other bytes')
  })
})
