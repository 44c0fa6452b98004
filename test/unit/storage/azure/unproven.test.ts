import { beforeAll, describe, expect, test } from 'vitest'
import { openAzureClient } from '../../../../src/storage/azure/client.ts'
import type { ObjectClient, ObjectUpload } from '../../../../src/storage/object/client.ts'
import {
  type Answer,
  bytes,
  type Case,
  caught,
  data,
  expectRetryable,
  impostorForFile,
  neverBelieved,
  OPERATIONS,
  xml,
} from '../../../support/stores/impostor.ts'

const store = impostorForFile()

describe('Azure', () => {
  let client: ObjectClient
  beforeAll(async () => {
    client = await openAzureClient({
      account: 'account',
      container: 'container',
      serviceUrl: `http://127.0.0.1:${store.port}/account`,
      credential: { type: 'shared', key: Buffer.from('key').toString('base64') },
      partBytes: 1024 * 1024,
      access: { verifyTls: true, stallMs: 5000 },
      repository: 'repo1',
    })
    return () => client[Symbol.asyncDispose]()
  })

  const SIGN = { 'x-ms-request-id': '1', 'x-ms-version': '2024-08-04' }
  const BLOB = { ...SIGN, etag: '"1"', 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }
  const signed = (answer: Answer, more = {}): Answer => ({
    ...answer,
    headers: { ...answer.headers, ...SIGN, ...more },
  })

  const beginUpload = async (): Promise<ObjectUpload> => {
    store.answer = () => ({ status: 201, headers: SIGN })
    const upload = await client.upload('p/a', data)
    await upload.part(1, bytes)
    return upload
  }

  const operations: Record<string, Case> = {
    ...OPERATIONS,
    'write a part': { runOn: (upload) => upload.part(2, bytes) },
    'complete an upload': { runOn: (upload) => upload.complete() },
  }
  neverBelieved(store, 'an Azure', operations, () => client, beginUpload)

  const WRITES: Record<string, Case> = {
    put: OPERATIONS['put']!,
    putIfAbsent: OPERATIONS['putIfAbsent']!,
    'write a part': operations['write a part']!,
    'complete an upload': operations['complete an upload']!,
    'remove several': OPERATIONS['remove several']!,
  }
  test.each(Object.entries(WRITES))('%s: a 200 of the service itself is not its confirmation', async (_, one) => {
    const upload = await beginUpload()
    store.answer = () => signed({ status: 200 })
    const error = await caught(one.run === undefined ? one.runOn!(upload) : one.run(client))
    expectRetryable(error)
    expect((error as Error).message).toMatch(/status 20[12] is expected/)
  })

  test('a blob is missing when the service says so, of HEAD by its headers', async () => {
    store.answer = () => signed({ status: 404 }, { 'x-ms-error-code': 'BlobNotFound' })
    expect(await client.head('p/a')).toBeUndefined()
    expect(await caught(client.get('p/a'))).toMatchObject({ code: 'file-missing' })
    expect(store.requests).toHaveLength(2)
  })

  const blob = (name: string, properties = '<Content-Length>1</Content-Length>') =>
    `<Blob><Name>${name}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>${properties}</Properties></Blob>`
  const listing = (blobs: string, end: string) =>
    signed(xml(`<?xml version="1.0"?><EnumerationResults><Blobs>${blobs}</Blobs>${end}</EnumerationResults>`))

  test('a listing ends with an empty marker', async () => {
    store.answer = () => listing(blob('p/a'), '<NextMarker />')
    expect(await client.list({ prefix: 'p/' })).toMatchObject({ objects: [{ name: 'p/a', sizeBytes: 1 }] })
  })

  test.each([
    ['without its end', listing(blob('p/a'), ''), 'no element NextMarker'],
    ['that ends early', signed(xml('<EnumerationResults><NextMarker/>')), 'no element EnumerationResults'],
    [
      'that goes on with the page of the request',
      listing(blob('p/a'), '<NextMarker>token</NextMarker>'),
      'the next page is the same page',
    ],
    ['of another prefix', listing(blob('q/a'), '<NextMarker/>'), 'was not requested'],
    ['with a blob without its size', listing(blob('p/a', ''), '<NextMarker/>'), 'without its size or time'],
  ])('a listing %s is a retryable error', async (_, bogus, words) => {
    store.answer = () => bogus
    const error = await caught(client.list({ prefix: 'p/', after: 'token' }))
    expectRetryable(error)
    expect((error as Error).message).toContain(words)
  })

  test('a range answered with the whole blob is a retryable error', async () => {
    store.answer = () => ({ status: 200, headers: { ...BLOB, 'content-length': '10' }, body: '0123456789' })
    const error = await caught(client.get('p/a', { offset: 2, length: 5 }))
    expectRetryable(error)
    expect((error as Error).message).toContain('cannot read azure://container/p/a: the store sent other bytes')
  })
})
