import type { MessagePort } from 'node:worker_threads'
import type { ClusterDescription, ClusterFiles } from '../postgres/cluster-access.ts'
import type { StorageDescription, StorageDriver } from '../storage/driver.ts'
import type { SharedStorage } from '../storage/port/shared.ts'
import { loadModule } from '../util/load-module.ts'
import { silentLogger, type Logger } from '../util/log.ts'

/** What a worker needs to open its own repository and cluster; plain data, because sockets do not cross threads. */
export interface WorkerSetup {
  readonly storage: StorageDescription
  /** The main thread has it open, and serves it over a port. */
  readonly shared?: SharedStorage
  readonly cluster: ClusterDescription
  /** Size of the buffer that files are read into, bytes. */
  readonly bufferBytes: number
  /** Jobs that will be under way at once; default 1. */
  readonly lanes?: number
}

/**
 * What a job handler works with. One job at a time uses it, so the buffer may be shared by its files. Where the storage
 * is far away there are several lanes, which share all but the buffer, and as many jobs are under way at once.
 */
export interface WorkerEnv extends AsyncDisposable {
  readonly storage: StorageDriver
  readonly files: ClusterFiles
  /** Source bytes are read into this; stages own their output buffers. */
  readonly buffer: Buffer
  readonly lanes?: readonly WorkerEnv[]
}

/**
 * @param log hears of troubles of the storage that passed
 * @param port to the main thread's storage; absent: the worker opens its own
 */
export async function openWorkerEnv(
  setup: WorkerSetup,
  log: Logger = silentLogger,
  port?: MessagePort,
): Promise<WorkerEnv> {
  const { openClusterFiles } = await loadModule(() => import('../postgres/registry.ts'))
  const storage = await storageOf(setup, log, port)
  const files = await openClusterFiles(setup.cluster)
  const lane = (): WorkerEnv => ({
    storage,
    files,
    buffer: Buffer.allocUnsafeSlow(setup.bufferBytes),
    // what a lane uses belongs to the whole
    [Symbol.asyncDispose]: async () => undefined,
  })
  const first = lane()
  const { parallel = 1 } = storage
  return {
    ...first,
    ...(parallel > 1 ? { lanes: [first, ...Array.from({ length: parallel - 1 }, lane)] } : {}),
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]()
      await storage[Symbol.asyncDispose]()
    },
  }
}

async function storageOf(setup: WorkerSetup, log: Logger, port: MessagePort | undefined): Promise<StorageDriver> {
  const open = async () => {
    const { openStorage } = await loadModule(() => import('../storage/registry.ts'))
    return openStorage(setup.storage, log, setup.lanes)
  }
  if (port === undefined || setup.shared === undefined) return open()
  const [{ StoragePort }, { sharedAtFirst }] = await Promise.all([
    loadModule(() => import('../storage/port/client.ts')),
    loadModule(() => import('../storage/port/shared.ts')),
  ])
  return sharedAtFirst(new StoragePort(port), setup.shared, open)
}
