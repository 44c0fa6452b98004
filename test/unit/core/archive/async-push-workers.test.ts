import { execFileSync } from 'node:child_process'
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { pushInBackground, type PushBackgroundRequest } from '../../../../src/core/archive/push/background.ts'
import { readPushStatus } from '../../../../src/core/archive/status/push-status.ts'
import { Watchdog } from '../../../../src/core/archive/push/watchdog.ts'
import { prepareSpool, spoolPaths, type SpoolPaths } from '../../../../src/core/archive/spool/spool-files.ts'
import type { jobHandlers } from '../../../../src/core/jobs.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import { PgtsError } from '../../../../src/util/error.ts'
import type { Executor } from '../../../../src/worker/executor.ts'
import { threadExecutor } from '../../../../src/worker/threads.ts'
import { segment, segments } from '../../../support/builders/repository.ts'
import { until } from '../../../support/until.ts'
import { recordingLog } from '../../../support/builders/wal.ts'

/** The loop of the background process and real worker threads: who gets which file when, and that none is forgotten. */
let root: string
let entry: URL
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pgts-push-workers-'))
  const outfile = join(root, 'entry.mjs')
  await build({
    entryPoints: [fileURLToPath(new URL('../../../support/workers/push-worker-entry.ts', import.meta.url))],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
  })
  entry = pathToFileURL(outfile)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

let spool: SpoolPaths
let wal: string
let sequence = 0
let log = recordingLog()
let controller = new AbortController()
let running: Promise<unknown> = Promise.resolve()
let executor: Executor<typeof jobHandlers> | undefined
beforeEach(() => {
  spool = spoolPaths(join(root, `spool${++sequence}`), 'main')
  prepareSpool(spool)
  wal = join(root, `wal${sequence}`)
  mkdirSync(join(wal, 'archive_status'), { recursive: true })
  log = recordingLog()
  controller = new AbortController()
})
afterEach(async () => {
  vi.useRealTimers()
  controller.abort(new PgtsError('term', 'the test is over'))
  await running.catch(() => undefined)
  await executor?.[Symbol.asyncDispose]()
  executor = undefined
})

function begin(options: Partial<PushBackgroundRequest> = {}, workers = 2): void {
  executor ??= threadExecutor<typeof jobHandlers>({ workers, tidyMs: 100, setup: {}, entry })
  running = pushInBackground({
    spool,
    walPath: wal,
    repoKeys: [1],
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
}

function ready(...names: string[]): void {
  for (const name of names) {
    writeFileSync(join(wal, name), Buffer.alloc(1024))
    writeFileSync(join(wal, 'archive_status', `${name}.ready`), '')
  }
}

/** PostgreSQL has the file archived: by an `.ok`, or by a call that pushed the file itself. */
const archived = (name: string) =>
  renameSync(join(wal, 'archive_status', `${name}.ready`), join(wal, 'archive_status', `${name}.done`))
const hold = (name: string) => writeFileSync(join(wal, `${name}.hold`), '')
const release = (name: string) => rmSync(join(wal, `${name}.hold`))
const ok = (name: string) => existsSync(join(spool.out, `${name}.ok`))
const errorOf = (name: string) =>
  existsSync(join(spool.out, `${name}.error`)) ? readFileSync(join(spool.out, `${name}.error`), 'utf8') : undefined
const details = () => `${JSON.stringify(readPushStatus(spool))}\n${log.lines.join('\n')}`
const waitFor = (what: string, test: () => boolean) => until(what, test, { deadlineMs: 15_000, details })
const inHand = () => readPushStatus(spool)?.inHand.map(({ file }) => file) ?? []

test.each([1, 2])('files that PostgreSQL no longer wants occupy no worker, with %d worker(s)', async (workers) => {
  begin({}, workers)
  for (let round = 0; round < 3; round++) {
    // As with a full spool: the calls do not see the result of this process and push the files themselves.
    const held = segments(round * 10 + 1, round * 10 + workers)
    const others = segments(round * 10 + 5, round * 10 + 8)
    held.forEach(hold)
    ready(...held, ...others)
    await waitFor('files in flight', () => held.every((name) => inHand().includes(name)))
    others.forEach(archived)
    await waitFor('the others to be gone', () => readPushStatus(spool)?.queue.files === workers)
    held.forEach(release)
    await waitFor(`the files of round ${round}`, () => held.every(ok))
    held.forEach(archived)
  }
})

test('acknowledges every file of a storm when the spool is temporarily unwritable', async () => {
  begin()
  const names = segments(1, 80)
  const warnings = () => log.lines.filter((line) => line.includes('to the spool: ')).length
  for (let first = 0; first < names.length; first += 20) {
    const some = names.slice(first, first + 20)
    const before = warnings()
    renameSync(spool.own, `${spool.own}.away`)
    ready(...some)
    await waitFor('a warning about the spool', () => warnings() > before)
    // Calls push files themselves that have no status in the spool.
    for (const name of some.slice(0, 3)) archived(name)
    renameSync(`${spool.own}.away`, spool.own)
    await waitFor('all that PostgreSQL waits for', () => some.slice(3).every(ok))
  }
})

test('a hanging worker fails its file at the deadline, and the next files get another worker', async () => {
  begin({ timeoutMs: 2000 }, 1)
  // The worker is started first, so that it reaches the pipe before the deadline.
  ready(segment(1))
  await waitFor('the worker', () => ok(segment(1)))
  const pipe = join(wal, `${segment(2)}.pipe`)
  execFileSync('mkfifo', [pipe])
  try {
    ready(...segments(2, 5))
    await waitFor('its error', () => errorOf(segment(2)) !== undefined)
    renameSync(pipe, join(root, 'pipe'))
    expect(errorOf(segment(2))).toMatch(/^82\n/)
    // The hanging worker had only its own file.
    expect(segments(3, 5).map(errorOf)).toEqual([undefined, undefined, undefined])
    await waitFor('all of them', () => segments(2, 5).every(ok))
  } finally {
    // Ends the thread, which would keep this process alive; fails if no thread has opened the pipe.
    closeSync(openSync(join(root, 'pipe'), constants.O_WRONLY | constants.O_NONBLOCK))
  }
})

test('ends with an error when files wait and no worker takes one', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const never = new Promise<never>(() => undefined)
  executor = {
    workers: 2,
    warm: () => undefined,
    expect: () => undefined,
    async *run() {
      await never
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
  ready(segment(1))
  begin()
  await waitFor('the file to be seen', () => readPushStatus(spool)?.queue.files === 1)
  vi.advanceTimersByTime(59_000)
  expect(readPushStatus(spool)).toMatchObject({ state: 'working' })
  vi.advanceTimersByTime(5000)
  await expect(running).rejects.toMatchObject({
    code: 'assert',
    message: expect.stringContaining('no worker takes one'),
  })
  expect(readPushStatus(spool)).toMatchObject({ state: 'ended', why: expect.stringContaining('no worker takes one') })
  // Another process continues.
  vi.useRealTimers()
  executor = undefined
  begin()
  await waitFor('the ok', () => ok(segment(1)))
})

test('the watchdog reports no stall while the loop runs and workers have files', () => {
  const looks = (watchdog: Watchdog, count: number, look: (turns: number) => Parameters<Watchdog['observe']>[0]) =>
    Array.from({ length: count }, (_, turns) => watchdog.observe(look(turns))).filter((error) => error !== undefined)
  expect(looks(new Watchdog(), 500, (turns) => ({ turns, running: 1, waits: true }))).toEqual([])
  expect(looks(new Watchdog(), 500, (turns) => ({ turns, running: 0, waits: false }))).toEqual([])
  expect(looks(new Watchdog(), 500, (turns) => ({ turns, running: turns % 50 === 0 ? 1 : 0, waits: true }))).toEqual([])
  expect(looks(new Watchdog(), 500, (turns) => ({ turns: turns >> 4, running: 0, waits: false }))).toEqual([])
  const [still] = looks(new Watchdog(), 62, () => ({ turns: 7, running: 1, waits: false }))
  expect(still).toMatchObject({ code: 'assert', message: expect.stringContaining('loop does not run') })
})
