import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ObjectBody, ObjectClient } from '../../../src/storage/object/client.ts'

/** A client of an empty bucket. */
export type OpenClient = () => Promise<ObjectClient>

const data = { kind: 'data' } as const
export const text = (value: string) => Buffer.from(value, 'latin1')
const utf8 = (value: string) => Buffer.from(value, 'utf8').toString('latin1')

export async function bytesOf(body: ObjectBody): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body.chunks) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Every name below a prefix, page by page. */
export async function namesBelow(client: ObjectClient, prefix: string): Promise<string[]> {
  const names: string[] = []
  for (let after: string | undefined, first = true; first || after !== undefined; first = false) {
    const page = await client.list({ prefix, after })
    names.push(...page.objects.map(({ name }) => name))
    after = page.next
  }
  return names
}

/** Properties that object/storage.ts requires of every store's client, over a real connection. */
export function objectClientLaws(open: OpenClient): void {
  describe('the contract of an object client', () => {
    let client: ObjectClient
    beforeAll(async () => {
      client = await open()
    })
    afterAll(() => client[Symbol.asyncDispose]())

    test('put stores a complete object before it resolves; a second put replaces it', async () => {
      expect(await client.head('put/a')).toBeUndefined()
      await expect(client.get('put/a')).rejects.toMatchObject({ code: 'file-missing' })
      const before = Date.now()
      await client.put('put/a', text('first'), data)
      expect(await client.head('put/a')).toMatchObject({ name: 'put/a', sizeBytes: 5 })
      await client.put('put/a', text('the second'), data)
      const head = await client.head('put/a')
      expect(head).toMatchObject({ sizeBytes: 10 })
      expect(Math.abs(head!.mtimeMs - before)).toBeLessThan(60_000)
      const body = await client.get('put/a')
      expect(body.sizeBytes).toBe(10)
      expect((await bytesOf(body)).toString()).toBe('the second')
      expect((await client.list({ prefix: 'put/' })).objects).toEqual([{ ...head }])
    })

    test('put stores an empty object', async () => {
      await client.put('empty', Buffer.alloc(0), data)
      expect(await client.head('empty')).toMatchObject({ sizeBytes: 0 })
      expect(await bytesOf(await client.get('empty'))).toHaveLength(0)
    })

    test('get reads ranges within the object, across its end, from its end and beyond it', async () => {
      await client.put('range', text('0123456789'), data)
      const range = async (offset: number, length?: number) =>
        (await bytesOf(await client.get('range', { offset, length }))).toString()
      expect(await range(0, 1)).toBe('0')
      expect(await range(3, 4)).toBe('3456')
      expect(await range(8, 100)).toBe('89')
      expect(await range(7)).toBe('789')
      expect(await range(10)).toBe('')
      expect(await range(10, 5)).toBe('')
      expect(await range(5000, 5)).toBe('')
      expect((await client.get('range', { offset: 8, length: 100 })).sizeBytes).toBe(2)
    })

    test('get with a known version detects that the object was replaced', async () => {
      await client.put('replaced', text('aaaaaaaaaa'), data)
      const first = await client.get('replaced', { length: 4 })
      await bytesOf(first)
      expect(first.version).toBeDefined()
      const on = { offset: 4, version: first.version! }
      expect((await bytesOf(await client.get('replaced', on))).toString()).toBe('aaaaaa')
      await client.put('replaced', text('bbbbbbbbbb'), data)
      await expect(client.get('replaced', on)).rejects.toMatchObject({
        code: 'file-read',
        message: expect.stringContaining('replaced during the operation'),
      })
    })

    test('one of many concurrent creations of a name succeeds', async () => {
      const created = await Promise.all(
        Array.from({ length: 8 }, (_, index) => client.putIfAbsent!('once', text(`by ${index}`), data)),
      )
      expect(created.filter(Boolean)).toHaveLength(1)
      const winner = created.indexOf(true)
      expect((await bytesOf(await client.get('once'))).toString()).toBe(`by ${winner}`)
      expect(await client.putIfAbsent!('once', text('late'), data)).toBe(false)
    })

    test('upload is invisible until it is completed, and a part may be sent twice', async () => {
      const { partBytes, parallelParts } = client.limits
      const content = randomBytes(partBytes.min * 2 + 12_345)
      await client.put('upload/a', text('old'), data)
      const upload = await client.upload('upload/a', data)
      const part = (number: number) =>
        upload.part(number, content.subarray((number - 1) * partBytes.min, number * partBytes.min))
      if (parallelParts > 1) await Promise.all([part(3), part(1), part(2)])
      else for (const number of [1, 2, 3]) await part(number)
      await part(3)
      expect((await bytesOf(await client.get('upload/a'))).toString()).toBe('old')
      await upload.complete()
      expect((await bytesOf(await client.get('upload/a'))).equals(content)).toBe(true)
    })

    test('upload may end with a full part', async () => {
      const content = randomBytes(client.limits.partBytes.min)
      const upload = await client.upload('upload/full', data)
      await upload.part(1, content)
      await upload.complete()
      expect((await bytesOf(await client.get('upload/full'))).equals(content)).toBe(true)
    })

    test('abort of an upload leaves no object; a second abort is no error', async () => {
      const upload = await client.upload('upload/aborted', data)
      await upload.part(1, randomBytes(client.limits.partBytes.min))
      await upload.abort()
      await upload.abort()
      expect(await client.head('upload/aborted')).toBeUndefined()
      expect(await namesBelow(client, 'upload/aborted')).toEqual([])
    })

    test('two concurrent uploads of a name leave one of them, complete', async () => {
      const contents = [randomBytes(client.limits.partBytes.min + 1), randomBytes(client.limits.partBytes.min + 1)]
      const uploads = [await client.upload('upload/two', data), await client.upload('upload/two', data)]
      await Promise.all(
        uploads.map(async (upload, index) => {
          const content = contents[index]!
          await upload.part(1, content.subarray(0, -1))
          await upload.part(2, content.subarray(-1))
        }),
      )
      await uploads[1]!.complete()
      const first = bytesOf(await client.get('upload/two'))
      expect((await first).equals(contents[1]!)).toBe(true)
      // The other may be refused, as its parts may be missing; then the first stays.
      const late = await uploads[0]!.complete().then(
        () => true,
        () => false,
      )
      const last = await bytesOf(await client.get('upload/two'))
      expect(last.equals(contents[late ? 0 : 1]!)).toBe(true)
    })

    test('list returns one level or everything below, in pages', async () => {
      const many = Array.from({ length: 30 }, (_, index) => `list/many/${String(index).padStart(4, '0')}`)
      for (const name of ['list/a', 'list/b/c', 'list/b/d/e', 'list/z', ...many])
        await client.put(name, text('x'), data)
      expect(await namesBelow(client, 'list/')).toEqual(['list/a', 'list/b/c', 'list/b/d/e', ...many, 'list/z'])
      const level = await client.list({ prefix: 'list/', delimiter: '/' })
      expect(level.objects.map(({ name }) => name).sort()).toEqual(['list/a', 'list/z'])
      expect([...level.prefixes].sort()).toEqual(['list/b/', 'list/many/'])
      expect(await client.list({ prefix: 'list/nothing/' })).toEqual({ objects: [], prefixes: [] })
    })

    test('list returns names unchanged', async () => {
      const odd = [
        ...[
          'a b',
          '%41',
          'x?y#z',
          '+&=',
          'quote"\'',
          'semi;colon,comma:at@',
          '$!*()[]{}|^`~',
          '<tag>',
          'x'.repeat(200),
        ],
        ...['\u00e4\u00f6', '\u65e5\u672c', '\u{1f418}'].map(utf8),
        '000000010000000000000001-0123456789abcdef0123456789abcdef01234567.zst',
      ].map((name) => `odd/${name}`)
      for (const name of odd) await client.put(name, text(`of ${name}`), data)
      for (const name of odd) {
        expect((await bytesOf(await client.get(name))).toString('latin1'), name).toBe(`of ${name}`)
        expect(await client.head(name), name).toMatchObject({ name })
      }
      expect((await namesBelow(client, 'odd/')).sort()).toEqual([...odd].sort())
      expect(await client.removeBatch(odd)).toEqual([])
      expect(await namesBelow(client, 'odd/')).toEqual([])
    })

    test('a name that is not UTF-8 is refused before a request is sent', async () => {
      await expect(client.put('odd/\xff\xfe', text('x'), data)).rejects.toMatchObject({
        code: 'file-open',
        message: expect.stringContaining('not UTF-8'),
      })
    })

    test('removeBatch removes existing objects; missing ones are no error', async () => {
      const names = Array.from({ length: Math.min(60, client.limits.removeBatch) }, (_, index) => `remove/${index}`)
      await Promise.all(names.filter((_, index) => index % 3 !== 0).map((name) => client.put(name, text('x'), data)))
      expect(await client.removeBatch(names)).toEqual([])
      expect(await namesBelow(client, 'remove/')).toEqual([])
      expect(await client.removeBatch(names)).toEqual([])
      expect(await client.removeBatch(['remove/0'])).toEqual([])
      expect(await client.removeBatch([])).toEqual([])
    })

    test('a cancelled request rejects with the reason of the signal', async () => {
      const reason = new Error('enough')
      const signal = AbortSignal.abort(reason)
      await expect(client.head('put/a', signal)).rejects.toBe(reason)
      await expect(client.list({ prefix: '', signal })).rejects.toBe(reason)
      await expect(client.get('put/a', { signal })).rejects.toBe(reason)
      await expect(client.put('cancelled', text('x'), { ...data, signal })).rejects.toBe(reason)
      await expect(client.removeBatch(['put/a', 'put/b'], signal)).rejects.toBe(reason)
      expect(await client.head('cancelled')).toBeUndefined()
    })

    test('a body that is not read to its end can be closed, and the client works', async () => {
      const upload = await client.upload('dropped', data)
      for (const number of [1, 2]) await upload.part(number, randomBytes(client.limits.partBytes.min))
      await upload.complete()
      const body = await client.get('dropped')
      for await (const _chunk of body.chunks) break
      body.cancel()
      const stopped = new AbortController()
      const second = await client.get('dropped', { signal: stopped.signal })
      const reason = new Error('enough')
      await expect(
        (async () => {
          for await (const _chunk of second.chunks) stopped.abort(reason)
        })(),
      ).rejects.toBe(reason)
      // The body has not been read.
      const unread = new AbortController()
      await client.get('dropped', { signal: unread.signal })
      unread.abort(reason)
      expect(await client.head('dropped')).toMatchObject({ sizeBytes: client.limits.partBytes.min * 2 })
    })
  })
}
