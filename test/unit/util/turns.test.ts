import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Turns } from '../../../src/util/turns.ts'

test('one after the other, in the order in which they asked, whatever fails', async () => {
  const turns = new Turns()
  const seen: string[] = []
  const pass = async (name: string) => {
    using _turn = await turns.take()
    seen.push(`${name} begins`)
    for (let i = 0; i < 3; i++) await setImmediate()
    seen.push(`${name} ends`)
    if (name === 'b') throw new Error('b fails')
  }
  const results = await Promise.allSettled(['a', 'b', 'c'].map(pass))
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  await pass('d')
  expect(seen.slice(-2)).toEqual(['d begins', 'd ends'])
})
