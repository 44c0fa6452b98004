import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { CopyFilesJob } from '../../../../src/core/backup/copy-job.ts'
import { jobHandlers } from '../../../../src/core/jobs.ts'
import { ForwardedJobs } from '../../../../src/core/serve/forward-jobs.ts'
import { SpreadJobs } from '../../../../src/core/serve/spread-jobs.ts'
import { jobService, type JobService } from '../../../../src/core/serve/run-jobs.ts'
import { openWorkerEnv } from '../../../../src/core/worker-env.ts'
import type { Connection } from '../../../../src/remote/connection.ts'
import { socketChannel } from '../../../../src/remote/channel.ts'
import { accept, connect } from '../../../../src/remote/connect.ts'
import { onCall } from '../../../../src/remote/handlers.ts'
import { backupFileVerb, jobSetupVerb } from '../../../../src/core/serve/job-verbs.ts'
import { deferred } from '../../../support/remote/connection-pair.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { RemoteStorage } from '../../../../src/storage/remote/driver.ts'
import { memoryStorage, type MemoryStorage } from '../../../../src/storage/memory.ts'
import { forwarding } from '../../../../src/storage/wrappers.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import { asBytes } from '../../../../src/util/byte-string.ts'
import { PgtsError } from '../../../../src/util/error.ts'
import { silentLogger } from '../../../../src/util/log.ts'
import { inlineExecutor } from '../../../../src/worker/inline.ts'

// A cluster on "another host": both ends of the connection are in this process, the jobs run on this thread.

const dir = mkdtempSync(join(tmpdir(), 'pgts-forward-'))
afterAll(() => rmSync(dir, { recursive: true }))
const LABEL = 'backup/main/20260102-030405F'
const limits = { ioTimeoutMs: 10_000, protocolTimeoutMs: 60_000 }
const { signal } = new AbortController()

afterEach(() => void vi.useRealTimers())

let repository: MemoryStorage
let served: StorageDriver
beforeEach(() => {
  repository = memoryStorage()
  served = repository
})

/** One connection, and the jobs at its other end. */
async function pair(): Promise<{ near: Connection; far: Connection; jobs: JobService }> {
  const [a, b] = duplexPair()
  const hints = { host: 'db1', hostCommandOption: 'pg1-host-cmd' }
  const [near, far] = await Promise.all([
    connect(socketChannel(a, "remote-1 ssh protocol on 'db1'"), { ...limits, ...hints }),
    accept(socketChannel(b, 'client'), limits),
  ])
  const setup = { repositories: [], cluster: { kind: 'local' }, bufferBytes: 64 * 1024, lanes: 4 } as const
  const jobs = jobService(far, {
    openExecutor: async (opened) =>
      inlineExecutor(jobHandlers, () => openWorkerEnv(setup, silentLogger, new Map([[1, opened]]))),
    assertPath: (path) => {
      if (!path.startsWith(`${dir}/`)) throw new PgtsError('access', 'outside of the data directory')
    },
  })
  far.serve(jobs.handlers)
  return { near, far, jobs }
}

function forwardedOver(...connections: Connection[]): ForwardedJobs {
  return new ForwardedJobs({
    connect: async () => connections.shift() ?? Promise.reject(new PgtsError('host-connect', 'no more connections')),
    repository: async () => ({ key: 1, display: 'repo1', storage: served }),
    lanes: 4,
    bufferBytes: 64 * 1024,
  })
}

function aJob(...names: string[]): CopyFilesJob {
  mkdirSync(dir, { recursive: true })
  return {
    repoKey: 1,
    files: names.map((name, index) => {
      const content = contentOf(name)
      writeFileSync(join(dir, name), content)
      return {
        index,
        name: asBytes(`pg_data/${name}`),
        pgName: `${dir}/${name}`,
        repoName: `${LABEL}/pg_data/${name}.gz`,
        sizeBytes: content.length,
        sizeLimited: true,
        control: false,
      }
    }),
    compression: { type: 'gz', level: 1 },
    pages: { size: 8192, headerCheck: true },
  }
}

/** More than the credit of a stream, and it differs for each name. */
const contentOf = (name: string) => Buffer.alloc(3_000_000, createHash('sha512').update(name).digest())

const stored = (name: string) => gunzipSync(repository.files.get(`${LABEL}/pg_data/${name}.gz`)!.bytes)

test('jobs read the cluster at the other end and store in the repository of this end', async () => {
  const { near, jobs } = await pair()
  await using forwarded = forwardedOver(near)
  const names = ['1', '2', '3', '4']
  const results = await Promise.all(names.map((name) => forwarded.backupFiles(aJob(name), signal)))
  for (const [i, name] of names.entries()) {
    const content = contentOf(name)
    expect(stored(name).equals(content)).toBe(true)
    expect(results[i]).toMatchObject([
      { outcome: 'copied', sizeBytes: 3_000_000, checksum: createHash('sha1').update(content).digest('hex') },
    ])
  }
  await forwarded[Symbol.asyncDispose]()
  await jobs[Symbol.asyncDispose]()
})

test('a job that names a file outside of the data directory is refused', async () => {
  const { near } = await pair()
  await using forwarded = forwardedOver(near)
  const job = aJob('1')
  const outside = { ...job, files: [{ ...job.files[0]!, pgName: '/etc/passwd' }] }
  await expect(forwarded.backupFiles(outside, signal)).rejects.toMatchObject({ code: 'access' })
  expect(repository.files.size).toBe(0)
})

test('an aborted job ends with its reason and leaves no file', async () => {
  const { near } = await pair()
  const stop = new AbortController()
  const reason = new PgtsError('term', 'terminated on signal SIGTERM')
  served = forwarding(repository, {
    create: async (name, options) => {
      stop.abort(reason)
      return repository.create(name, options)
    },
  })
  await using forwarded = forwardedOver(near)
  await expect(forwarded.backupFiles(aJob('1'), stop.signal)).rejects.toBe(reason)
  expect(repository.files.size).toBe(0)
})

test('an aborted job ends its connection if the other end does not answer', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const [a, b] = duplexPair()
  const [near, far] = await Promise.all([
    connect(socketChannel(a, 'remote-1'), { ...limits, host: 'db1', hostCommandOption: 'pg1-host-cmd' }),
    accept(socketChannel(b, 'client'), limits),
  ])
  const started = deferred()
  far.serve([
    onCall(jobSetupVerb, async () => ({})),
    onCall(backupFileVerb, () => {
      started.resolve()
      return new Promise(() => undefined)
    }),
  ])
  const forwarded = forwardedOver(near)
  const stop = new AbortController()
  const job = expect(forwarded.backupFiles(aJob('1'), stop.signal)).rejects.toMatchObject({ code: 'host-connect' })
  await started.promise
  stop.abort(new PgtsError('term', 'terminated on signal SIGTERM'))
  await vi.advanceTimersByTimeAsync(10_000)
  await job
  expect(near.signal.aborted).toBe(true)
})

test('jobs are spread over as many connections as are worth the work', async () => {
  const pairs = [await pair(), await pair(), await pair()]
  const opened: number[] = []
  const routes = pairs.map(
    ({ near }, number) =>
      new ForwardedJobs({
        connect: async () => {
          opened.push(number)
          return near
        },
        repository: async () => ({ key: 1, display: 'repo1', storage: served }),
        lanes: 4,
        bufferBytes: 64 * 1024,
      }),
  )
  let inUse = 1
  await using spread = new SpreadJobs(routes, () => inUse)
  await Promise.all([spread.backupFiles(aJob('1'), signal), spread.backupFiles(aJob('2'), signal)])
  expect(opened).toEqual([0])
  inUse = 2
  await Promise.all([spread.backupFiles(aJob('3'), signal), spread.backupFiles(aJob('4'), signal)])
  expect(opened).toEqual([0, 1])
  for (const name of ['1', '2', '3', '4']) expect(stored(name).equals(contentOf(name))).toBe(true)
})

test('a job over a lost connection fails, leaves no file, and succeeds over the next connection', async () => {
  const [first, second] = [await pair(), await pair()]
  served = forwarding(repository, {
    create: async (name, options) => {
      served = repository
      void first.far.bye('the test ends it')
      return repository.create(name, options)
    },
  })
  await using forwarded = forwardedOver(first.near, second.near)
  const job = aJob('1')
  await expect(forwarded.backupFiles(job, signal)).rejects.toMatchObject({ code: 'host-connect' })
  expect(repository.files.size).toBe(0)
  expect(await forwarded.backupFiles(job, signal)).toMatchObject([{ outcome: 'copied' }])
  expect(stored('1').equals(contentOf('1'))).toBe(true)
})

test('a connection that was prepared is used by the first job', async () => {
  const { near } = await pair()
  let opened = 0
  const options = {
    repository: async () => ({ key: 1, display: 'repo1', storage: served }),
    lanes: 4,
    bufferBytes: 64 * 1024,
  }
  await using forwarded = new ForwardedJobs({
    ...options,
    connect: async () => {
      opened++
      return near
    },
  })
  forwarded.prepare(1)
  await new Promise(setImmediate)
  expect(opened).toBe(1)
  expect(await forwarded.backupFiles(aJob('one'), signal)).toMatchObject([{ outcome: 'copied' }])
  expect(opened).toBe(1)
})

test('a job connects if the connection could not be prepared', async () => {
  const { near } = await pair()
  const connections = [Promise.reject(new PgtsError('host-connect', 'refused')), Promise.resolve(near)]
  await using forwarded = new ForwardedJobs({
    connect: () => connections.shift()!,
    repository: async () => ({ key: 1, display: 'repo1', storage: served }),
    lanes: 4,
    bufferBytes: 64 * 1024,
  })
  forwarded.prepare(1)
  await new Promise(setImmediate)
  expect(await forwarded.backupFiles(aJob('one'), signal)).toMatchObject([{ outcome: 'copied' }])
})

test('the other end cannot store files that no job names', async () => {
  const { near, far } = await pair()
  await using forwarded = forwardedOver(near)
  await forwarded.backupFiles(aJob('1'), signal)
  await using storage = new RemoteStorage(far, 'x', { host: 'x', display: 'x', members: [] })
  await expect(putFile(storage, 'backup/main/backup.info', Buffer.from('forged'))).rejects.toMatchObject({
    code: 'access',
  })
  await expect(storage.read(`${LABEL}/pg_data/1.gz`)).rejects.toMatchObject({ code: 'access' })
  expect([...repository.files.keys()]).toEqual([`${LABEL}/pg_data/1.gz`])
})
