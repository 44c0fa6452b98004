import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { pushInBackground, type PushBackgroundRequest } from '../../../../src/core/archive/push/background.ts'
import type { PushJob, PushJobResult } from '../../../../src/core/archive/push/push-job.ts'
import { readPushStatus } from '../../../../src/core/archive/status/push-status.ts'
import { QueueLimit, queueLevel } from '../../../../src/core/archive/push/queue-limit.ts'
import { RepositoryHealth } from '../../../../src/core/archive/push/repository-health.ts'
import { prepareSpool, spoolPaths, type SpoolPaths } from '../../../../src/core/archive/spool/spool-files.ts'
import type { jobHandlers } from '../../../../src/core/jobs.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import { PgtsError, toPlainError } from '../../../../src/util/error.ts'
import type { Executor } from '../../../../src/worker/executor.ts'
import { segment, segments } from '../../../support/builders/repository.ts'
import { recordingLog } from '../../../support/builders/wal.ts'

const root = mkdtempSync(join(tmpdir(), 'pgts-async-push-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let spool: SpoolPaths
let wal: string
let sequence = 0
let log = recordingLog()
let controller = new AbortController()
let running: Promise<unknown> = Promise.resolve()
beforeEach(() => {
  spool = spoolPaths(join(root, `spool${++sequence}`), 'main')
  prepareSpool(spool)
  wal = join(root, `wal${sequence}`)
  mkdirSync(join(wal, 'archive_status'), { recursive: true })
  log = recordingLog()
  controller = new AbortController()
})
afterEach(async () => {
  controller.abort(new PgtsError('term', 'the test is over'))
  await running.catch(() => undefined)
})

function ready(...names: string[]): void {
  for (const name of names) {
    writeFileSync(join(wal, name), Buffer.alloc(1024))
    writeFileSync(join(wal, 'archive_status', `${name}.ready`), '')
  }
}

/** PostgreSQL's archiver got its 0. */
function archived(name: string): void {
  renameSync(join(wal, 'archive_status', `${name}.ready`), join(wal, 'archive_status', `${name}.done`))
}

const ok = (name: string) => existsSync(join(spool.out, `${name}.ok`))
const errorOf = (name: string) =>
  existsSync(join(spool.out, `${name}.error`)) ? readFileSync(join(spool.out, `${name}.error`), 'utf8') : undefined

async function until(what: string, test: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 15_000; Date.now() < deadline; await sleep(5)) if (test()) return
  throw new Error(`timeout while waiting for ${what}: ${readdirSync(spool.out).join(' ')}\n${log.lines.join('\n')}`)
}

interface Pushed {
  readonly name: string
  readonly keys: readonly number[]
}

/** What the workers do; every file is stored everywhere unless `push` says otherwise. */
type Push = (
  pushed: Pushed,
  signal: AbortSignal,
) => Partial<PushJobResult> | undefined | Promise<Partial<PushJobResult> | undefined>

function begin(push: Push, options: Partial<PushBackgroundRequest> = {}, workers = 2): { readonly pushed: Pushed[] } {
  const pushed: Pushed[] = []
  let free = workers
  const waiting: (() => void)[] = []
  const leave = () => {
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }
  const executor = {
    workers,
    async *run(_: string, jobs: Iterable<PushJob>, { signal }: { signal: AbortSignal }) {
      // A job is drawn when a worker is free, one run after the other.
      if (free > 0) free--
      else await new Promise<void>((resolve) => waiting.push(resolve))
      let drawn = false
      for (const job of jobs) {
        drawn = true
        const one = {
          name: job.path.slice(job.path.lastIndexOf('/') + 1),
          keys: job.repoKeys,
        }
        pushed.push(one)
        const { mtimeNs } = statSync(job.path, { bigint: true })
        await sleep(1)
        const answer = await Promise.resolve(push(one, signal)).finally(leave)
        const result: PushJobResult = {
          stored: one.keys,
          failures: [],
          sizeBytes: 1024,
          mtimeNs,
          warnings: [],
          ...answer,
        }
        yield { job, result, worker: 1 }
      }
      if (!drawn) leave()
    },
    [Symbol.asyncDispose]: async () => undefined,
  } as unknown as Executor<typeof jobHandlers>
  running = pushInBackground({
    spool,
    walPath: wal,
    repoKeys: [1, 2],
    job: {
      stanza: 'main',
      identity: { systemId: 1n, version: '15' },
      compression: { type: 'none', level: 0 },
      headerCheck: true,
      warnWhenArchived: true,
    },
    executor,
    queueMaxBytes: undefined,
    batchBytes: 2 ** 34,
    timeoutMs: 60_000,
    endWhenEmpty: false,
    lockPath: spool.own,
    lock: async () => ({ [Symbol.asyncDispose]: async () => undefined }),
    endReason: () => undefined,
    clock: systemClock,
    log,
    signal: controller.signal,
    ...options,
  })
  running.catch(() => undefined)
  return { pushed }
}

const failure = (repoKey: number, message = 'it is gone') => ({
  repoKey,
  error: toPlainError(new PgtsError('host-connect', message, { hints: ['look at the network'] })),
})

describe('background process of archive-push', () => {
  test('pushes ready files in the order of PostgreSQL, and removes each .ok that PostgreSQL has read', async () => {
    ready(segment(2), segment(1), '00000002.history')
    const { pushed } = begin(() => undefined, {}, 1)
    await until('the oks', () => [segment(1), segment(2), '00000002.history'].every(ok))
    expect(pushed.map(({ name }) => name)).toEqual(['00000002.history', segment(1), segment(2)])
    archived('00000002.history')
    await until('a tidy spool', () => !ok('00000002.history'))
    ready(segment(3))
    await until('the next', () => ok(segment(3)))
    expect(ok(segment(1))).toBe(true)
  })

  test('writes .ok when every repository has the file, and otherwise .error with the failing repository', async () => {
    ready(segment(1))
    let broken = true
    const { pushed } = begin(() => (broken ? { stored: [1], failures: [failure(2)] } : undefined))
    await until('an error', () => errorOf(segment(1)) !== undefined)
    expect(ok(segment(1))).toBe(false)
    expect(errorOf(segment(1))).toMatch(
      /^104\nWAL file \S+ could not be stored in every repository:\nrepo2: \[049\] it is gone\nHINT: look/,
    )
    expect(readPushStatus(spool)).toMatchObject({
      lastFailure: { file: segment(1), code: 104 },
      repositories: [{ key: 1 }, { key: 2, trouble: { message: 'it is gone' } }],
    })
    broken = false
    await until('the ok', () => ok(segment(1)))
    expect(errorOf(segment(1))).toBeUndefined()
    // Files that repo1 has are not pushed there again.
    expect(pushed.slice(1).every(({ keys }) => keys.join() === '2')).toBe(true)
    expect(log.lines.join('\n')).toContain('repo2 accepts WAL again')
  })

  test('stores WAL in working repositories while another one fails, and tests that one with one file', async () => {
    const names = segments(1, 40)
    ready(...names)
    let broken = true
    const { pushed } = begin(({ keys }) =>
      broken && keys.includes(2) ? { stored: keys.filter((key) => key === 1), failures: [failure(2)] } : undefined,
    )
    await until(
      'all files in repo1',
      () => new Set(pushed.filter(({ keys }) => keys.includes(1)).map(({ name }) => name)).size === 40,
    )
    expect(names.some(ok)).toBe(false)
    // Two workers may have been pushing to repo2 when it failed.
    const tries = () => pushed.filter(({ keys }) => keys.includes(2)).length
    expect(tries()).toBeLessThan(8)
    broken = false
    await until('all oks', () => names.every(ok))
  })

  test('retries at once when a call waits', async () => {
    ready(segment(1))
    let tries = 0
    begin(() => (++tries < 8 ? { stored: [], failures: [failure(1), failure(2)] } : undefined))
    // Without a waiting call eight attempts take half a minute.
    const asking = setInterval(() => writeFileSync(join(spool.own, 'wake-push'), ''), 100)
    await until('the ok', () => ok(segment(1))).finally(() => clearInterval(asking))
  })

  test('pushes other files while one cannot be archived', async () => {
    ready(...segments(1, 5))
    begin(({ name }) =>
      name === segment(1) ? { stored: [], refused: toPlainError(new PgtsError('format', 'it is torn')) } : undefined,
    )
    await until('the others', () => segments(2, 5).every(ok))
    expect(errorOf(segment(1))).toBe('29\nit is torn')
  })

  test('fails a push that hangs, with an error that names the repository', async () => {
    ready(segment(1))
    let first = true
    const { pushed } = begin(
      async (_, signal) => {
        if (!first) return undefined
        first = false
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        throw signal.reason
      },
      { timeoutMs: 1000 },
    )
    await until('an error', () => errorOf(segment(1)) !== undefined)
    expect(errorOf(segment(1))).toMatch(/^82\n/)
    await until('the ok', () => ok(segment(1)))
    expect(pushed).toHaveLength(2)
  })

  test('drops the whole queue when it is too long, and ignores a push that ends later', async () => {
    let release = () => undefined as void
    const held = new Promise<void>((resolve) => (release = resolve))
    ready(...segments(1, 7))
    begin(() => held.then(() => undefined), { queueMaxBytes: 8 * 1024 })
    await until('a warning', () => log.lines.some((line) => line.includes('wait to be archived, 87%')))
    ready(...segments(8, 9))
    await until('the queue to be dropped', () => segments(1, 9).every(ok))
    for (const name of segments(1, 9)) {
      expect(readFileSync(join(spool.out, `${name}.ok`), 'utf8')).toBe(
        `0\ndropped WAL file '${name}' because archive queue exceeded 8KiB`,
      )
    }
    const before = readFileSync(join(spool.out, `${segment(1)}.ok`), 'utf8')
    release()
    ready(segment(10))
    await until('a later file', () => ok(segment(10)))
    expect(readFileSync(join(spool.out, `${segment(1)}.ok`), 'utf8')).toBe(before)
    expect(readPushStatus(spool)).toMatchObject({ dropped: { files: 9 } })
    // PostgreSQL gets the warning with the next pushed file.
    expect(readFileSync(join(spool.out, `${segment(10)}.ok`), 'utf8')).toContain('87% of archive-push-queue-max')
  })

  test('continues when the spool is unwritable, and writes the status when it is writable again', async () => {
    ready(segment(1))
    begin(() => {
      if (existsSync(spool.own)) renameSync(spool.own, `${spool.own}.away`)
      return undefined
    })
    await until('a warning', () => log.lines.some((line) => line.includes('to the spool: ')))
    expect(ok(segment(1))).toBe(false)
    renameSync(`${spool.own}.away`, spool.own)
    await until('the ok', () => ok(segment(1)))
  })

  test('removes status files of an earlier process, except each .ok with the time of its file', async () => {
    ready(segment(1), segment(2))
    writeFileSync(join(spool.out, `${segment(1)}.ok`), '')
    utimesSync(join(spool.out, `${segment(1)}.ok`), 1, 1)
    writeFileSync(join(spool.out, `${segment(2)}.error`), '29\nold')
    writeFileSync(join(spool.out, `${segment(9)}.ok`), '')
    writeFileSync(join(spool.out, 'global.error'), '29\nold')
    const { pushed } = begin(() => undefined)
    await until('both', () => ok(segment(1)) && ok(segment(2)))
    expect(pushed.map(({ name }) => name).sort()).toEqual([segment(1), segment(2)])
    expect(readdirSync(spool.out).sort()).toEqual([`${segment(1)}.ok`, `${segment(2)}.ok`])
  })

  test('holds the archive lock only while files wait, and waits for the lock', async () => {
    let held = 0
    let free = false
    const lock = async () => {
      if (!free) throw new PgtsError('lock-acquire', 'pgbackrest has it')
      held++
      return {
        async [Symbol.asyncDispose]() {
          held--
        },
      }
    }
    ready(segment(1))
    begin(() => undefined, { lock })
    await until('it to be blocked', () => readPushStatus(spool)?.state === 'blocked')
    expect(readPushStatus(spool)?.why).toContain('pgbackrest has it')
    free = true
    await until('the ok', () => ok(segment(1)))
    await until('the lock to be free', () => held === 0)
  })

  test('holds no archive lock while every repository is in its pause after a failure', async () => {
    let held = 0
    const lock = async () => {
      held++
      return {
        async [Symbol.asyncDispose]() {
          held--
        },
      }
    }
    let broken = true
    ready(segment(1))
    begin(() => (broken ? { stored: [], failures: [failure(1), failure(2)] } : undefined), { lock })
    await until('its error', () => errorOf(segment(1)) !== undefined)
    await until('the lock to be free', () => held === 0)
    expect(ok(segment(1))).toBe(false)
    broken = false
    await until('the ok', () => ok(segment(1)))
  })

  test('reads the queue again after archive-push-batch-size', async () => {
    ready(...segments(1, 6))
    begin(() => undefined, { batchBytes: 2048 }, 1)
    await until('all', () => segments(1, 6).every(ok))
  })

  test('ends for a given reason after the pushes in flight', async () => {
    let reason: string | undefined
    ready(...segments(1, 5))
    const { pushed } = begin(
      () => {
        reason = 'the configuration has changed'
        return undefined
      },
      { endReason: () => reason },
      1,
    )
    expect(await running).toBe('the configuration has changed')
    // The worker may have started a second file before the check.
    expect(pushed.length).toBeLessThan(3)
    for (const { name } of pushed) expect(ok(name)).toBe(true)
    expect(readPushStatus(spool)).toMatchObject({ state: 'ended', why: 'the configuration has changed' })
  })

  test('ends when the queue is empty and no server is running', async () => {
    ready(segment(1))
    begin(() => undefined, { endWhenEmpty: true })
    expect(await running).toContain('nothing is left')
    expect(ok(segment(1))).toBe(true)
  })
})

test('queueLevel is over only beyond the limit, and stays at warning until half of the limit', () => {
  const lengths = [0, 74, 75, 100, 80, 50, 49, 75, 101]
  let level = queueLevel(0, 100, 'calm')
  expect(lengths.map((bytes) => (level = queueLevel(bytes, 100, level)))).toEqual([
    'calm',
    'calm',
    'warning',
    'warning',
    'warning',
    'warning',
    'calm',
    'warning',
    'over',
  ])
  expect(new QueueLimit(undefined).measured({ waiting: [segment(1)], waitingBytes: 2 ** 50 })).toEqual([])
})

test('RepositoryHealth pauses a failing repository longer each time, and shortens the pause for a waiting call', () => {
  const health = new RepositoryHealth(() => 1)
  const error = new PgtsError('host-connect', 'gone')
  health.failed(1, error, 1000)
  expect([health.accepts(1, 1499), health.accepts(1, 1500), health.accepts(2, 0)]).toEqual([false, true, true])
  health.started(1)
  expect(health.accepts(1, 1500)).toBe(false)
  health.failed(1, error, 2000)
  expect([health.accepts(1, 2999), health.accepts(1, 3000)]).toEqual([false, true])
  for (let nowMs = 3000, i = 0; i < 20; i++, nowMs += 100_000) {
    health.started(1)
    health.failed(1, error, nowMs)
    expect(health.accepts(1, nowMs + 30_000)).toBe(true)
  }
  const lastTryMs = health.outageOf(1)?.lastTryMs ?? 0
  health.hurry(lastTryMs + 10)
  expect([health.accepts(1, lastTryMs + 499), health.accepts(1, lastTryMs + 500)]).toEqual([false, true])
  health.worked(1)
  expect(health.accepts(1, 0)).toBe(true)
})
