import { expect, test } from 'vitest'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { forwarding, readOnly, scoped } from '../../../src/storage/wrappers.ts'

test('a read-only storage refuses to abort uploads, and has no such method if the storage has none', async () => {
  const uploads = forwarding(memoryStorage(), { abortUploads: async () => 1 })
  await expect(readOnly(uploads).abortUploads!('', 0)).rejects.toThrow('was opened read only')
  expect(readOnly(memoryStorage()).abortUploads).toBeUndefined()
})

test('a wrapper keeps every member that it does not replace', async () => {
  const seen: string[] = []
  const storage = forwarding(memoryStorage(), {
    parallel: 4,
    removeFiles: async (names) => void seen.push(...names),
    abortUploads: async (prefix) => seen.push(prefix),
  })
  const inner = scoped(forwarding(storage, { display: 'wrapped' }), 'a')
  expect([inner.display, inner.parallel]).toEqual(['wrapped/a', 4])
  await inner.removeFiles!(['b', 'c'])
  await inner.abortUploads!('d', 0)
  expect(seen).toEqual(['a/b', 'a/c', 'a/d'])
})
