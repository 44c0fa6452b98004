import { expect, test } from 'vitest'
import { Run, type JobTaker } from '../../../src/worker/run.ts'

test('a run ends when it has no more jobs after another run has released a worker', async () => {
  let room = false
  const run = new Run(1, 'any', [], {
    hasRoom: () => room,
    pick: () => {
      throw new Error('there is no job to assign')
    },
  })
  const next = run.next()
  room = true
  run.draw()
  expect(await next).toBeUndefined()
}, 5000)

test('a job is assigned with its weight', async () => {
  const taken: number[] = []
  let room = 2
  const thread: JobTaker = { take: (_run, _id, _kind, _job, weight) => void taken.push(weight), flush: () => undefined }
  const source = { hasRoom: () => room-- > 0, pick: () => thread }
  const run = new Run(1, 'any', [5, 7], source, (job) => (job as number) * 10)
  run.draw()
  expect(taken).toEqual([50, 70])
})
