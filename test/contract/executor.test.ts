import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import { build } from 'esbuild'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { MessagePort } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isPgtsError, PgtsError } from '../../src/util/error.ts'
import { silentLogger, type LogFields, type Logger } from '../../src/util/log.ts'
import type { Executor } from '../../src/worker/executor.ts'
import { inlineExecutor } from '../../src/worker/inline.ts'
import { NO_RETRY, type JobRetry } from '../../src/worker/retry.ts'
import { threadExecutor } from '../../src/worker/threads.ts'
import { openTestEnv, testJobs, type TestSetup } from '../support/workers/executor-jobs.ts'

type TestExecutor = Executor<typeof testJobs>

interface Bench {
  readonly setup: TestSetup
  readonly closed: () => number
  readonly begun: () => number
  readonly interrupted: () => number
}

let entry: URL
let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pgts-executor-'))
  const outfile = join(directory, 'entry.mjs')
  await build({
    entryPoints: [fileURLToPath(new URL('../support/workers/executor-entry.ts', import.meta.url))],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
  })
  entry = pathToFileURL(outfile)
})
afterAll(() => rm(directory, { recursive: true }))

function bench(): Bench {
  const closed = new SharedArrayBuffer(4)
  const seen = new SharedArrayBuffer(8)
  const word = (buffer: SharedArrayBuffer, index: number) => Atomics.load(new Int32Array(buffer), index)
  return {
    setup: { factor: 3, closed, seen },
    closed: () => word(closed, 0),
    begun: () => word(seen, 0),
    interrupted: () => word(seen, 1),
  }
}

type Make = (setup: TestSetup, log?: Logger, retry?: JobRetry) => TestExecutor

const makers: [string, number, Make][] = [
  [
    'inline',
    1,
    (setup, log = silentLogger, retry = NO_RETRY) =>
      inlineExecutor(testJobs, () => openTestEnv(setup, log), { retry, log }),
  ],
  [
    'inline with lanes',
    1,
    (setup, log = silentLogger, retry = NO_RETRY) =>
      inlineExecutor(testJobs, () => openTestEnv({ ...setup, lanes: LANES }, log), { retry, log }),
  ],
  ['one thread', 1, threads(1)],
  ['three threads', 3, threads(3)],
  ['two threads with lanes', 2, (setup, log, retry) => withLanes(2, setup, log, retry)],
]

function threads(workers: number): Make {
  return (setup, log = silentLogger, retry = NO_RETRY) => threadExecutor({ workers, setup, entry, log, retry })
}

function withLanes(workers: number, setup: TestSetup, log = silentLogger, retry = NO_RETRY): TestExecutor {
  return threadExecutor({ workers, lanes: LANES, setup: { ...setup, lanes: LANES }, entry, log, retry })
}
const LANES = 4

const never = () => new AbortController().signal

async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const result of results) all.push(result)
  return all
}

/** Waits for an effect of another thread; fails the test when it does not occur. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 50_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never true: ${condition}`)
    await sleep(2)
  }
}

/** Maximum number of jobs in flight of an executor with this number of workers. */
const inHand = (name: string, workers: number) => (name.endsWith('lanes') ? workers * LANES : workers)

describe.each(makers)('executor: %s', (name, workers, make) => {
  test('returns the result of every job with the number of its worker, in any order', async () => {
    await using executor = make(bench().setup)
    const jobs = Array.from({ length: 500 }, (_, index) => index)
    const results = await collect(executor.run('multiply', jobs, { signal: never() }))
    expect(executor.workers).toBe(workers)
    expect(results.map(({ job }) => job).sort((a, b) => a - b)).toEqual(jobs)
    for (const { job, result, worker } of results) {
      expect(result).toBe(job * 3)
      expect(worker).toBeGreaterThanOrEqual(1)
      expect(worker).toBeLessThanOrEqual(workers)
    }
  })

  test('opens nothing when there are no jobs', async () => {
    const { setup, closed } = bench()
    {
      await using executor = make(setup)
      expect(await collect(executor.run('multiply', [], { signal: never() }))).toEqual([])
    }
    expect(closed()).toBe(0)
  })

  test('keeps 64-bit numbers and byte strings of jobs and results', async () => {
    await using executor = make(bench().setup)
    const job = { name: 'base/\xff\x01\xe9', size: 6569239123849665679n }
    expect(await collect(executor.run('echo', [job], { signal: never() }))).toMatchObject([{ job, result: job }])
  })

  test('runs jobs that arrive slowly', async () => {
    await using executor = make(bench().setup)
    async function* slowly() {
      for (let job = 0; job < 5; job++) {
        await sleep(5)
        yield job
      }
    }
    const results = await collect(executor.run('multiply', slowly(), { signal: never() }))
    expect(results.map(({ result }) => result).sort((a, b) => a - b)).toEqual([0, 3, 6, 9, 12])
  })

  test.each([
    // The interval is longer than the test may take: the first retry comes at once.
    { code: 'service', times: 1, retries: 2, intervalMs: 60_000, attempts: 2 },
    { code: 'file-missing', times: 2, retries: 2, intervalMs: 1, attempts: 3 },
    { code: 'checksum', times: 1, retries: 2, intervalMs: 60_000, attempts: 2 },
  ] as const)('a job that fails $times times with $code is retried, with one warning and one result', async (row) => {
    const { setup, begun } = bench()
    const warnings: string[] = []
    const warn = (first: LogFields | string, message?: string) =>
      void warnings.push(typeof first === 'string' ? first : (message ?? ''))
    const log: Logger = { ...silentLogger, warn, enabled: (level) => level === 'warn' }
    await using executor = make(setup, log, row)
    const results = await collect(executor.run('flaky', [row], { signal: never() }))
    expect(results.map(({ result }) => result)).toEqual([row.times])
    expect(begun()).toBe(row.attempts)
    expect(warnings).toEqual([`flaky job failed, retry 1 of ${row.retries} after 0 ms: failure 1`])
  })

  test.each([
    { code: 'service', retries: 2, attempts: 3 },
    // What a system error (EIO) of another host becomes.
    { code: 'kernel', retries: 2, attempts: 3 },
    { code: 'service', retries: 0, attempts: 1 },
    // Read twice with the same result: the bytes are damaged.
    { code: 'checksum', retries: 5, attempts: 2 },
    { code: 'assert', retries: 5, attempts: 1 },
    { code: 'memory', retries: 5, attempts: 1 },
    { code: 'term', retries: 5, attempts: 1 },
    { code: 'feature-not-supported', retries: 5, attempts: 1 },
  ] as const)(
    'a job that always fails with $code ends the run after $attempts of 1 + $retries attempts',
    async (row) => {
      const { setup, begun } = bench()
      await using executor = make(setup, silentLogger, { ...row, intervalMs: 1 })
      await expect(
        collect(executor.run('flaky', [{ code: row.code, times: 99 }], { signal: never() })),
      ).rejects.toMatchObject({ code: row.code, message: `failure ${row.attempts}` })
      expect(begun()).toBe(row.attempts)
    },
  )

  test('stops waiting for a retry when aborted', async () => {
    const { setup, begun } = bench()
    await using executor = make(setup, silentLogger, { retries: 2, intervalMs: 60_000 })
    const controller = new AbortController()
    const reason = new PgtsError('term', 'terminated on signal SIGTERM')
    const run = collect(executor.run('flaky', [{ code: 'service', times: 99 }], { signal: controller.signal }))
    run.catch(() => undefined)
    await until(() => begun() === 2)
    controller.abort(reason)
    await expect(run).rejects.toBe(reason)
    expect(begun()).toBe(2)
  })

  test('takes a job only when a worker is free', async () => {
    await using executor = make(bench().setup)
    let drawn = 0
    let mostAhead = 0
    let done = 0
    function* jobs() {
      for (; drawn < 20; drawn++) {
        mostAhead = Math.max(mostAhead, drawn + 1 - done)
        yield 8
      }
    }
    for await (const _ of executor.run('wait', jobs(), { signal: never() })) done++
    expect(done).toBe(20)
    expect(mostAhead).toBeLessThanOrEqual(inHand(name, workers) + 1)
  })

  test('takes no further jobs while the consumer is slow', async () => {
    await using executor = make(bench().setup)
    let drawn = 0
    function* jobs() {
      while (drawn < 10_000) yield drawn++
    }
    for await (const _ of executor.run('multiply', jobs(), { signal: never() })) {
      await sleep(100)
      break
    }
    expect(drawn).toBeLessThan(64 + workers * 16 + 1)
  })

  test('ends the run and closes the job iterator when the consumer stops early', async () => {
    const { setup } = bench()
    await using executor = make(setup)
    let closed = false
    function* jobs() {
      try {
        for (;;) yield 1
      } finally {
        closed = true
      }
    }
    for await (const _ of executor.run('multiply', jobs(), { signal: never() })) break
    expect(closed).toBe(true)
    expect(await collect(executor.run('multiply', [7], { signal: never() }))).toMatchObject([{ result: 21 }])
  })

  test('ends the run with code and hints of the first failed job after running jobs have ended', async () => {
    const { setup, begun } = bench()
    await using executor = make(setup)
    const jobs = [20, 20, -5, ...Array<number>(200).fill(20)]
    const error = await collect(executor.run('fail', jobs, { signal: never() })).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'checksum', message: 'value -5 does not match', hints: ['look at the disk'] })
    expect(isPgtsError(error)).toBe(true)
    const begunThen = begun()
    expect(begunThen).toBeLessThan(jobs.length)
    await sleep(60)
    expect(begun()).toBe(begunThen)
    expect(await collect(executor.run('multiply', [7], { signal: never() }))).toMatchObject([{ result: 21 }])
  })

  test('ends the run when the job iterator throws', async () => {
    await using executor = make(bench().setup)
    function* jobs() {
      yield 1
      throw new PgtsError('format', 'the manifest ends in the middle')
    }
    await expect(collect(executor.run('multiply', jobs(), { signal: never() }))).rejects.toMatchObject({
      code: 'format',
    })
    async function* later() {
      yield 1
      throw new PgtsError('format', 'the manifest ends in the middle')
    }
    await expect(collect(executor.run('multiply', later(), { signal: never() }))).rejects.toMatchObject({
      code: 'format',
    })
  })

  test('fails the run with the error of an environment that cannot be opened', async () => {
    await using executor = make({ ...bench().setup, broken: true })
    await expect(collect(executor.run('multiply', [1, 2], { signal: never() }))).rejects.toMatchObject({
      code: 'file-open',
      message: 'the repository cannot be opened',
      hints: ['mount it'],
    })
  })

  test('ends waiting jobs at once and rejects with the reason when aborted', async () => {
    const { setup, begun, interrupted } = bench()
    await using executor = make(setup)
    const controller = new AbortController()
    const run = collect(executor.run('wait', Array<number>(50).fill(60_000), { signal: controller.signal }))
    const rejected = expect(run).rejects.toMatchObject({ code: 'term', message: 'terminated on signal SIGINT' })
    await until(() => begun() >= workers)
    const aborted = performance.now()
    controller.abort(new PgtsError('term', 'terminated on signal SIGINT'))
    await rejected
    // Its workers were not terminated, which happens after 10 s.
    expect(performance.now() - aborted).toBeLessThan(8_000)
    expect(interrupted()).toBe(begun())
    expect(await collect(executor.run('multiply', [7], { signal: never() }))).toMatchObject([{ result: 21 }])
  })

  test('starts nothing when the signal is already aborted', async () => {
    const { setup, begun } = bench()
    await using executor = make(setup)
    const signal = AbortSignal.abort(new PgtsError('term', 'terminated on signal SIGTERM'))
    await expect(collect(executor.run('wait', [1], { signal }))).rejects.toMatchObject({ code: 'term' })
    expect(begun()).toBe(0)
  })

  test('rejects an unknown kind of job', async () => {
    await using executor = make(bench().setup)
    const run = executor.run('nonsense' as 'multiply', [1], { signal: never() })
    await expect(collect(run)).rejects.toMatchObject({ code: 'assert' })
  })

  test('passes on log records of a worker with its number', async () => {
    const records: [LogFields, string][] = []
    const log: Logger = {
      ...silentLogger,
      enabled: (level) => level === 'warn',
      warn: (fields: LogFields | string, message?: string) => void records.push([fields as LogFields, message ?? '']),
    }
    await using executor = make(bench().setup, log)
    await collect(executor.run('log', ['a page is broken'], { signal: never() }))
    expect(records).toMatchObject([[{ size: 3n }, 'a page is broken']])
  })

  test('closes each worker environment once when the executor is closed', async () => {
    const { setup, closed } = bench()
    {
      await using executor = make(setup)
      await collect(executor.run('wait', Array<number>(10).fill(5), { signal: never() }))
      expect(closed()).toBe(0)
    }
    expect(closed()).toBe(workers)
  })
})

describe.each(makers.slice(2))('threads: %s', (name, workers, make) => {
  test('aborts a job that blocks the event loop', async () => {
    const { setup, begun, interrupted } = bench()
    await using executor = make(setup)
    const controller = new AbortController()
    const run = collect(executor.run('spin', Array<number>(50).fill(20_000), { signal: controller.signal }))
    const rejected = expect(run).rejects.toMatchObject({ code: 'term' })
    await until(() => begun() >= 1)
    controller.abort(new PgtsError('term', 'terminated on signal SIGINT'))
    const aborted = performance.now()
    await rejected
    expect(performance.now() - aborted).toBeLessThan(8_000)
    expect(interrupted()).toBe(begun())
  })

  test('warm workers open their environment, and are closed also without a job', async () => {
    const { setup, closed } = bench()
    {
      await using executor = make(setup)
      executor.warm(workers + 5)
      executor.warm(1)
      expect(await collect(executor.run('multiply', [7], { signal: never() }))).toMatchObject([{ result: 21 }])
    }
    expect(closed()).toBe(workers)
  })

  test('reports the error of a warm worker to the first job', async () => {
    await using executor = make({ ...bench().setup, broken: true })
    executor.warm(1)
    await expect(collect(executor.run('multiply', [7], { signal: never() }))).rejects.toMatchObject({
      message: 'the repository cannot be opened',
    })
  })

  test('runs two job lists on the same workers', async () => {
    await using executor = make(bench().setup)
    const jobs = Array.from({ length: 300 }, (_, index) => index)
    const [one, two] = await Promise.all([
      collect(executor.run('multiply', jobs, { signal: never() })),
      collect(executor.run('multiply', jobs, { signal: never() })),
    ])
    expect(one.length + two.length).toBe(600)
  })

  test('gives each environment or lane to one job at a time, also for two job lists', async () => {
    await using executor = make(bench().setup)
    const lists = [1, 2, 3].map(() =>
      collect(executor.run('alone', Array<number>(2 * LANES).fill(2), { signal: never() })),
    )
    expect((await Promise.all(lists)).flat()).toHaveLength(6 * LANES)
  })

  test('with singly, a job waits for a free worker also after tiny jobs', async () => {
    const { setup, begun } = bench()
    await using executor = make(setup)
    await collect(executor.run('multiply', Array<number>(500).fill(1), { signal: never() }))
    const controller = new AbortController()
    const hanging = collect(
      executor.run('wait', Array<number>(50).fill(60_000), { signal: controller.signal, singly: true }),
    )
    const rejected = expect(hanging).rejects.toThrow('enough')
    await until(() => begun() === inHand(name, workers))
    let drawn = false
    const next = function* () {
      drawn = true
      yield 7
    }
    const waiting = collect(executor.run('multiply', next(), { signal: never(), singly: true }))
    await sleep(1)
    expect(drawn).toBe(false)
    controller.abort(new Error('enough'))
    await rejected
    expect(await waiting).toMatchObject([{ result: 21 }])
  })

  test('rejects a job or result that cannot cross threads, and keeps the worker', async () => {
    await using executor = make(bench().setup)
    await expect(collect(executor.run('unclonable', [undefined as never], { signal: never() }))).rejects.toThrow(
      /clone/,
    )
    await expect(collect(executor.run('multiply', [(() => 1) as never], { signal: never() }))).rejects.toThrow(/clone/)
    expect(await collect(executor.run('multiply', [7], { signal: never() }))).toMatchObject([{ result: 21 }])
  })

  test.each([
    ['exit', 3, { code: 'assert', message: 'worker 1 ended in the middle of its work with exit code 3' }],
    ['lose', undefined, { code: 'assert', message: 'worker 1 ended in the middle of its work with exit code 25' }],
    ['throwLater', undefined, { code: 'assert', message: expect.stringContaining('out of the blue') }],
    ['exhaust', undefined, { code: 'memory', message: expect.stringContaining('worker 1 ran out of memory') }],
  ] as const)(
    'a worker that dies (%s) fails the job it held; the next run gets another one',
    async (kind, job, expected) => {
      await using executor = make(bench().setup)
      await expect(collect(executor.run(kind, [job as never], { signal: never() }))).rejects.toMatchObject(expected)
      expect(await collect(executor.run('multiply', [7], { signal: never() }))).toMatchObject([{ result: 21 }])
    },
  )

  test('closing interrupts running jobs, ends the run and closes the environments', async () => {
    const { setup, begun, closed } = bench()
    const executor = make(setup)
    const run = collect(executor.run('wait', Array<number>(50).fill(60_000), { signal: never() }))
    const rejected = expect(run).rejects.toMatchObject({ code: 'term' })
    await until(() => begun() === inHand(name, workers))
    await executor[Symbol.asyncDispose]()
    await rejected
    expect(closed()).toBe(workers)
    await expect(collect(executor.run('multiply', [1], { signal: never() }))).rejects.toThrow('closed')
  })
})

test('gives a large job a worker of its own when workers have several jobs at once', async () => {
  await using executor = withLanes(2, bench().setup)
  const weightOf = (ms: number) => (ms === 200 ? 1000 : 1)
  const workers = new Map<number, number[]>()
  for await (const { job, worker } of executor.run('wait', [200, 1, 2, 3, 4], { signal: never(), weightOf }))
    workers.set(worker, [...(workers.get(worker) ?? []), job])
  expect([...workers.values()].find((jobs) => jobs.includes(200))).toEqual([200])
})

test('a job that waits for its retry ends when another job ends the run', async () => {
  const { setup, begun } = bench()
  await using executor = threads(2)(setup, silentLogger, { retries: 2, intervalMs: 60_000 })
  async function* jobs() {
    yield { code: 'service', times: 99 } as const
    await until(() => begun() === 2)
    yield { code: 'assert', times: 99 } as const
  }
  await expect(collect(executor.run('flaky', jobs(), { signal: never() }))).rejects.toMatchObject({ code: 'assert' })
  expect(begun()).toBe(3)
})

test('closes what is attached to a worker when it ends or dies', async () => {
  const open = new Set<MessagePort>()
  let ended = 0
  const serve = (port: MessagePort): AsyncDisposable => {
    open.add(port)
    return {
      async [Symbol.asyncDispose]() {
        port.close()
        if (open.delete(port)) ended++
      },
    }
  }
  {
    await using executor = threadExecutor<typeof testJobs>({
      workers: 2,
      setup: bench().setup,
      entry,
      attach: new Map([[1, serve]]),
    })
    await collect(executor.run('multiply', [1, 2, 3, 4], { signal: never() }))
    await expect(collect(executor.run('exit', [3], { signal: never() }))).rejects.toMatchObject({ code: 'assert' })
    expect(ended).toBe(1)
    await collect(executor.run('multiply', [1, 2, 3, 4], { signal: never() }))
  }
  expect(open.size).toBe(0)
  expect(ended).toBeGreaterThan(1)
})

test('abandons a worker that hangs in a system call and starts another', { timeout: 30_000 }, async () => {
  const pipe = join(directory, 'pipe')
  execFileSync('mkfifo', [pipe])
  try {
    await using executor = threadExecutor<typeof testJobs>({ workers: 1, tidyMs: 100, setup: bench().setup, entry })
    const run = executor.run('stuck', [pipe], { signal: AbortSignal.timeout(200) })[Symbol.asyncIterator]()
    await expect(run.next()).rejects.toMatchObject({ name: 'TimeoutError' })
    const results: unknown[] = []
    const { signal } = new AbortController()
    for await (const { result } of executor.run('multiply', [2], { signal })) results.push(result)
    expect(results).toEqual([6])
  } finally {
    // End the thread, because it keeps this process running.
    closeSync(openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK))
  }
})
