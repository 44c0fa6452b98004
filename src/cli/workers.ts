import type { ClusterDescription } from '../postgres/cluster-access.ts'
import type { MessagePort } from 'node:worker_threads'
import type { jobHandlers } from '../core/jobs.ts'
import { describeOpen, type Repository, type RepositoryDescription } from '../core/repository.ts'
import type { WorkerSetup } from '../core/worker-env.ts'
import { loadModule } from '../util/load-module.ts'
import type { Logger } from '../util/log.ts'
import { fittingWorkers, openFilesLimit } from '../util/open-files.ts'
import type { Executor } from '../worker/executor.ts'
import type { JobRetry } from '../worker/retry.ts'

export interface WorkersRequest {
  /** The repositories that jobs may name, opened in this thread. */
  readonly repositories: readonly Repository[]
  /** Descriptions from which workers open the same repositories. */
  readonly descriptions: readonly RepositoryDescription[]
  /** Maximum number; fewer if the limit of open files is too low. */
  readonly workers: number
  readonly cluster: ClusterDescription
  readonly bufferBytes: number
  readonly retry: JobRetry
  readonly log: Logger
}

/**
 * Worker threads for jobs on these repositories; small work is done by this thread. Remote storages are served to workers
 * by this thread at first.
 */
export async function openWorkers(request: WorkersRequest): Promise<Executor<typeof jobHandlers>> {
  const { repositories, descriptions, bufferBytes, retry, log } = request
  const { threadExecutor } = await loadModule(() => import('../worker/threads.ts'))
  const distant = repositories.filter(({ storage }) => storage.parallel !== undefined)
  const limit = openFilesLimit()
  const workers = fittingWorkers(request.workers, distant.length > 0, limit)
  if (workers < request.workers)
    log.detail(`${workers} workers instead of ${request.workers}: the limit of open files is ${limit} (ulimit -n)`)
  const lanes = Math.max(1, ...distant.map(({ storage }) => storage.parallel ?? 1))
  const setup: WorkerSetup = {
    repositories: repositories.map((repository) =>
      describeOpen(
        descriptions.find(({ key }) => key === repository.key)!,
        repository,
      ),
    ),
    cluster: request.cluster,
    bufferBytes,
    lanes,
  }
  const threads = threadExecutor<typeof jobHandlers>({
    workers,
    lanes,
    setup,
    log,
    retry,
    attach: await servicesOf(distant),
  })
  const { sizedExecutor } = await loadModule(() => import('../worker/sized.ts'))
  return sizedExecutor(threads, () => openInline(setup, repositories, { retry, log }))
}

async function openInline(
  setup: WorkerSetup,
  repositories: readonly Repository[],
  options: { readonly retry: JobRetry; readonly log: Logger },
): Promise<Executor<typeof jobHandlers>> {
  const [{ jobHandlers }, { inlineExecutor }, { openWorkerEnv }] = await Promise.all([
    loadModule(() => import('../core/jobs.ts')),
    loadModule(() => import('../worker/inline.ts')),
    loadModule(() => import('../core/worker-env.ts')),
  ])
  const opened = new Map(repositories.map((repository) => [repository.key, repository]))
  return inlineExecutor(jobHandlers, () => openWorkerEnv(setup, options.log, opened), options)
}

async function servicesOf(
  repositories: readonly Repository[],
): Promise<ReadonlyMap<number, (port: MessagePort) => AsyncDisposable>> {
  if (repositories.length === 0) return new Map()
  const { serveStorage } = await loadModule(() => import('../storage/port/serve.ts'))
  return new Map(repositories.map(({ key, storage }) => [key, (port) => serveStorage(storage, port)]))
}
