import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { PgtsError, type ErrorCode } from '../../../src/util/error.ts'
import { silentLogger, type Logger } from '../../../src/util/log.ts'

/** The environment of the handlers below: as in the program, opened once for each worker from plain data. */
export interface TestEnv extends AsyncDisposable {
  readonly factor: number
  readonly log: Logger
  readonly lanes?: readonly TestEnv[]
}

export interface TestSetup {
  readonly factor: number
  /** A word of shared memory that counts closed environments. */
  readonly closed: SharedArrayBuffer
  /** Words of shared memory: [0] jobs begun, [1] jobs ended by their signal. */
  readonly seen: SharedArrayBuffer
  readonly broken?: boolean
  /** Jobs in flight at the same time in one worker. */
  readonly lanes?: number
}

export async function openTestEnv(setup: TestSetup, log: Logger = silentLogger): Promise<TestEnv> {
  if (setup.broken === true)
    throw new PgtsError('file-open', 'the repository cannot be opened', { hints: ['mount it'] })
  seen = new Int32Array(setup.seen)
  const { factor, lanes } = setup
  const lane = { factor, log, [Symbol.asyncDispose]: async () => undefined }
  return {
    factor,
    log,
    lanes: lanes === undefined ? undefined : Array.from({ length: lanes }, () => ({ ...lane })),
    [Symbol.asyncDispose]: async () => void Atomics.add(new Int32Array(setup.closed), 0, 1),
  }
}

const inUse = new WeakSet<TestEnv>()
let seen: Int32Array = new Int32Array(2)

/** Handlers for the executor contract: each has one behaviour of a job. */
export const testJobs = {
  multiply: async (value: number, env: TestEnv) => value * env.factor,
  echo: async (job: { readonly name: string; readonly size: bigint }) => job,
  wait: async (ms: number, _env: TestEnv, signal: AbortSignal) => {
    Atomics.add(seen, 0, 1)
    try {
      await sleep(ms, undefined, { signal })
    } catch (error) {
      Atomics.add(seen, 1, 1)
      throw error
    }
    return ms
  },
  /** Fails if another job uses the same environment. */
  alone: async (ms: number, env: TestEnv) => {
    if (inUse.has(env)) throw new PgtsError('assert', 'two jobs use one environment')
    inUse.add(env)
    await sleep(ms)
    inUse.delete(env)
    return ms
  },
  /** Blocks the event loop, as a job that reads, compresses and writes. */
  spin: async (ms: number, _env: TestEnv, signal: AbortSignal) => {
    Atomics.add(seen, 0, 1)
    const end = performance.now() + ms
    while (performance.now() < end) {
      if (signal.aborted) {
        Atomics.add(seen, 1, 1)
        signal.throwIfAborted()
      }
    }
    return ms
  },
  fail: async (value: number) => {
    Atomics.add(seen, 0, 1)
    if (value < 0) throw new PgtsError('checksum', `value ${value} does not match`, { hints: ['look at the disk'] })
    await sleep(value)
    return value
  },
  /** Fails this number of times over all workers, then succeeds; counts its calls. */
  flaky: async ({ times, code }: { readonly times: number; readonly code: ErrorCode }) => {
    const before = Atomics.add(seen, 0, 1)
    if (before < times) throw new PgtsError(code, `failure ${before + 1}`)
    return before
  },
  log: async (message: string, env: TestEnv) => env.log.warn({ size: 3n }, message),
  unclonable: async () => () => 1,
  exit: async (code: number) => process.exit(code),
  /** Waits for ever. */
  lose: () => new Promise<never>(() => undefined),
  exhaust: async () => {
    const kept: unknown[] = []
    for (;;) kept.push(new Array<number>(1_000_000).fill(1.5))
  },
  /** A named pipe without a writer: the call that opens it does not return. */
  stuck: async (pipe: string) => readFileSync(pipe, 'utf8'),
  throwLater: async () => {
    setTimeout(() => {
      throw new Error('out of the blue')
    }, 1)
    await sleep(10_000)
  },
}
