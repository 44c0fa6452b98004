import { expect, test } from 'vitest'
import { inParallel } from '../../../src/util/parallel.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('returns results in order and runs no more than the limit at once', async () => {
  let now = 0
  let most = 0
  const results = await inParallel([5, 1, 4, 2, 3], 2, async (turns, index) => {
    most = Math.max(most, ++now)
    for (let i = 0; i < turns; i++) await turn()
    now--
    return `${index}:${turns}`
  })
  expect(results).toEqual(['0:5', '1:1', '2:4', '3:2', '4:3'])
  expect(most).toBe(2)
  expect(await inParallel([], 3, async () => 1)).toEqual([])
})

test('starts nothing after a failure, and waits for what is running', async () => {
  const begun: number[] = []
  let ended = 0
  const run = inParallel([0, 1, 2, 3, 4], 2, async (item) => {
    begun.push(item)
    if (item === 1) throw new Error('no')
    for (let i = 0; i < 5; i++) await turn()
    ended++
  })
  await expect(run).rejects.toThrow('no')
  expect(begun).toEqual([0, 1])
  expect(ended).toBe(1)
})
