import type { MessagePort } from 'node:worker_threads'
import type { ClusterDescription, ClusterFiles } from '../postgres/cluster-access.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import { openRepository, repositoryOf, type Repository, type RepositoryDescription } from './repository.ts'

/** What a worker opens its environment from; plain data, because sockets do not cross threads. */
export interface WorkerSetup {
  /** All repositories that its jobs may name. */
  readonly repositories: readonly RepositoryDescription[]
  readonly cluster: ClusterDescription
  /** Size of the buffer that files are read into, bytes. */
  readonly bufferBytes: number
  /** Jobs in progress at once; default 1. */
  readonly lanes?: number
}

/**
 * What a job handler works with. A worker runs one job at a time, or, where jobs wait for a network, one in each lane.
 * Lanes share everything but the buffer.
 */
export interface WorkerEnv extends AsyncDisposable {
  /** The repository that a job names, opened once. */
  repository(key: number): Promise<Repository>
  readonly files: ClusterFiles
  /** Source bytes are read into this; stages own their output buffers. Allocated when it is first used. */
  readonly buffer: Buffer
  readonly lanes?: readonly WorkerEnv[]
}

/** What a job on one repository works with. */
export interface JobEnv extends Pick<WorkerEnv, 'files' | 'buffer'> {
  readonly storage: StorageDriver
}

/**
 * @param log of the worker; storages log their retries to it
 * @param ports to storages that the main thread serves, by the key of their repository
 */
export async function openWorkerEnv(
  setup: WorkerSetup,
  log: Logger = silentLogger,
  ports: ReadonlyMap<number, MessagePort> = new Map(),
): Promise<WorkerEnv> {
  const { openClusterFiles } = await loadModule(() => import('../postgres/registry.ts'))
  const files = await openClusterFiles(setup.cluster)
  const repositories = new WorkerRepositories(setup, log, ports)
  await repositories.openAll()
  const close = async () => {
    await files[Symbol.asyncDispose]()
    await repositories[Symbol.asyncDispose]()
  }
  const env = () => new Lane(repositories, files, setup.bufferBytes, close)
  const { lanes = 1 } = setup
  const whole = env()
  return lanes === 1 ? whole : Object.assign(whole, { lanes: Array.from({ length: lanes }, env) })
}

class Lane implements WorkerEnv {
  readonly files: ClusterFiles
  readonly #repositories: WorkerRepositories
  readonly #bufferBytes: number
  readonly #close: () => Promise<void>
  #buffer: Buffer | undefined

  constructor(repositories: WorkerRepositories, files: ClusterFiles, bufferBytes: number, close: () => Promise<void>) {
    this.files = files
    this.#repositories = repositories
    this.#bufferBytes = bufferBytes
    this.#close = close
  }

  get buffer(): Buffer {
    return (this.#buffer ??= Buffer.allocUnsafeSlow(this.#bufferBytes))
  }

  repository(key: number): Promise<Repository> {
    return this.#repositories.get(key)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }
}

/** The repositories of one worker: one storage client for each, whatever the number of lanes. */
class WorkerRepositories implements AsyncDisposable {
  readonly #descriptions: ReadonlyMap<number, RepositoryDescription>
  readonly #lanes: number | undefined
  readonly #log: Logger
  readonly #ports: ReadonlyMap<number, MessagePort>
  readonly #opened = new Map<number, Promise<Repository>>()

  constructor({ repositories, lanes }: WorkerSetup, log: Logger, ports: ReadonlyMap<number, MessagePort>) {
    this.#descriptions = new Map(repositories.map((description) => [description.key, description]))
    this.#lanes = lanes
    this.#log = log
    this.#ports = ports
  }

  /** Before the first job comes. A failure is reported by the job that names the repository. */
  async openAll(): Promise<void> {
    await Promise.allSettled([...this.#descriptions.keys()].map((key) => this.get(key)))
  }

  get(key: number): Promise<Repository> {
    let opening = this.#opened.get(key)
    if (opening === undefined) {
      opening = this.#open(key)
      this.#opened.set(key, opening)
      // The next job tries again: credentials may be available by then.
      opening.catch(() => this.#opened.delete(key))
    }
    return opening
  }

  async #open(key: number): Promise<Repository> {
    const description = this.#descriptions.get(key)
    if (description === undefined) throw new PgtsError('assert', `the worker was set up without repo${key}`)
    const open = () => openRepository(description, this.#log, this.#lanes)
    const port = this.#ports.get(key)
    if (port === undefined || description.shared === undefined) return open()
    const [{ StoragePort }, { sharedAtFirst }] = await Promise.all([
      loadModule(() => import('../storage/port/client.ts')),
      loadModule(() => import('../storage/port/shared.ts')),
    ])
    const openStorage = async () => (await open()).storage
    return repositoryOf(description, sharedAtFirst(new StoragePort(port), description.shared, openStorage))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values())
    for (const one of opened) if (one.status === 'fulfilled') await one.value.storage[Symbol.asyncDispose]()
  }
}
