import { expect, test } from 'vitest'
import { Run } from '../../../src/worker/run.ts'

test('a run whose jobs turn out to be at their end, when another run made room, ends', async () => {
  let room = false
  const run = new Run(1, 'any', [], {
    hasRoom: () => room,
    pick: () => {
      throw new Error('there is no job to hand out')
    },
  })
  const next = run.next()
  room = true
  run.draw()
  expect(await next).toBeUndefined()
}, 5000)
