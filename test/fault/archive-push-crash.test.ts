import * as fs from 'node:fs'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { pushInBackground } from '../../src/core/archive/push/background.ts'
import type { PushJob, PushJobResult } from '../../src/core/archive/push/push-job.ts'
import { pushToEach } from '../../src/core/archive/push/push-wal.ts'
import {
  isAbout,
  prepareSpool,
  readSpoolOutcome,
  spoolPaths,
  type SpoolPaths,
} from '../../src/core/archive/spool/spool-files.ts'
import type { jobHandlers } from '../../src/core/jobs.ts'
import { serveRequests } from '../../src/core/archive/resident/requests.ts'
import { createStanza } from '../../src/core/stanza/create.ts'
import { localFiles } from '../../src/postgres/local-files.ts'
import type { StorageDriver } from '../../src/storage/driver.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { asBytes, bytes, textToBytes } from '../../src/util/byte-string.ts'
import { systemClock } from '../../src/util/clock.ts'
import { toPlainError } from '../../src/util/error.ts'
import { silentLogger } from '../../src/util/log.ts'
import type { Executor } from '../../src/worker/executor.ts'
import { Crash, crashing, type FaultyDriver } from '../support/faults/faulty-driver.ts'
import { until } from '../support/until.ts'
import { aSegment, aSystemId, sha1 } from '../support/builders/wal.ts'
import { repositoryWith } from '../support/builders/repository.ts'

/** Steps on files of the spool: the process may be killed before each. */
const spoolSteps = vi.hoisted(() => ({ at: Infinity, count: 0, armed: false, dead: false }))

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>()
  const step = <T extends (...args: never[]) => unknown>(name: string, call: T): T =>
    ((...args: Parameters<T>) => {
      const [, flags] = args as readonly unknown[]
      // A file that is only read is the same afterwards.
      const reads = name === 'open' && typeof flags === 'number' && (flags & 3) === real.constants.O_RDONLY
      const counts =
        spoolSteps.armed &&
        !reads &&
        args.some((arg: unknown) => /\/out\/\w+\.(ok|error)$|\/pgts\/\d+-\d+\.tmp$/.test(String(arg)))
      if (counts && (spoolSteps.dead || spoolSteps.count++ === spoolSteps.at)) {
        spoolSteps.dead = true
        throw new Error(`crash before ${name}`)
      }
      return call(...args)
    }) as unknown as T
  return {
    ...real,
    unlinkSync: step('unlink', real.unlinkSync as never),
    writeFileSync: step('write', real.writeFileSync as never),
    openSync: step('open', real.openSync as never),
    renameSync: step('rename', real.renameSync as never),
  }
})

const real = await vi.importActual<typeof fs>('node:fs')
const NAME = '000000010000000000000001'
const root = mkdtempSync(join(tmpdir(), 'pgts-push-crash-'))
afterAll(() => real.rmSync(root, { recursive: true, force: true }))

let sequence = 0
let spool: SpoolPaths
let wal: string
let repos: string[]
let content: Buffer
const signal = new AbortController().signal

beforeEach(async () => {
  Object.assign(spoolSteps, { at: Infinity, count: 0, armed: false, dead: false })
  await fresh()
})

async function fresh(): Promise<void> {
  const dir = join(root, String(++sequence))
  spool = spoolPaths(join(dir, 'spool'), 'main')
  prepareSpool(spool)
  wal = join(dir, 'pg_wal')
  real.mkdirSync(join(wal, 'archive_status'), { recursive: true })
  content = aSegment()
  real.writeFileSync(join(wal, NAME), content)
  real.writeFileSync(join(wal, 'archive_status', `${NAME}.ready`), '')
  repos = ['repo1', 'repo2'].map((name) => join(dir, name))
  for (const [index, path] of repos.entries()) {
    real.mkdirSync(path)
    const cluster = { systemId: aSystemId, version: '15', controlVersion: 1300, catalogVersion: 202209061 }
    await createStanza(repositoryWith(posixStorage(path), { key: index + 1 }), 'main', cluster, {
      signal,
      log: silentLogger,
    })
  }
}

interface Life {
  /** It was killed at a step in a repository. */
  died(): boolean
  /** Does PostgreSQL receive success? */
  isAcknowledged(): boolean
  /** Ends it like a kill: nothing is cleaned up. */
  end(): Promise<void>
}

/** One run of the resident process, and a launcher that asks it. */
function resident(drivers: readonly StorageDriver[]): Life {
  const controller = new AbortController()
  let dead = false
  const directory = bytes`${spool.own}/resident-push-key`
  const request = bytes`${directory}/${asBytes(NAME)}.${textToBytes(String(process.pid))}`
  real.rmSync(directory, { recursive: true, force: true })
  real.mkdirSync(directory, { mode: 0o700 })
  real.writeFileSync(request, '')
  const running = serveRequests({
    directory,
    async handle(_, call) {
      const repositories = drivers.map((driver, index) => repositoryWith(driver, { key: index + 1 }))
      const path = textToBytes(join(wal, NAME))
      const { failures } = await pushToEach({
        ...JOB,
        path,
        files: localFiles(),
        repositories,
        log: silentLogger,
        signal,
      })
      if (failures.entries().some(({ error }) => error instanceof Crash)) {
        dead = true
        await new Promise((resolve) => call.signal.addEventListener('abort', resolve))
      }
      if (failures.count > 0) throw new Error('not stored in every repository')
      return 'done'
    },
    endReason: () => undefined,
    idleMs: 60_000,
    onEnd: () => undefined,
    clock: systemClock,
    log: silentLogger,
    signal: controller.signal,
  }).catch(() => undefined)
  return {
    died: () => dead,
    isAcknowledged: () => real.existsSync(`${request}.done`),
    async end() {
      controller.abort(new Error('killed'))
      await running
    },
  }
}

const JOB = {
  stanza: 'main',
  identity: { systemId: aSystemId, version: '15' },
  compression: { type: 'none', level: 0 },
  headerCheck: true,
  warnWhenArchived: false,
} as const

/** One run of the background process on these repositories. */
function live(drivers: readonly StorageDriver[]): Life {
  const controller = new AbortController()
  let dead = false
  const executor = {
    workers: 1,
    async *run(_: string, jobs: Iterable<PushJob>) {
      for (const job of jobs) {
        const { mtimeNs } = real.statSync(job.path, { bigint: true })
        const repositories = job.repoKeys.map((key) => repositoryWith(drivers[key - 1]!, { key }))
        const files = localFiles()
        const { report, failures } = await pushToEach({ ...job, files, repositories, log: silentLogger, signal })
        // Killed before its end: the result is not reported.
        if (failures.entries().some(({ error }) => error instanceof Crash)) {
          dead = true
          await new Promise((resolve) => controller.signal.addEventListener('abort', resolve))
        }
        const result: PushJobResult = {
          stored: report.repositories.map(({ repoKey }) => repoKey),
          failures: failures.entries().map(({ key, error }) => ({ repoKey: key, error: toPlainError(error) })),
          sizeBytes: report.sizeBytes,
          mtimeNs,
          warnings: [],
        }
        // From here on its files in the spool are the answer.
        spoolSteps.armed = true
        yield { job, result, worker: 1 }
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  } as unknown as Executor<typeof jobHandlers>
  const running = pushInBackground({
    spool,
    walPath: wal,
    repoKeys: [1, 2],
    job: JOB,
    executor,
    queueMaxBytes: undefined,
    batchBytes: 2 ** 34,
    timeoutMs: 60_000,
    endWhenEmpty: false,
    lockPath: spool.own,
    lock: async () => ({ [Symbol.asyncDispose]: async () => undefined }),
    endReason: () => undefined,
    clock: systemClock,
    log: silentLogger,
    signal: controller.signal,
  }).catch(() => undefined)
  return {
    died: () => dead,
    isAcknowledged,
    async end() {
      controller.abort(new Error('killed'))
      await running
    },
  }
}

/** Do the foreground process and the launcher accept the `.ok`? */
function isAcknowledged(): boolean {
  const { mtimeNs } = real.statSync(join(wal, NAME), { bigint: true })
  return isAbout(readSpoolOutcome(spool.out, NAME), mtimeNs)
}

/** Complete copies of the segment under its name in each repository; any other file there is an error. */
function copies(): number[] {
  return repos.map((repo) => {
    const dir = join(repo, 'archive/main/15-1/0000000100000000')
    const names = real.existsSync(dir) ? real.readdirSync(dir).filter((name) => !name.includes('.tmp')) : []
    for (const name of names) {
      expect(name).toBe(`${NAME}-${sha1(content)}`)
      expect(real.readFileSync(join(dir, name)).equals(content)).toBe(true)
    }
    return names.length
  })
}

async function expectRecovery(begin: (drivers: readonly StorageDriver[]) => Life): Promise<void> {
  const second = begin(repos.map((path) => posixStorage(path)))
  await until('success of the next process', () => second.isAcknowledged())
  expect(copies()).toEqual([1, 1])
  await second.end()
}

const LIVES = [
  { who: 'background process', begin: live },
  { who: 'resident process', begin: resident },
]
const CASES = LIVES.flatMap((one) => ['repo1', 'repo2', 'both'].map((where) => ({ ...one, where })))

describe('a killed process leaves no false success', { timeout: 60_000 }, () => {
  test.each(CASES)('when a $who is killed before each step in $where', async ({ begin, where }) => {
    const crashes = (key: number, at: number): StorageDriver => {
      const driver = posixStorage(repos[key - 1]!)
      return where === 'both' || where === `repo${key}` ? crashing(driver, at) : driver
    }
    let killed = 0
    for (let at = 0; ; at++) {
      if (at > 0) await fresh()
      const drivers = [crashes(1, at), crashes(2, at)]
      const life = begin(drivers)
      await until('the crash or the end', () => life.died() || life.isAcknowledged())
      const reached = drivers.some((driver) => (driver as Partial<FaultyDriver>).reached === true)
      const said = life.isAcknowledged()
      await life.end()
      if (!reached) {
        expect(said).toBe(true)
        break
      }
      killed++
      expect(said).toBe(false)
      expect(copies()).not.toEqual([2, 2])
      await expectRecovery(begin)
    }
    // create, write and commit at least.
    expect(killed).toBeGreaterThanOrEqual(3)
  })

  test('when a background process is killed before each step in the spool', async () => {
    let killed = 0
    for (let at = 0; ; at++) {
      if (at > 0) await fresh()
      Object.assign(spoolSteps, { at, count: 0, armed: false, dead: false })
      const life = live(repos.map((path) => posixStorage(path)))
      await until('the crash or the end', () => spoolSteps.dead || isAcknowledged())
      // Stored everywhere, and interrupted while writing the `.ok`: it must be absent or right.
      expect(copies()).toEqual([1, 1])
      const said = isAcknowledged()
      if (!said) expect(real.readdirSync(spool.out).filter((name) => name.endsWith('.ok'))).toEqual([])
      await life.end()
      Object.assign(spoolSteps, { at: Infinity, armed: false, dead: false })
      await expectRecovery(live)
      if (said) break
      killed++
    }
    // unlink of the error, write, open to set the time, rename
    expect(killed).toBeGreaterThanOrEqual(4)
  })
})
