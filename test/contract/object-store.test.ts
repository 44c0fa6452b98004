import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test as plainTest } from 'vitest'
import type { StoredFile } from '../../src/storage/driver.ts'
import type { ObjectClient } from '../../src/storage/object/client.ts'
import { retrying } from '../../src/storage/object/retry.ts'
import { objectStorage } from '../../src/storage/object/storage.ts'
import { getFile, putFile } from '../../src/storage/whole-file.ts'
import { readAll } from '../../src/util/bytes.ts'
import { systemClock } from '../../src/util/clock.ts'
import { PgtsError } from '../../src/util/error.ts'
import { silentLogger } from '../../src/util/log.ts'
import { FaultyWay } from '../support/faults/faulty-way.ts'
import { type Bucket, objectStores, titleOf } from '../support/stores/object-stores.ts'

// Properties of object stores only: pages, parts, conditions, and what another client sees in the bucket.

const bytes = (value: string) => Buffer.from(value, 'latin1')
const MIB = 1024 * 1024

describe.each(objectStores.map((store) => ({ title: titleOf(store), store })))('object store: $title', ({ store }) => {
  const test = plainTest.skipIf(store.missing !== undefined)
  let bucket: Bucket
  let client: ObjectClient
  beforeAll(async () => {
    if (store.missing !== undefined) return undefined
    bucket = await store.bucket()
    client = await bucket.client()
    return () => client[Symbol.asyncDispose]()
  })

  const storageAt = (path: string) => {
    const policy = { retries: 2, totalMs: 60_000, timeoutMs: 30_000 }
    return objectStorage(retrying(client, { policy, log: silentLogger, clock: systemClock }), { path })
  }
  /** Names and sizes below a path, as another client sees them. */
  const seen = async (path: string) => [...(await bucket.objects())].filter(([name]) => name.startsWith(path)).sort()

  test('lists thousands of objects by pages and removes them in batches', async () => {
    const storage = storageAt('/many')
    // Azure has pages of five thousand names, and writing that many takes too long.
    const count = store.name === 'azure' ? 303 : 1203
    const names = Array.from({ length: count }, (_, i) => `tree/${i % 5}/${String(i).padStart(5, '0')}`)
    let next = 0
    const some = async () => {
      for (let i = next++; i < names.length; i = next++) await putFile(storage, names[i] ?? '', bytes(String(i)))
    }
    await Promise.all(Array.from({ length: 24 }, some))
    await putFile(storage, 'treetop', bytes('stays'))
    const listed = async (prefix: string, recursive: boolean) => {
      const files: StoredFile[] = []
      for await (const file of storage.list(prefix, { recursive })) files.push(file)
      return files.map(({ kind, name }) => `${kind} ${name}`).sort()
    }
    expect(await listed('', true)).toEqual([...names.map((name) => `file ${name}`), 'file treetop'].sort())
    expect(await listed('tree', false)).toEqual([0, 1, 2, 3, 4].map((i) => `path tree/${i}`))
    expect(await listed('tree/4', false)).toHaveLength(Math.floor(count / 5))
    expect((await seen('many/tree/')).length).toBe(count)
    if (store.name !== 'azure') expect((await client.list({ prefix: 'many/' })).next).toBeDefined()
    await storage.removeTree('tree')
    expect(await seen('many/')).toEqual([['many/treetop', 5]])
    expect(await listed('', false)).toEqual(['file treetop'])
  }, 120_000)

  test('uploads a large file in parts that are invisible before completion', async () => {
    const storage = storageAt('/large')
    const content = randomBytes(17 * MIB + 17)
    const file = await storage.create('backup/data')
    for (let at = 0; at < content.length; at += 700_000) await file.sink.write(content.subarray(at, at + 700_000))
    await expect.poll(() => bucket.openUploads(), { timeout: 20_000 }).toContain('large/backup/data')
    expect(await seen('large/')).toEqual([])
    expect(await storage.stat('backup/data')).toBeUndefined()
    await file.commit()
    expect(await seen('large/')).toEqual([['large/backup/data', content.length]])
    expect(await bucket.openUploads()).toEqual([])
    expect((await getFile(storage, 'backup/data')).equals(content)).toBe(true)
    const middle = await readAll(await storage.read('backup/data', { offset: 5 * MIB - 3, length: 6 * MIB }))
    expect(middle.equals(content.subarray(5 * MIB - 3, 11 * MIB - 3))).toBe(true)
  }, 60_000)

  test('a discarded large file leaves no parts and keeps the earlier file', async () => {
    const storage = storageAt('/given-up')
    await putFile(storage, 'data', bytes('old'))
    {
      await using file = await storage.create('data')
      await file.sink.write(randomBytes(11 * MIB))
      await expect.poll(() => bucket.openUploads(), { timeout: 20_000 }).not.toEqual(store.name === 'azure' ? null : [])
    }
    if (store.name !== 'azure') expect(await bucket.openUploads()).toEqual([])
    expect(await seen('given-up/')).toEqual([['given-up/data', 3]])
    expect((await getFile(storage, 'data')).toString()).toBe('old')
  }, 60_000)

  test('aborts uploads that a crash left', async () => {
    const upload = await client.upload('crashed/data', { kind: 'data' })
    await upload.part(1, randomBytes(5 * MIB))
    // Azure and GCS drop uploads after a week by themselves; S3 needs an abort.
    expect(client.abortAbandoned === undefined).toBe(store.name !== 's3')
    if (client.abortAbandoned === undefined) return
    expect(await bucket.openUploads()).toEqual(['crashed/data'])
    const hour = 3_600_000
    expect(await client.abortAbandoned('', Date.now() - hour), 'it may be alive').toBe(0)
    expect(await client.abortAbandoned('elsewhere/', Date.now() + hour)).toBe(0)
    expect(await bucket.openUploads()).toEqual(['crashed/data'])
    expect(await client.abortAbandoned('crashed/', Date.now() + hour)).toBe(1)
    expect(await bucket.openUploads()).toEqual([])
    await expect(upload.complete()).rejects.toThrow(PgtsError)
    expect(await seen('crashed/')).toEqual([])
  }, 60_000)

  test('exactly one of several conditional creations succeeds', async () => {
    expect(client.putIfAbsent).toBeDefined()
    const tries = Array.from({ length: 8 }, (_, i) =>
      client.putIfAbsent?.('race/name', bytes(`writer ${i}`), { kind: 'info' }),
    )
    const won = await Promise.all(tries)
    expect(won.filter((created) => created === true)).toHaveLength(1)
    const storage = storageAt('/race')
    expect((await getFile(storage, 'name')).toString()).toBe(`writer ${won.indexOf(true)}`)
    expect(await client.putIfAbsent?.('race/name', bytes('late'), { kind: 'info' })).toBe(false)
  })

  test('keeps names apart when one is a prefix of another', async () => {
    const storage = storageAt('/prefix')
    await putFile(storage, 'p', bytes('file'))
    await putFile(storage, 'p/q', bytes('below'))
    expect((await getFile(storage, 'p')).toString()).toBe('file')
    expect((await getFile(storage, 'p/q')).toString()).toBe('below')
    const found: string[] = []
    for await (const { kind, name } of storage.list('')) found.push(`${kind} ${name}`)
    expect(found.sort()).toEqual(['file p', 'path p'])
    await storage.remove('p')
    expect(await seen('prefix/')).toEqual([['prefix/p/q', 5]])
  })

  test.each(['last-chunk', 'end', 'early'] as const)(
    'answers without a length are read completely (their end: %s)',
    async (until) => {
      const content = randomBytes(3 * MIB + 3)
      await client.put('no-length/data', content, { kind: 'data' })
      await client.put('no-length/data-2', bytes('empty is not'), { kind: 'data' })
      await using way = await FaultyWay.to(bucket)
      await using through = await bucket.client(way.via)
      const policy = { retries: 4, totalMs: 60_000, timeoutMs: 10_000, firstWaitMs: 10 }
      const storage = objectStorage(retrying(through, { policy, log: silentLogger, clock: systemClock }), {
        path: '/no-length',
      })
      // Requests of the object; in GCS those of its properties, too.
      const only = ({ method, path }: { method: string; path: string }) =>
        method !== 'PUT' && /no-length(\/|%2F)data(\?|$)/.test(path)
      let struck = 0
      const set = () => {
        struck += way.front.counters.struck
        // The answer and the next requests; the rest of a truncated body is sent completely.
        way.front.set({ only, how: { kind: 'no-length', until }, times: 2 })
      }
      set()
      expect((await getFile(storage, 'data')).equals(content)).toBe(true)
      set()
      const part = await readAll(await storage.read('data', { offset: MIB, length: MIB }))
      expect(part.equals(content.subarray(MIB, 2 * MIB))).toBe(true)
      set()
      expect(await storage.stat('data')).toMatchObject({ sizeBytes: content.length })
      expect(struck + way.front.counters.struck).toBeGreaterThan(3)
    },
    60_000,
  )

  test('another client lists the same names and sizes', async () => {
    const storage = storageAt('/a path/with odd+signs%41')
    const odd = [
      'sp ace',
      'plus+',
      'percent%2F%',
      'what?#&;=@,$!()*',
      "quote'",
      'tilde~',
      '\xc3\xa9\xf0\x9f\x90\x98',
      'empty',
    ]
    for (const name of odd) await putFile(storage, name, bytes(name === 'empty' ? '' : name))
    const text = (name: string) => Buffer.from(name, 'latin1').toString('utf8')
    const expected = odd.map((name) => [`a path/with odd+signs%41/${text(name)}`, name === 'empty' ? 0 : name.length])
    expect(await seen('a path/')).toEqual(expected.sort())
    for (const name of odd) expect((await getFile(storage, name)).toString('latin1')).toBe(name === 'empty' ? '' : name)
    for (const name of odd) await storage.remove(name)
    expect(await seen('a path/')).toEqual([])
  })

  test('reports a missing bucket and an untrusted certificate as such', async () => {
    await using missing = await bucket.client({ port: bucket.port.tls, bucket: 'not-there' })
    const attempts = [
      () => missing.list({ prefix: '' }),
      () => missing.put('a', bytes('x'), { kind: 'data' }),
      () => missing.get('a'),
    ]
    for (const attempt of attempts)
      await expect(attempt()).rejects.toMatchObject({ code: 'path-missing', hints: [expect.any(String)] })
    await using strange = await bucket.client({ port: bucket.port.tls, caFile: '/etc/ssl/certs/ca-certificates.crt' })
    await expect(strange.head('a')).rejects.toMatchObject({
      message: expect.stringMatching(/certificate/),
      hints: [expect.stringMatching(/ca-file/)],
    })
  })
})
