import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { SegmentIndex } from '../../../src/core/archive/get/segment-index.ts'
import type { FetchSegmentJob } from '../../../src/core/archive/get/fetch-copy.ts'
import { type PushJob, WaitingOn } from '../../../src/core/archive/push/push-job.ts'
import { loadArchiveInfo } from '../../../src/core/archive-info-store.ts'
import type { jobHandlers } from '../../../src/core/jobs.ts'
import { openRepository } from '../../../src/core/open-repository.ts'
import type { Repository, RepositoryDescription } from '../../../src/core/repository.ts'
import { createStanza } from '../../../src/core/stanza/create.ts'
import { openWorkerEnv, type WorkerSetup } from '../../../src/core/worker-env.ts'
import { parseWalSegment } from '../../../src/format/wal-segment.ts'
import { systemClock } from '../../../src/util/clock.ts'
import type { Executor } from '../../../src/worker/executor.ts'
import { threadExecutor } from '../../../src/worker/threads.ts'
import { FaultyFront, RATE_LIMIT } from '../../support/faults/faulty-front.ts'
import { GcsServer } from '../../support/stores/gcs-server.ts'
import { makeTestDir } from '../../support/processes/test-user.ts'
import { makeCertificates } from '../../support/stores/tls.ts'
import { until } from '../../support/until.ts'
import { aSegment, aSystemId, recordingLog } from '../../support/builders/wal.ts'

// Two encrypted repositories in an object store, as the workers of archive-push and archive-get use them.

const PASSPHRASE = 'the passphrase of the repositories'
const SEGMENT = parseWalSegment('000000010000000000000001')
const KEYS = [1, 2]
const identity = { systemId: aSystemId, version: '15' }
const { signal } = new AbortController()

let dir: string
let server: GcsServer
let front: FaultyFront
let token: string
let setup: WorkerSetup
beforeAll(async () => {
  dir = makeTestDir('workers')
  mkdirSync(join(dir, 'spool'))
  writeFileSync(join(dir, SEGMENT), aSegment())
  server = await GcsServer.start(makeCertificates(join(dir, 'tls')))
  front = await FaultyFront.start({ host: '127.0.0.1', port: server.httpPort })
  token = server.tokens.issue().access_token
})
afterAll(async () => {
  await front[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

let buckets = 0
beforeEach(async () => {
  front.set()
  const bucket = `bucket-${++buckets}`
  server.createBucket(bucket)
  setup = {
    repositories: KEYS.map((key) => descriptionOf(key, bucket)),
    cluster: { kind: 'local' },
    bufferBytes: 1024 * 1024,
    lanes: 4,
  }
  const cluster = { ...identity, controlVersion: 1300, catalogVersion: 202209061 }
  await using opened = await openAll()
  for (const repository of opened.repositories)
    await createStanza(repository, 'main', cluster, { signal, log: recordingLog() })
})

function descriptionOf(key: number, bucket: string): RepositoryDescription {
  return {
    key,
    storage: {
      kind: 'gcs',
      path: `/repo${key}`,
      retry: { retries: 5, totalMs: 30_000, timeoutMs: 30_000, firstWaitMs: 1, longestWaitMs: 10 },
      gcs: {
        bucket,
        serviceUrl: `http://127.0.0.1:${front.port}`,
        credential: { type: 'token', token },
        partBytes: 8 * 1024 * 1024,
        access: { verifyTls: false, stallMs: 30_000 },
        repository: `repo${key}`,
      },
    },
    cipher: { type: 'aes-256-cbc', origin: `repo${key}-cipher-pass (from the test)`, passphrase: PASSPHRASE },
  }
}

async function openAll(): Promise<AsyncDisposable & { readonly repositories: readonly Repository[] }> {
  const repositories = await Promise.all(setup.repositories.map((one) => openRepository(one, recordingLog())))
  return {
    repositories,
    async [Symbol.asyncDispose]() {
      for (const { storage } of repositories) await storage[Symbol.asyncDispose]()
    },
  }
}

const pushJob = (): PushJob => ({
  stanza: 'main',
  path: join(dir, SEGMENT),
  repoKeys: KEYS,
  identity,
  compression: { type: 'none', level: 0 },
  headerCheck: true,
  warnWhenArchived: false,
  waitingOn: WaitingOn.bufferFor(KEYS),
  nowMs: Date.now(),
})

async function fetchJob(repositories: readonly Repository[]): Promise<FetchSegmentJob> {
  const index = new SegmentIndex({ stanza: 'main', identity, repositories, clock: systemClock, log: recordingLog() })
  const copies = await index.copiesOf(SEGMENT, 0, signal)
  return { stanza: 'main', segment: SEGMENT, directory: join(dir, 'spool'), copies, systemId: aSystemId }
}

async function resultOf<K extends keyof typeof jobHandlers>(
  executor: Executor<typeof jobHandlers>,
  kind: K,
  job: Parameters<(typeof jobHandlers)[K]>[0],
): Promise<unknown> {
  for await (const { result } of executor.run(kind, [job] as never, { signal })) return result
  throw new Error('the job returned no result')
}

test('a worker logs the retries of archive jobs', async () => {
  const retriesOf = async (kind: 'archive-push' | 'fetch-segment', job: PushJob | FetchSegmentJob, method: string) => {
    const log = recordingLog()
    await using executor = threadExecutor<typeof jobHandlers>({ workers: 1, lanes: 4, setup, log })
    front.set({ only: (asked) => asked.method === method, times: 1, how: RATE_LIMIT })
    const result = await resultOf(executor, kind, job as never)
    expect(front.counters.struck).toBe(1)
    return { result, retries: log.lines.filter((line) => line.includes('next attempt in')) }
  }
  const pushed = await retriesOf('archive-push', pushJob(), 'POST')
  expect(pushed.result).toMatchObject({ stored: KEYS, failures: [] })
  expect(pushed.retries).toEqual([expect.stringMatching(/^warn: repo\d: gcs:\/\/bucket/)])
  await using opened = await openAll()
  const fetched = await retriesOf('fetch-segment', await fetchJob(opened.repositories), 'GET')
  expect(fetched.result).toMatchObject({ fetched: { repoKey: 1 }, failures: [] })
  expect(fetched.retries).toEqual([expect.stringMatching(/^warn: repo\d: gcs:\/\/bucket/)])
})

test('lanes of a worker share one client for each repository, and the worker closes it', async () => {
  await until('earlier connections to close', () => front.connections === 0)
  const env = await openWorkerEnv(setup, recordingLog())
  const lanes = env.lanes!
  expect(lanes).toHaveLength(4)
  for (const key of KEYS) {
    const opened = await Promise.all(lanes.map((lane) => lane.repository(key)))
    expect(new Set(opened)).toEqual(new Set([await env.repository(key)]))
    await loadArchiveInfo(opened[0]!, 'main')
  }
  expect(front.connections).toBe(KEYS.length)
  await env[Symbol.asyncDispose]()
  await until('the connections to close', () => front.connections === 0)
})

test('jobs of a repository that cannot be opened fail until it can be opened; other jobs do not', async () => {
  const [first, second] = setup.repositories
  const caFile = join(dir, 'ca.pem')
  const broken = structuredClone(second!) as { storage: { gcs: { access: object } } } & RepositoryDescription
  broken.storage.gcs.access = { verifyTls: true, caFile, stallMs: 30_000 }
  await using env = await openWorkerEnv({ ...setup, repositories: [first!, broken] }, recordingLog())
  await expect(env.repository(2)).rejects.toThrow('ca.pem')
  expect(await env.repository(1)).toMatchObject({ key: 1, display: 'repo1' })
  copyFileSync(server.certificates.caFile, caFile)
  expect(await env.repository(2)).toMatchObject({ key: 2 })
  await expect(env.repository(3)).rejects.toMatchObject({ code: 'assert' })
})

test('the jobs of archiving contain no secret', async () => {
  await using executor = threadExecutor<typeof jobHandlers>({ workers: 1, lanes: 4, setup, log: recordingLog() })
  await using opened = await openAll()
  await resultOf(executor, 'archive-push', pushJob())
  const jobs = [pushJob(), await fetchJob(opened.repositories)]
  const infos = await Promise.all(opened.repositories.map((repository) => loadArchiveInfo(repository, 'main')))
  const secrets = [token, PASSPHRASE, ...infos.map(({ cipherPass }) => cipherPass!)]
  const plain = JSON.stringify(jobs, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
  expect(plain).toContain(SEGMENT)
  for (const secret of secrets) expect(plain).not.toContain(secret)
})
