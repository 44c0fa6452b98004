import { expect, test } from 'vitest'
import type { Executor } from '../../../src/worker/executor.ts'
import { sizedExecutor, workersFor } from '../../../src/worker/sized.ts'

const MIB = 1024 * 1024

test.each([
  [{ bytes: 0 }, 0],
  [{ bytes: 8 * MIB }, 0],
  [{ bytes: 8 * MIB + 1 }, 2],
  [{ bytes: 7 * MIB, files: 100 }, 2],
  [{ bytes: 0, files: 128 }, 0],
  [{ bytes: 0, files: 1000 }, 4],
  [{ bytes: 1024 * MIB, files: 1000 }, 4],
  [{ bytes: 1024 * MIB, files: 1, largestBytes: 1024 * MIB }, 1],
  [{ bytes: 1030 * MIB, files: 4, largestBytes: 1024 * MIB }, 1],
  [{ bytes: 1034 * MIB, files: 4, largestBytes: 1024 * MIB }, 2],
  [{ bytes: 6 * MIB, files: 1, largestBytes: 6 * MIB }, 0],
])('for %o of at most 4 workers %i are started', (work, workers) => {
  expect(workersFor(work, 4)).toBe(workers)
})

test('a worker that takes longer to start needs more work', () => {
  expect(workersFor({ bytes: 20 * MIB, files: 100 }, 4, 32 * MIB)).toBe(0)
  expect(workersFor({ bytes: 40 * MIB }, 4, 32 * MIB)).toBe(2)
})

type Handlers = { echo: (job: number) => Promise<string> }

function named(name: string, events: string[]): Executor<Handlers> {
  return {
    workers: 4,
    warm: (workers) => void events.push(`${name} warm ${workers}`),
    expect: ({ bytes }) => void events.push(`${name} expect ${bytes}`),
    async *run(_kind, jobs) {
      for await (const job of jobs) yield { job, result: `${name} ${job as number}` as never, worker: 1 }
    },
    [Symbol.asyncDispose]: async () => void events.push(`${name} closed`),
  }
}

async function resultOf(bytes: readonly number[]): Promise<{ readonly result: string; readonly events: string[] }> {
  const events: string[] = []
  let result = ''
  {
    await using executor = sizedExecutor(named('threads', events), async () => named('inline', events))
    for (const next of bytes) executor.expect({ bytes: next })
    const { signal } = new AbortController()
    for await (const done of executor.run('echo', [7], { signal })) result = done.result
  }
  return { result, events }
}

test('runs small work without a worker', async () => {
  expect(await resultOf([MIB])).toEqual({ result: 'inline 7', events: ['threads closed', 'inline closed'] })
})

test('starts workers as soon as the work is known to be large', async () => {
  const { result, events } = await resultOf([100 * MIB])
  expect([result, events]).toEqual(['threads 7', [`threads expect ${100 * MIB}`, 'threads closed']])
})

test('takes the last announcement', async () => {
  expect((await resultOf([MIB, 100 * MIB])).result).toBe('threads 7')
  expect((await resultOf([100 * MIB, MIB])).result).toBe('inline 7')
})

test('uses workers for work of unknown size', async () => {
  expect((await resultOf([])).result).toBe('threads 7')
})
