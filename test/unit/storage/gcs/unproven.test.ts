import { beforeAll, describe, expect, test } from 'vitest'
import { openGcsClient, type GcsClient } from '../../../../src/storage/gcs/client.ts'
import { atPointInTime } from '../../../../src/storage/gcs/point-in-time.ts'
import type { ObjectUpload } from '../../../../src/storage/object/client.ts'
import {
  type Answer,
  type Asked,
  bytes,
  type Case,
  caught,
  data,
  expectRetryable,
  html,
  impostorForFile,
  neverBelieved,
  OPERATIONS,
} from '../../../support/stores/impostor.ts'

const store = impostorForFile()

describe('GCS', () => {
  let client: GcsClient
  beforeAll(async () => {
    client = await openGcsClient({
      bucket: 'bucket',
      serviceUrl: `http://127.0.0.1:${store.port}`,
      credential: { type: 'token', token: 't' },
      access: { verifyTls: true, stallMs: 5000 },
      partBytes: 256 * 1024,
      repository: 'repo1',
    })
    return () => client[Symbol.asyncDispose]()
  })

  const json = (value: object, status = 200): Answer => ({
    status,
    headers: { 'content-type': 'application/json; charset=UTF-8' },
    body: JSON.stringify(value),
  })
  const refusal = (status: number, message: string) => json({ error: { code: status, message } }, status)
  const session = () => ({ location: `http://127.0.0.1:${store.port}/upload?uploadType=resumable&upload_id=1` })
  const PART = Buffer.alloc(256 * 1024)

  const beginUpload = async (): Promise<ObjectUpload> => {
    store.answer = ({ method }) =>
      method === 'POST'
        ? { status: 200, headers: session() }
        : { status: 308, headers: { range: `bytes=0-${PART.length - 1}` } }
    const upload = await client.upload('p/a', data)
    await upload.part(1, PART)
    return upload
  }

  const operations: Record<string, Case> = {
    ...OPERATIONS,
    'remove one': { ...OPERATIONS['remove one'], except: ['204 of a load balancer'] },
    'begin an upload': { run: () => client.upload('p/a', data) },
    'write a part': { runOn: (upload) => upload.part(2, PART) },
    'complete an upload': { runOn: (upload) => upload.complete() },
    'list generations': { run: () => atPointInTime(client, Date.now()).list({ prefix: 'p/' }) },
    'look up a generation': { run: () => atPointInTime(client, Date.now()).head('p/a') },
    'get a generation': { run: () => client.getGeneration('p/a', '1', {}) },
  }
  neverBelieved(store, 'a GCS', operations, () => client, beginUpload)

  test('an unproven answer to an upload is not used by later requests', async () => {
    const upload = await beginUpload()
    for (const bogus of [html(200), html(308, { location: 'https://elsewhere.example/' }), { status: 308 }]) {
      store.answer = () => bogus
      expectRetryable(await caught(upload.part(2, PART)))
    }
    let stored = PART.length
    store.answer = ({ headers }) => {
      if (headers['content-range'] !== 'bytes */*') stored = 2 * PART.length
      return { status: 308, headers: { range: `bytes=0-${stored - 1}` } }
    }
    await upload.part(2, PART)
    const object = { kind: 'storage#object', name: 'p/a', size: String(2 * PART.length) }
    store.answer = () => json({ ...object, size: '1' })
    expect(await caught(upload.complete())).toMatchObject({ code: 'protocol' })
    store.answer = () => json(object)
    await upload.complete()
  })

  test.each([
    ['another size', { size: '4' }],
    ['another name', { name: 'p/b' }],
    ['another MD5', { md5Hash: 'x' }],
  ])('an object that was stored with %s is a retryable error', async (_, other) => {
    store.answer = () => json({ kind: 'storage#object', name: 'p/a', size: '5', ...other })
    expectRetryable(await caught(client.put('p/a', bytes, data)))
  })

  // As in the service: a refusal of bytes is plain text, that of an object's description is JSON.
  const isMedia = ({ url }: Asked) => url.includes('alt=media')
  const prose = (status: number, body: string): Answer => ({ status, headers: { 'content-type': 'text/html' }, body })
  test('an object is missing when the store says so in JSON', async () => {
    store.answer = (asked) =>
      isMedia(asked) ? prose(404, 'No such object: bucket/p/a') : refusal(404, 'No such object: bucket/p/a')
    expect(await client.head('p/a')).toBeUndefined()
    expect(await caught(client.get('p/a'))).toMatchObject({ code: 'file-missing' })
    store.answer = () => refusal(404, 'The specified bucket does not exist.')
    expect(await caught(client.get('p/a'))).toMatchObject({ code: 'path-missing' })
    store.answer = (asked) => (isMedia(asked) ? html(404) : json({ kind: 'storage#object', size: '5' }))
    expectRetryable(await caught(client.get('p/a')))
  })

  test('a range is beyond the end only when the size of the object confirms it', async () => {
    store.answer = (asked) =>
      isMedia(asked) ? prose(416, 'Range not satisfiable') : json({ kind: 'storage#object', size: '5' })
    expect(await client.get('p/a', { offset: 5 })).toMatchObject({ sizeBytes: 0 })
    expectRetryable(await caught(client.get('p/a', { offset: 4 })))
  })

  test.each([
    ['that goes on with the page of the request', { nextPageToken: 'token' }, 'the next page is the same page'],
    [
      'of another prefix',
      { items: [{ name: 'q/a', size: '1', updated: '2026-01-01T00:00:00Z' }] },
      'was not requested',
    ],
    [
      'with an object without its size',
      { items: [{ name: 'p/a', updated: '2026-01-01T00:00:00Z' }] },
      'without its size',
    ],
    ['of another kind', { kind: 'storage#buckets' }, 'no storage#objects'],
  ])('a listing %s is a retryable error', async (_, more, words) => {
    store.answer = () => json({ kind: 'storage#objects', ...more })
    const error = await caught(client.list({ prefix: 'p/', after: 'token' }))
    expectRetryable(error)
    expect((error as Error).message).toContain(words)
  })
})
