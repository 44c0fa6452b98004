import type { ClusterDescription, ClusterFiles } from '../postgres/cluster-access.ts'
import type { StorageDescription, StorageDriver } from '../storage/driver.ts'

/** What a worker needs to open its own repository and cluster; plain data, because sockets do not cross threads. */
export interface WorkerSetup {
  readonly storage: StorageDescription
  readonly cluster: ClusterDescription
  /** Size of the buffer that files are read into, bytes. */
  readonly bufferBytes: number
}

/** What a job handler works with. One job at a time uses it, so the buffer may be shared by its files. */
export interface WorkerEnv extends AsyncDisposable {
  readonly storage: StorageDriver
  readonly files: ClusterFiles
  /** Source bytes are read into this; stages own their output buffers. */
  readonly buffer: Buffer
}

export async function openWorkerEnv(setup: WorkerSetup): Promise<WorkerEnv> {
  const { openStorage } = await import('../storage/registry.ts')
  const { openClusterFiles } = await import('../postgres/registry.ts')
  const storage = await openStorage(setup.storage)
  const files = await openClusterFiles(setup.cluster)
  return {
    storage,
    files,
    buffer: Buffer.allocUnsafeSlow(setup.bufferBytes),
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]()
      await storage[Symbol.asyncDispose]()
    },
  }
}
