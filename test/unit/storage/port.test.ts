import { randomBytes } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { objectStorage } from '../../../src/storage/object/storage.ts'
import { PIECE_BYTES, PIECES_AHEAD } from '../../../src/storage/port/messages.ts'
import { getFile, putFile } from '../../../src/storage/whole-file.ts'
import { readAll, type ByteSource } from '../../../src/util/bytes.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { memoryObjects } from '../../support/stores/object-client.ts'
import { overPort } from '../../support/workers/storage-over-port.ts'

const MIB = 1024 * 1024
const content = randomBytes(5 * MIB + 12_345)

async function withContent(): Promise<StorageDriver> {
  const storage = memoryStorage()
  await putFile(storage, 'file', content)
  return storage
}

/** A storage whose one file never ends. */
function endless() {
  const chunk = new Uint8Array(100_000)
  const seen = { taken: 0, left: 0 }
  const source: ByteSource = {
    next: () => {
      seen.taken += chunk.length
      return chunk
    },
    [Symbol.asyncDispose]: async () => void seen.left++,
  }
  const inner: StorageDriver = Object.assign(memoryStorage(), { read: async () => source })
  return { inner, seen }
}

describe('a storage used through another thread', () => {
  test('reads and writes complete, partial and empty files', async () => {
    await using over = overPort(await withContent())
    const { storage } = over
    expect((await getFile(storage, 'file')).equals(content)).toBe(true)
    for (const [offset, length] of [
      [0, 1],
      [7, PIECE_BYTES],
      [1000, 3 * PIECE_BYTES + 1],
      [content.length - 5, 5],
    ] as const) {
      const got = await readAll(await storage.read('file', { offset, length }))
      expect(got.equals(content.subarray(offset, offset + length))).toBe(true)
    }
    for (const size of [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 20 * PIECE_BYTES + 7]) {
      const bytes = randomBytes(size)
      await putFile(storage, 'new', bytes)
      expect((await getFile(storage, 'new')).equals(bytes)).toBe(true)
    }
  })

  test('removes files, also absent ones, and keeps the reason of a failure', async () => {
    const inner = await withContent()
    await using over = overPort(inner)
    await over.storage.remove('file')
    expect(await inner.stat('file')).toBeUndefined()
    await over.storage.remove('file')
    inner.remove = () => Promise.reject(new PgtsError('file-remove', 'it is locked', { denied: true }))
    await expect(over.storage.remove('file')).rejects.toMatchObject({ code: 'file-remove', denied: true })
  })

  test('pauses reading for a slow reader, and ends it when the reader stops', async () => {
    const { inner, seen } = endless()
    await using over = overPort(inner)
    const { storage } = over
    const reading = await storage.read('any')
    const most = (PIECES_AHEAD + 2) * PIECE_BYTES
    await vi.waitFor(() => expect(seen.taken).toBeGreaterThan((PIECES_AHEAD - 1) * PIECE_BYTES))
    expect(seen.taken).toBeLessThan(most)
    for (let i = 0; i < 40; i++) expect((await reading.next())!.length).toBe(PIECE_BYTES)
    expect(seen.taken).toBeLessThan(most + 40 * PIECE_BYTES)
    await reading[Symbol.asyncDispose]()
    await vi.waitFor(() => expect(seen.left).toBe(1))
  })

  test('passes on an abort with its reason, and ends reading in the other thread', async () => {
    const { inner, seen } = endless()
    await using over = overPort(inner)
    const { storage } = over
    const stop = new AbortController()
    const reading = await storage.read('any', { signal: stop.signal })
    const reason = new PgtsError('term', 'stopped by the test')
    stop.abort(reason)
    await expect((async () => reading.next())()).rejects.toBe(reason)
    await vi.waitFor(() => expect(seen.left).toBe(1))
    await expect(storage.read('any', { signal: stop.signal })).rejects.toBe(reason)
    await expect(storage.create('new', { signal: stop.signal })).rejects.toBe(reason)
  })

  test('keeps code and hints of an error before and after the first byte', async () => {
    const inner = await withContent()
    await using over = overPort(inner)
    const { storage } = over
    await expect(storage.read('absent')).rejects.toMatchObject({ code: 'file-missing' })
    const beyond = readAll(await storage.read('file', { offset: content.length - 10, length: 20 }))
    await expect(beyond).rejects.toMatchObject({ code: 'file-read' })
    inner.create = async () => ({
      sink: {
        write: () => {
          throw new PgtsError('file-write', 'the disk is full', { hints: ['make room'] })
        },
      },
      commit: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    })
    const file = await storage.create('new')
    await file.sink.write(Buffer.from('some'))
    await expect(file.commit()).rejects.toMatchObject({ code: 'file-write', hints: ['make room'] })
    await file[Symbol.asyncDispose]()
  })

  test('discards an uncommitted file before its block ends', async () => {
    const objects = memoryObjects()
    await using over = overPort(objectStorage(objects, { path: '/' }))
    const { storage } = over
    const stop = new AbortController()
    {
      await using file = await storage.create('new', { signal: stop.signal })
      await file.sink.write(randomBytes(12 * MIB))
      await vi.waitFor(() => expect(objects.openUploads).toBe(1))
      stop.abort(new PgtsError('term', 'enough'))
      await expect(file.commit()).rejects.toMatchObject({ code: 'term' })
    }
    expect(objects.openUploads).toBe(0)
    expect(objects.objects.size).toBe(0)
  })

  test('rejects pending calls when the other thread has ended', async () => {
    const inner = await withContent()
    const never = new Promise<never>(() => undefined)
    inner.read = () => never
    await using over = overPort(inner)
    const { storage } = over
    const reading = storage.read('file')
    const file = await storage.create('new')
    await over.hangUp()
    await expect(reading).rejects.toMatchObject({ code: 'assert' })
    await expect(file.commit()).rejects.toMatchObject({ code: 'assert' })
    await expect(storage.read('file')).rejects.toMatchObject({ code: 'assert' })
    await expect(storage.remove('file')).rejects.toMatchObject({ code: 'assert' })
    await file[Symbol.asyncDispose]()
    expect(await inner.stat('new')).toBeUndefined()
  })

  test('opens a client of its own after many requests, and for other operations', async () => {
    const inner = await withContent()
    const own = Object.assign(memoryStorage(), { display: 'own' })
    await putFile(own, 'file', Buffer.from('own'))
    const open = vi.fn(async () => own)
    await using over = overPort(inner, open, { requests: 3, bytes: 100 * content.length })
    const { storage } = over
    for (let i = 0; i < 3; i++) expect((await getFile(storage, 'file')).equals(content)).toBe(true)
    expect(open).not.toHaveBeenCalled()
    await getFile(storage, 'file')
    await vi.waitFor(async () => expect((await getFile(storage, 'file')).toString()).toBe('own'))
    expect(open).toHaveBeenCalledOnce()

    await using other = overPort(await withContent(), async () => memoryStorage(), {
      requests: 100,
      bytes: content.length,
    })
    await getFile(other.storage, 'file')
    await getFile(other.storage, 'file')
    await vi.waitFor(() => expect(getFile(other.storage, 'file')).rejects.toMatchObject({ code: 'file-missing' }))
    await using third = overPort(await withContent(), async () => inner)
    expect(await third.storage.stat('file')).toMatchObject({ sizeBytes: content.length })
  })

  test('continues through the other thread when it cannot open its own client', async () => {
    const open = vi.fn(() => Promise.reject(new PgtsError('access', 'no')))
    await using over = overPort(await withContent(), open, { requests: 1, bytes: 1 })
    const { storage } = over
    for (let i = 0; i < 5; i++) expect((await getFile(storage, 'file')).equals(content)).toBe(true)
    expect(open).toHaveBeenCalledOnce()
    await expect(storage.stat('file')).rejects.toMatchObject({ code: 'access' })
  })

  test('stays with the other thread if only that thread can open it', async () => {
    await using over = overPort(await withContent(), null, { requests: 1, bytes: 1 })
    const { storage } = over
    for (let i = 0; i < 3; i++) expect((await getFile(storage, 'file')).equals(content)).toBe(true)
    await expect(storage.stat('file')).rejects.toMatchObject({ code: 'assert' })
  })
})
