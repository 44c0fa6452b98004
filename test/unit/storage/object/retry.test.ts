import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { decryptor, encrypt } from '../../../../src/codec/cipher.ts'
import { pump } from '../../../../src/codec/pump.ts'
import { decompressor, loadCodec } from '../../../../src/codec/registry.ts'
import { AdaptiveLimit } from '../../../../src/storage/object/concurrency.ts'
import { retrying } from '../../../../src/storage/object/retry.ts'
import { objectStorage } from '../../../../src/storage/object/storage.ts'
import type { RetryPolicy } from '../../../../src/storage/object/tries.ts'
import { RefusedRequestError, RetryableStoreError } from '../../../../src/storage/object/retryable-error.ts'
import type { Clock } from '../../../../src/util/clock.ts'
import { PgtsError } from '../../../../src/util/error.ts'
import { silentLogger } from '../../../../src/util/log.ts'
import {
  memoryObjects,
  type Fault,
  type MemoryObjects,
  type RequestKind,
} from '../../../support/stores/object-client.ts'

interface Setup {
  readonly objects: MemoryObjects
  readonly client: ReturnType<typeof retrying>
  readonly waits: number[]
  readonly warnings: string[]
  readonly limit: AdaptiveLimit
}

/** A clock that only advances during sleep. */
function setup(policy: Partial<RetryPolicy> = {}, repository = 'repo1'): Setup {
  const objects = memoryObjects()
  const waits: number[] = []
  const warnings: string[] = []
  let now = Date.now()
  const clock: Clock = {
    nowMs: () => now,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted()
      waits.push(ms)
      now += ms
    },
  }
  const limit = new AdaptiveLimit(() => now)
  const log = {
    ...silentLogger,
    warn: (first: unknown, second?: string) => void warnings.push(second ?? (first as string)),
  }
  const client = retrying(objects, {
    repository,
    policy: { retries: 5, totalMs: 600_000, timeoutMs: 10_000, ...policy },
    log,
    clock,
    limit,
    random: () => 0.5,
  })
  return { objects, client, waits, warnings, limit }
}

/** Fails the first `times` requests of a kind. */
function failing(objects: MemoryObjects, kind: RequestKind, times: number, fault: Fault): () => number {
  let met = 0
  objects.fault = (request) => (request.kind === kind && met < times ? (met++, fault) : undefined)
  return () => met
}

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const chunk of chunks) all.push(chunk)
  return Buffer.concat(all)
}

const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251))
const trouble = (options = {}) => ({ error: new RetryableStoreError('503 Slow Down', options) })
const put = (client: Setup['client'], signal?: AbortSignal) => client.put('a', content, { kind: 'data', signal })

describe('a retryable error is retried', () => {
  test('with growing pauses and one warning', async () => {
    const { objects, client, waits, warnings } = setup()
    const met = failing(objects, 'put', 4, trouble())
    await put(client)
    expect(met()).toBe(4)
    expect(objects.count('put')).toBe(5)
    expect(waits).toEqual([150, 300, 600, 1200])
    expect(warnings).toEqual([expect.stringContaining('s3://memory: cannot write a: 503 Slow Down')])
  })

  test('and reported every minute while it lasts, with the repository, the request and the last error', async () => {
    const { objects, client, waits, warnings } = setup({ retries: 1000, totalMs: 300_000 }, 'repo2')
    const met = failing(objects, 'put', 1000, trouble())
    const other = failing(objects, 'head', 1000, trouble())
    await Promise.allSettled([put(client), client.head('b')])
    expect(met() + other()).toBeGreaterThan(15)
    expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(240_000)
    const minutes = warnings.map((line) => /^repo2: s3:\/\/memory has been failing for (\d) min: /.exec(line)?.[1])
    expect(warnings[0]).toMatch(/^repo2: s3:\/\/memory: cannot (write a|look up b): 503 Slow Down; /)
    expect(minutes).toEqual([undefined, '1', '2', '3', '4'])
    expect(warnings[4]).toMatch(/: cannot (write a|look up b): 503 Slow Down; next attempt in \d+(\.\d)? s$/)
  })

  test('not before the time in Retry-After', async () => {
    const { objects, client, waits } = setup()
    failing(objects, 'head', 1, trouble({ retryAfterMs: 7000 }))
    await client.head('a')
    expect(waits).toEqual([7000])
  })

  test.each([
    { totalMs: 600_000, timeoutMs: 10_000, wait: 10_000 },
    { totalMs: 8_000, timeoutMs: 10_000, wait: 4_000 },
  ])('within $totalMs ms when Retry-After is an hour', async ({ wait, ...policy }) => {
    const { objects, client, waits } = setup(policy)
    failing(objects, 'put', 1, trouble({ retryAfterMs: 3_600_000, overloaded: true }))
    await put(client)
    expect(waits).toEqual([wait])
  })

  test('until the deadline when Retry-After stays an hour', async () => {
    const { objects, client, waits } = setup({ retries: 1000, totalMs: 20_000 })
    failing(objects, 'put', 999, trouble({ retryAfterMs: 3_600_000 }))
    await expect(put(client)).rejects.toMatchObject({ code: 'service' })
    expect(waits.length).toBeGreaterThan(2)
    expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(20_000)
  })

  test('until the limit of attempts, and reports it', async () => {
    const { objects, client } = setup({ retries: 2 })
    const met = failing(objects, 'list', 99, trouble({ code: 'service', hints: ['wait'] }))
    await expect(client.list({ prefix: '' })).rejects.toMatchObject({
      code: 'service',
      message: expect.stringMatching(/^503 Slow Down \(given up after 3 attempts in [0-9.]+ s\)$/),
      hints: ['wait'],
    })
    expect(met()).toBe(3)
  })

  test('until the deadline', async () => {
    const { objects, client, waits } = setup({ retries: 1000, totalMs: 20_000 })
    const met = failing(objects, 'list', 999, trouble())
    await expect(client.list({ prefix: '' })).rejects.toMatchObject({ code: 'service' })
    expect(met()).toBeLessThan(12)
    expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(20_000)
  })

  test('a failure in a later minute is logged as a warning again', async () => {
    const { objects, client, warnings } = setup({ firstWaitMs: 100_000, longestWaitMs: 100_000 })
    failing(objects, 'put', 3, trouble())
    await put(client)
    expect(warnings).toHaveLength(3)
  })
})

describe('a refusal without fault of the request', () => {
  const refusal = { error: new RefusedRequestError('access', 'access denied', { hints: ['check the keys'] }) }

  test.each(['head', 'list', 'get', 'put', 'remove'] as const)('is asked again: %s', async (kind) => {
    const { objects, client, warnings } = setup()
    await put(client)
    const met = failing(objects, kind, 2, refusal)
    if (kind === 'head') expect(await client.head('a')).toMatchObject({ sizeBytes: content.length })
    if (kind === 'list') expect((await client.list({ prefix: '' })).objects).toHaveLength(1)
    if (kind === 'get') expect((await bytesOf((await client.get('a')).chunks)).equals(content)).toBe(true)
    if (kind === 'put') await put(client)
    if (kind === 'remove') expect(await client.removeBatch(['a'])).toEqual([])
    expect(met()).toBe(2)
    expect(warnings).toEqual([expect.stringMatching(/: access denied; a later attempt was accepted\n/)])
  })

  test('is reported unchanged after two retries when no request of its kind was accepted', async () => {
    const { objects, client, waits, warnings } = setup()
    await client.list({ prefix: '' })
    const met = failing(objects, 'put', 9, refusal)
    await expect(put(client)).rejects.toBe(refusal.error)
    expect([met(), waits]).toEqual([3, [150, 300]])
    expect(warnings).toEqual([])
  })

  test('is retried more often when a request of its kind was accepted before', async () => {
    const { objects, client } = setup({ retries: 20 })
    await put(client)
    const met = failing(objects, 'put', 99, refusal)
    await expect(put(client)).rejects.toBe(refusal.error)
    expect(met()).toBe(6)
  })

  test('is retried at most as often as the policy allows', async () => {
    const { objects, client } = setup({ retries: 0 })
    const met = failing(objects, 'list', 9, refusal)
    await expect(client.list({ prefix: '' })).rejects.toBe(refusal.error)
    expect(met()).toBe(1)
  })
})

describe('a final error is not retried', () => {
  test.each([
    new PgtsError('access', 'forbidden'),
    new PgtsError('file-missing', 'not there'),
    new Error('a bug'),
    new PgtsError('service', 'an unknown certificate'),
  ])('%s', async (error) => {
    const { objects, client, waits } = setup()
    const met = failing(objects, 'put', 9, { error })
    await expect(put(client)).rejects.toBe(error)
    expect([met(), waits.length]).toEqual([1, 0])
  })

  test('an abort: in a pause, during a request that hangs, and before it began', async () => {
    const { objects, client } = setup()
    const reason = new PgtsError('term', 'terminated on signal SIGTERM')
    const controller = new AbortController()
    objects.fault = ({ kind }) => {
      if (kind !== 'put') return undefined
      setTimeout(() => controller.abort(reason), 5)
      return { stall: true }
    }
    await expect(put(client, controller.signal)).rejects.toBe(reason)
    await expect(put(client, controller.signal)).rejects.toBe(reason)
    expect(objects.count('put')).toBe(1)
  })
})

test('a request that hangs is ended and retried', async () => {
  const { objects, client } = setup({ timeoutMs: 20 })
  const met = failing(objects, 'head', 2, { stall: true })
  expect(await client.head('a')).toBeUndefined()
  expect(met()).toBe(2)
})

describe('a body is continued where it ended', () => {
  test.each([
    ['ends early', 'end' as const],
    ['stalls', 'stall' as const],
    ['breaks', new RetryableStoreError('connection reset')],
  ])('when it %s', async (_name, then) => {
    const { objects, client } = setup({ timeoutMs: 30 })
    objects.objects.set('a', { bytes: content, mtimeMs: 1 })
    const met = failing(objects, 'get', 3, { bodyAfter: 70_001, then })
    const body = await client.get('a', { offset: 10 })
    expect(body.sizeBytes).toBe(content.length - 10)
    expect((await bytesOf(body.chunks)).equals(content.subarray(10))).toBe(true)
    expect(met()).toBe(3)
  })

  test('of an encrypted and compressed object, without decoding any byte twice', async () => {
    const { objects, client } = setup()
    // Random, so that it is not smaller when compressed.
    const random = randomBytes(300_000)
    const stored = encrypt(gzipSync(random), 'pass')
    objects.objects.set('a', { bytes: stored, mtimeMs: 1 })
    const met = failing(objects, 'get', 2, { bodyAfter: 70_001, then: 'end' })
    await loadCodec('gz')
    await using source = await objectStorage(client, { path: '/' }).read('a')
    const plain: Buffer[] = []
    const sink = { write: (chunk: Uint8Array) => void plain.push(Buffer.from(chunk)) }
    await pump(source, [decryptor('pass'), decompressor('gz')], sink, new AbortController().signal)
    expect(Buffer.concat(plain).equals(random)).toBe(true)
    expect(met()).toBe(2)
  })

  test('without limit while there is progress, with a limit otherwise', async () => {
    const { objects, client } = setup({ retries: 2 })
    objects.objects.set('a', { bytes: content, mtimeMs: 1 })
    const met = failing(objects, 'get', 20, { bodyAfter: 20_000, then: 'end' })
    expect((await bytesOf((await client.get('a')).chunks)).equals(content)).toBe(true)
    expect(met()).toBeGreaterThan(10)
    failing(objects, 'get', 99, { bodyAfter: 0, then: 'end' })
    await expect(bytesOf((await client.get('a')).chunks)).rejects.toMatchObject({
      code: 'service',
      message: expect.stringContaining('the answer ended after 0 of 300000 bytes (given up after 3 attempts'),
    })
  })

  test('not when the object was replaced', async () => {
    const { objects, client } = setup()
    objects.objects.set('a', { bytes: content, mtimeMs: 1 })
    objects.fault = ({ kind }) => {
      if (kind !== 'get' || objects.count('get') > 1) return undefined
      queueMicrotask(() => objects.objects.set('a', { bytes: Buffer.from(content).reverse(), mtimeMs: 2 }))
      return { bodyAfter: 1000, then: 'end' }
    }
    await expect(client.get('a').then(({ chunks }) => bytesOf(chunks))).rejects.toMatchObject({ code: 'file-read' })
  })

  test('only until the reader closes it', async () => {
    const { objects, client } = setup()
    objects.objects.set('a', { bytes: content, mtimeMs: 1 })
    const reason = new Error('enough')
    const controller = new AbortController()
    failing(objects, 'get', 1, { bodyAfter: 60_000, then: 'stall' })
    const body = await client.get('a', { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 5)
    await expect(bytesOf(body.chunks)).rejects.toBe(reason)
  })
})

describe('lost answers', () => {
  test('an upload that was completed is recognised', async () => {
    const { objects, client } = setup()
    const met = failing(objects, 'complete', 1, { ...trouble(), after: true })
    const upload = await client.upload('a', { kind: 'data' })
    await upload.part(1, content)
    await upload.complete()
    expect(met()).toBe(1)
    expect(objects.objects.get('a')?.bytes.equals(content)).toBe(true)
  })

  test('an upload that does not exist is an error', async () => {
    const { objects, client } = setup()
    objects.objects.set('a', { bytes: content.subarray(1), mtimeMs: Date.now() })
    const upload = await client.upload('a', { kind: 'data' })
    await upload.part(1, content)
    let met = 0
    objects.fault = ({ kind }) =>
      kind === 'complete' && met++ < 2 ? { error: met === 1 ? trouble().error : gone } : undefined
    const gone = new PgtsError('file-missing', 'no such upload')
    await expect(upload.complete()).rejects.toBe(gone)
    expect(met).toBe(2)
  })

  test('a conditional put is resolved by the stored content', async () => {
    const { objects, client } = setup()
    const met = failing(objects, 'put', 1, { ...trouble(), after: true })
    expect(await client.putIfAbsent?.('a', content, { kind: 'info' })).toBe(true)
    expect(met()).toBe(1)
    failing(objects, 'put', 1, trouble())
    expect(await client.putIfAbsent?.('a', content.subarray(1), { kind: 'info' })).toBe(false)
  })
})

test('names that a batch did not remove are retried, and reported when they stay', async () => {
  const { objects, client } = setup()
  for (const name of ['a', 'b', 'c']) objects.objects.set(name, { bytes: content, mtimeMs: 1 })
  objects.kept.add('b')
  expect(await client.removeBatch(['a', 'b', 'c'])).toEqual([{ name: 'b', reason: 'AccessDenied' }])
  expect(objects.requests.map(({ name }) => name)).toEqual(['a,b,c', 'b', 'b'])
})

test('denied names of a batch are not retried', async () => {
  const { objects, client } = setup()
  let asked = 0
  const denied = [{ name: 'a', reason: 'AccessDenied', denied: true }]
  objects.removeBatch = async () => {
    asked++
    return denied
  }
  expect(await client.removeBatch(['a', 'b'])).toEqual(denied)
  expect(asked).toBe(1)
})

describe('the number of requests in flight', () => {
  test('is halved once for a burst of overload errors, and grows again later', async () => {
    const { objects, client, limit } = setup({ retries: 9, firstWaitMs: 1 })
    objects.delayMs = 1
    const before = limit.limit
    const met = failing(objects, 'head', 8, trouble({ overloaded: true }))
    await Promise.all(Array.from({ length: 8 }, () => client.head('a')))
    expect(met()).toBe(8)
    expect(limit.limit).toBe(before / 2)
    for (let i = 0; i < 200; i++) await client.head('a')
    expect(limit.limit).toBeGreaterThan(before / 2)
    expect(objects.mostInFlight).toBeLessThanOrEqual(before)
  })

  test('never exceeds the limit, and waiting requests can be aborted', async () => {
    const limit = new AdaptiveLimit(() => 0, { first: 2 })
    await limit.enter()
    await limit.enter()
    const controller = new AbortController()
    const left = limit.enter(controller.signal)
    const waiting = limit.enter()
    controller.abort(new Error('gone'))
    await expect(left).rejects.toThrow('gone')
    limit.leave('failed')
    await waiting
  })

  test('does not grow while answers are slow', () => {
    const limit = new AdaptiveLimit(() => 0, { first: 4 })
    limit.leave({ tookMs: 10 })
    const at = limit.limit
    for (let i = 0; i < 100; i++) limit.leave({ tookMs: 5000 })
    expect(limit.limit).toBe(at)
    for (let i = 0; i < 100; i++) limit.leave({ tookMs: 20 })
    expect(limit.limit).toBeGreaterThan(at)
  })
})

test('a closed client retries nothing', async () => {
  const objects = memoryObjects()
  failing(objects, 'head', Infinity, { error: new RetryableStoreError('broken') })
  let slept!: () => void
  const sleeping = new Promise<void>((resolve) => (slept = resolve))
  const clock: Clock = {
    nowMs: () => 0,
    sleep: (_ms, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        slept()
      }),
  }
  const policy = { retries: 5, totalMs: 600_000, timeoutMs: 10_000 }
  const client = retrying(objects, { policy, log: silentLogger, clock })
  const asked = client.head('a')
  await sleeping
  await client[Symbol.asyncDispose]()
  await expect(asked).rejects.toMatchObject({ code: 'term' })
  await expect(client.head('a')).rejects.toThrow('broken')
})
