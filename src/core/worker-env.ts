import type { MessagePort } from 'node:worker_threads'
import { readBuffer } from '../codec/read-buffer.ts'
import type { Connection } from '../remote/connection.ts'
import type { ClusterDescription, ClusterFiles } from '../postgres/cluster-access.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { PgtsError } from '../util/error.ts'
import { Gate } from '../util/gate.ts'
import { loadModule } from '../util/load-module.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import { openRepository } from './open-repository.ts'
import { repositoryOf, type Repository, type RepositoryDescription } from './repository.ts'
import type { JobForwarder } from './serve/forward-jobs.ts'
import { repoId } from '../util/repo-id.ts'
import { Turns } from '../util/turns.ts'

/** The description from which a worker opens its environment; plain data, because sockets do not cross threads. */
export interface WorkerSetup {
  /** All repositories that its jobs may name. */
  readonly repositories: readonly RepositoryDescription[]
  readonly cluster: ClusterDescription
  /** For a cluster on another host: limits how many workers connect at the same time; see `Gate`. */
  readonly opening?: SharedArrayBuffer
  /** Size of the read buffer, bytes. */
  readonly bufferBytes: number
  /** Concurrent jobs; default 1. */
  readonly lanes?: number
}

/**
 * The environment of job handlers. A worker runs one job at a time or, if jobs wait for a network, one in each lane.
 * Lanes share everything except the buffer.
 */
export interface WorkerEnv extends AsyncDisposable {
  /** The repository that a job names, opened once. */
  repository(key: number): Promise<Repository>
  /** Of a cluster on this host. */
  readonly files: ClusterFiles
  /** Present if the cluster is on another host. */
  readonly forwarded?: JobForwarder | undefined
  /** Large files of all lanes take turns, see `largeFileTurn`. */
  readonly turns: Turns
  /** Read buffer; stages own their output buffers. Allocated at first use. */
  readonly buffer: Buffer
  readonly lanes?: readonly WorkerEnv[]
}

/** The environment of a job on one repository. */
export interface JobEnv extends Pick<WorkerEnv, 'files' | 'buffer' | 'turns'> {
  readonly storage: StorageDriver
}

const LARGE_BYTES = 4 * 1024 * 1024

/**
 * Waits until no other lane of this thread encodes or decodes a large file: that would not be faster with one core, and the
 * tables of several files do not fit into its cache. Small files are concurrent, because they wait for the network.
 */
export function largeFileTurn(sizeBytes: number, { turns }: Pick<WorkerEnv, 'turns'>): Promise<Disposable | undefined> {
  return sizeBytes < LARGE_BYTES ? NO_TURN : turns.take()
}

const NO_TURN = Promise.resolve(undefined)

/** How the main thread sends jobs to the host of a cluster. */
export interface MainRoutes {
  /** The connection of the command, which jobs use first. */
  readonly connection: Connection
  /** Number of connections, with that one. */
  readonly connections: number
  /** How many of them are worth the work. */
  readonly inUse: () => number
}

/**
 * @param log logger of the worker; storages log their retries to it
 * @param access storages that the main thread has open, by the key of their repository: ports to them or, in the main
 * thread itself, the repositories, which stay open
 * @param main in the main thread, for a cluster on another host
 */
export async function openWorkerEnv(
  setup: WorkerSetup,
  log: Logger = silentLogger,
  access: ReadonlyMap<number, MessagePort | Repository> = new Map(),
  main?: MainRoutes,
): Promise<WorkerEnv> {
  const repositories = new WorkerRepositories(setup, log, access)
  const cluster = await openWorkerCluster(setup, repositories, log, main)
  await repositories.openAll()
  const [only, second] = setup.repositories
  if (main === undefined && only !== undefined && second === undefined) cluster.forwarded?.prepare(only.key)
  const close = async () => {
    await cluster.files?.[Symbol.asyncDispose]()
    await cluster.forwarded?.[Symbol.asyncDispose]()
    await repositories[Symbol.asyncDispose]()
  }
  const turns = new Turns()
  const env = () => new Lane(repositories, cluster, setup.bufferBytes, close, turns)
  const { lanes = 1 } = setup
  const whole = env()
  return lanes === 1 ? whole : Object.assign(whole, { lanes: Array.from({ length: lanes }, env) })
}

/** The cluster as a worker uses it: by its files, or by sending jobs to its host. */
interface WorkerCluster {
  readonly files?: ClusterFiles
  readonly forwarded?: JobForwarder
}

async function openWorkerCluster(
  { cluster, opening, lanes = 1, bufferBytes }: WorkerSetup,
  repositories: WorkerRepositories,
  log: Logger,
  main: MainRoutes | undefined,
): Promise<WorkerCluster> {
  if (cluster.kind === 'local') {
    const { openClusterFiles } = await loadModule(() => import('../postgres/registry.ts'))
    return { files: await openClusterFiles(cluster) }
  }
  const { ForwardedJobs } = await loadModule(() => import('./serve/forward-jobs.ts'))
  const connect = async (signal: AbortSignal, process?: number) => {
    const { logTo, openHost } = await loadModule(() => import('../remote/host.ts'))
    using _turn = await new Gate(MOST_OPENING, opening).enter()
    const { connection } = await openHost(cluster.host, { onLog: logTo(log), signal, process })
    return connection
  }
  const { connections = 1 } = main ?? {}
  const common = { repository: (key: number) => repositories.get(key), lanes: lanes / connections, bufferBytes }
  if (main === undefined) return { forwarded: new ForwardedJobs({ ...common, connect }) }
  const { SpreadJobs } = await loadModule(() => import('./serve/spread-jobs.ts'))
  const routes = Array.from(
    { length: connections },
    (_, process) =>
      new ForwardedJobs({
        ...common,
        main: process === 0 ? main.connection : undefined,
        connect: (signal) => connect(signal, process),
      }),
  )
  return { forwarded: new SpreadJobs(routes, main.inUse) }
}

/** sshd refuses some of more than 10 connections that are being opened (MaxStartups). */
const MOST_OPENING = 4

class Lane implements WorkerEnv {
  readonly forwarded: JobForwarder | undefined
  readonly #files: ClusterFiles | undefined
  readonly #repositories: WorkerRepositories
  readonly #bufferBytes: number
  readonly #close: () => Promise<void>
  #buffer: Buffer | undefined

  constructor(
    repositories: WorkerRepositories,
    { files, forwarded }: WorkerCluster,
    bufferBytes: number,
    close: () => Promise<void>,
    readonly turns: Turns,
  ) {
    this.#files = files
    this.forwarded = forwarded
    this.#repositories = repositories
    this.#bufferBytes = bufferBytes
    this.#close = close
  }

  get files(): ClusterFiles {
    if (this.#files === undefined) throw new PgtsError('assert', 'the cluster of this worker is on another host')
    return this.#files
  }

  get buffer(): Buffer {
    return (this.#buffer ??= readBuffer(this.#bufferBytes))
  }

  repository(key: number): Promise<Repository> {
    return this.#repositories.get(key)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }
}

/** The repositories of one worker: one storage client for each, shared by all lanes. */
class WorkerRepositories implements AsyncDisposable {
  readonly #descriptions: ReadonlyMap<number, RepositoryDescription>
  readonly #lanes: number | undefined
  readonly #log: Logger
  readonly #access: ReadonlyMap<number, MessagePort | Repository>
  readonly #opened = new Map<number, Promise<Repository>>()

  constructor(
    { repositories, lanes }: WorkerSetup,
    log: Logger,
    access: ReadonlyMap<number, MessagePort | Repository>,
  ) {
    this.#descriptions = new Map(repositories.map((description) => [description.key, description]))
    this.#lanes = lanes
    this.#log = log
    this.#access = access
  }

  /**
   * Opens all repositories before the first job. If opening fails, the job that names the repository reports the error.
   */
  async openAll(): Promise<void> {
    await Promise.allSettled([...this.#descriptions.keys()].map((key) => this.get(key)))
  }

  async get(key: number): Promise<Repository> {
    const given = this.#access.get(key)
    if (given !== undefined && 'storage' in given) return given
    let opening = this.#opened.get(key)
    if (opening === undefined) {
      opening = this.#open(key, given)
      this.#opened.set(key, opening)
      // The next job opens it again: credentials may be available by then.
      opening.catch(() => this.#opened.delete(key))
    }
    return opening
  }

  async #open(key: number, port: MessagePort | undefined): Promise<Repository> {
    const description = this.#descriptions.get(key)
    if (description === undefined) throw new PgtsError('assert', `the worker was set up without ${repoId(key)}`)
    const open = () => openRepository(description, this.#log, this.#lanes)
    if (port === undefined || description.shared === undefined) return open()
    const [{ StoragePort }, { sharedAtFirst }] = await Promise.all([
      loadModule(() => import('../storage/port/client.ts')),
      loadModule(() => import('../storage/port/shared.ts')),
    ])
    const openStorage = description.storage.kind === 'port' ? undefined : async () => (await open()).storage
    return repositoryOf(description, sharedAtFirst(new StoragePort(port), description.shared, openStorage))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values())
    for (const one of opened) if (one.status === 'fulfilled') await one.value.storage[Symbol.asyncDispose]()
  }
}
