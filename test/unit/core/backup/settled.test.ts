import { describe, expect, test } from 'vitest'
import { timeOfListing } from '../../../../src/core/backup/server-side.ts'
import { settledFirst } from '../../../../src/core/backup/settled-first.ts'

const signal = new AbortController().signal

describe('the time of a listing', () => {
  // A file that is written at 100.005 s may get the time 99 s, because the clock of file systems lags.
  test.each([
    [100_005, 99],
    [100_019, 99],
    [100_020, 100],
    [100_999, 100],
  ])('at %i ms files before second %i are settled', async (nowMs, settledBefore) => {
    const listedAt = await timeOfListing(undefined, { nowMs: () => nowMs, sleep: async () => undefined })
    expect(listedAt).toMatchObject({ settledBefore, timestampListed: 100, timestampCopyStart: 100 })
  })

  test('the wait for the next second ends when the clock has reached it, and fails if the clock does not advance', async () => {
    let nowMs = 100_400
    const slept: number[] = []
    const clock = {
      nowMs: () => nowMs,
      sleep: async (ms: number) => {
        slept.push(ms)
        // Timers may end early.
        nowMs += slept.length === 1 ? ms - 1 : ms
      },
    }
    await (await timeOfListing(undefined, clock)).nextSecond(signal)
    expect(slept).toEqual([620, 1])
    const stopped = await timeOfListing(undefined, { nowMs: () => 100_400, sleep: async () => undefined })
    await expect(stopped.nextSecond(signal)).rejects.toThrow('the clock of the database host does not advance')
  })
})

describe('jobs', () => {
  function* all(...jobs: string[]) {
    yield* jobs
  }
  const drawn = async (jobs: AsyncIterator<string>, count: number) => {
    const names = []
    while (names.length < count) names.push((await jobs.next()).value)
    return names
  }

  test('of other files are next when the second has passed', async () => {
    const { promise, resolve } = withResolvers()
    const jobs = settledFirst(all('a', 'b', 'c'), all('x', 'y'), promise)
    expect(await drawn(jobs, 2)).toEqual(['a', 'b'])
    resolve()
    await promise
    expect(await drawn(jobs, 4)).toEqual(['x', 'y', 'c', undefined])
  })

  test('of other files wait for the second, also if there are no settled files', async () => {
    const { promise, resolve } = withResolvers()
    const jobs = settledFirst(all(), all('x'), promise)
    const next = jobs.next()
    expect(await Promise.race([next, Promise.resolve('waits')])).toBe('waits')
    resolve()
    expect((await next).value).toBe('x')
    expect((await jobs.next()).done).toBe(true)
  })

  test('end with the error of the wait', async () => {
    const jobs = settledFirst(all('a'), all('x'), Promise.reject(new Error('clock')))
    expect(await drawn(jobs, 1)).toEqual(['a'])
    await expect(jobs.next()).rejects.toThrow('clock')
  })
})

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => undefined as void
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
