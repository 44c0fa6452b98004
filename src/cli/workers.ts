import type { MessagePort } from 'node:worker_threads'
import type { CopyFilesJob } from '../core/backup/copy-job.ts'
import type { jobHandlers } from '../core/jobs.ts'
import { describeOpen, type Repository, type RepositoryDescription } from '../core/repository.ts'
import type { MainRoutes, WorkerEnv, WorkerSetup } from '../core/worker-env.ts'
import type { ClusterDescription } from '../postgres/cluster-access.ts'
import type { Connection } from '../remote/connection.ts'
import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import type { Logger } from '../util/log.ts'
import { markHandled } from '../util/mark-handled.ts'
import { fittingWorkers, openFilesLimit } from '../util/open-files.ts'
import type { Executor } from '../worker/executor.ts'
import type { JobRetry } from '../worker/retry.ts'

export interface WorkersRequest {
  /** The repositories that jobs may name, opened in this thread. */
  readonly repositories: readonly Repository[]
  /** Descriptions from which workers open the same repositories. One without is only open in this thread. */
  readonly descriptions: readonly RepositoryDescription[]
  /** Of the cluster whose files jobs read. */
  readonly cluster: ClusterDescription
  /** If the cluster is on another host: the connection to it. */
  readonly connection?: Connection | undefined
  /** Maximum number; fewer if the limit of open files is too low. */
  readonly workers: number
  readonly bufferBytes: number
  readonly retry: JobRetry
  readonly log: Logger
}

export type InlineRequest = Omit<WorkersRequest, 'workers'>

/** Number of jobs that are sent over one connection at the same time, because their requests wait for the network. */
const REMOTE_LANES = 4
/** What one core processes in about the time that ssh and a process at the other end take to start. */
const BYTES_OF_CONNECTION = 32 * 1024 * 1024
/** The main thread relays the bytes of so many connections: see docs/performance.md, "A repository host". */
const MOST_RELAYED = 4

/**
 * Worker threads for jobs on these repositories; small work is done by this thread. Remote storages are served to workers
 * by this thread at first. Jobs that read a cluster on another host are sent there, each worker over its own connection: by this thread if
 * it only has to store what it receives, else by a worker thread for each.
 */
export async function openWorkers(request: WorkersRequest): Promise<Executor<typeof jobHandlers>> {
  const { repositories, cluster, retry, log } = request
  const { threadExecutor } = await loadModule(() => import('../worker/threads.ts'))
  const distant = repositories.filter(({ storage }) => storage.parallel !== undefined)
  const limit = openFilesLimit()
  const workers = fittingWorkers(request.workers, distant.length > 0 || cluster.kind === 'remote', limit)
  if (workers < request.workers)
    log.detail(`${workers} workers instead of ${request.workers}: the limit of open files is ${limit} (ulimit -n)`)
  const setup = setupOf(request)
  if (cluster.kind === 'remote' && distant.length === 0 && workers <= MOST_RELAYED)
    return openRelay(request, setup, workers)
  const threads = threadExecutor<typeof jobHandlers>({
    workers,
    lanes: setup.lanes,
    setup,
    log,
    retry,
    attach: await servicesOf(distant),
  })
  const { sizedExecutor } = await loadModule(() => import('../worker/sized.ts'))
  return sizedExecutor(threads, () => openInline(request, setup))
}

function setupOf({ repositories, descriptions, cluster, bufferBytes }: InlineRequest): WorkerSetup {
  const isRemote = cluster.kind === 'remote'
  return {
    repositories: repositories.map((repository) => {
      const { key } = repository
      return describeOpen(descriptions.find((one) => one.key === key) ?? { key, storage: { kind: 'port' } }, repository)
    }),
    cluster,
    opening: isRemote ? new SharedArrayBuffer(4) : undefined,
    bufferBytes,
    lanes: Math.max(isRemote ? REMOTE_LANES : 1, ...repositories.map(({ storage }) => storage.parallel ?? 1)),
  }
}

/** Jobs on the thread that calls this, for few or small jobs, and where a connection has a process of its own. */
export async function openInline(
  request: InlineRequest,
  setup = setupOf(request),
): Promise<Executor<typeof jobHandlers>> {
  if (request.connection !== undefined) return openRelay(request, setup, 1)
  return (await inlineFor(request, setup)).executor
}

/** Sends jobs to the host of the cluster from this thread. @param workers number of connections, with the main one */
async function openRelay(
  request: InlineRequest,
  setup: WorkerSetup,
  workers: number,
): Promise<Executor<typeof jobHandlers>> {
  const { connection, repositories } = request
  if (connection === undefined) throw new PgtsError('assert', 'the cluster has no connection')
  const { workersFor } = await loadModule(() => import('../worker/sized.ts'))
  let inUse = 1
  const lanes = (setup.lanes ?? 1) * workers
  const { executor, open } = await inlineFor(
    request,
    { ...setup, lanes },
    { connection, connections: workers, inUse: () => inUse },
  )
  let prepared: Promise<WorkerEnv> | undefined
  const use = (wanted: number) => {
    inUse = Math.min(wanted, workers)
    prepared = open()
    if (repositories.length !== 1) return
    const prepare = async ({ forwarded }: WorkerEnv) => forwarded?.prepare(repositories[0]!.key)
    markHandled(prepared.then(prepare))
  }
  return {
    ...executor,
    workers,
    warm: use,
    expect: (work) => use(workersFor(work, workers, BYTES_OF_CONNECTION)),
    async [Symbol.asyncDispose]() {
      await executor[Symbol.asyncDispose]()
      // If it could not be opened, the run has reported that.
      await (await prepared?.catch(() => undefined))?.[Symbol.asyncDispose]()
    },
  }
}

interface Inline {
  readonly executor: Executor<typeof jobHandlers>
  /** The environment of its jobs, opened once. */
  open(): Promise<WorkerEnv>
}

async function inlineFor(request: InlineRequest, setup: WorkerSetup, main?: MainRoutes): Promise<Inline> {
  const { repositories, retry, log } = request
  const [{ handlersFor }, { inlineExecutor }, { openWorkerEnv }] = await Promise.all([
    loadModule(() => import('../core/jobs.ts')),
    loadModule(() => import('../worker/inline.ts')),
    loadModule(() => import('../core/worker-env.ts')),
  ])
  const opened = new Map(repositories.map((repository) => [repository.key, repository]))
  let env: Promise<WorkerEnv> | undefined
  const open = () => (env ??= openWorkerEnv(setup, log, opened, main))
  const workerOf = (job: unknown, lane: unknown) => (lane as WorkerEnv).forwarded?.numberOf?.(job as CopyFilesJob) ?? 1
  return { executor: inlineExecutor(handlersFor(setup), open, { retry, log, workerOf }), open }
}

async function servicesOf(
  repositories: readonly Repository[],
): Promise<ReadonlyMap<number, (port: MessagePort) => AsyncDisposable>> {
  if (repositories.length === 0) return new Map()
  const { serveStorage } = await loadModule(() => import('../storage/port/serve.ts'))
  return new Map(repositories.map(({ key, storage }) => [key, (port) => serveStorage(storage, port)]))
}
