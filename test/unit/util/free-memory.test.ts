import { expect, test } from 'vitest'
import { freeMemory } from '../../../src/util/free-memory.ts'

test('a freed buffer is empty, and its memory is not counted any more', () => {
  freeMemory(Buffer.allocUnsafeSlow(1))
  const before = process.memoryUsage().arrayBuffers
  const size = 4 * 1024 * 1024
  const bytes = Buffer.allocUnsafeSlow(size)
  expect(process.memoryUsage().arrayBuffers - before).toBeGreaterThanOrEqual(size)
  freeMemory(bytes)
  expect(bytes).toHaveLength(0)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(size)
})
