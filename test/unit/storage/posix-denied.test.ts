import { expect, test } from 'vitest'
import { posixStorage } from '../../../src/storage/posix.ts'
import { fromPlainError, toPlainError } from '../../../src/util/error.ts'

test('a removal refused by the system is denied, also for root and through another thread', async () => {
  await using storage = posixStorage('/proc')
  const error: unknown = await storage.remove('version').catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'file-remove', denied: true })
  expect(fromPlainError(structuredClone(toPlainError(error))).denied).toBe(true)
})
