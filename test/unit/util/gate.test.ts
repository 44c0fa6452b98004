import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Gate } from '../../../src/util/gate.ts'

test('only so many are inside at the same time, whichever thread they come from', async () => {
  const first = new Gate(2)
  const second = new Gate(2, first.buffer)
  let inside = 0
  let most = 0
  const pass = async (gate: Gate) => {
    using _turn = await gate.enter()
    most = Math.max(most, ++inside)
    for (let i = 0; i < 3; i++) await setImmediate()
    inside--
  }
  await Promise.all([first, second, first, second, first].map(pass))
  expect(most).toBe(2)
  expect(inside).toBe(0)
})
