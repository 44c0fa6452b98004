import { MessageChannel } from 'node:worker_threads'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { StoragePort } from '../../../src/storage/port/client.ts'
import { serveStorage } from '../../../src/storage/port/serve.ts'
import { sharedAtFirst, type OwnAfter } from '../../../src/storage/port/shared.ts'

export interface OverPort extends AsyncDisposable {
  readonly storage: StorageDriver
  /** End the serving side, as when its thread ends. */
  hangUp(): Promise<void>
}

/**
 * A storage that another thread has open, as a worker sees it. Both sides are in this thread.
 *
 * @param open the storage that the worker opens itself; null: it cannot
 */
export function overPort(
  served: StorageDriver,
  open: (() => Promise<StorageDriver>) | null = () => Promise.reject(new Error('no own storage was expected')),
  after?: OwnAfter,
): OverPort {
  const { port1, port2 } = new MessageChannel()
  const serving = serveStorage(served, port1)
  const { display, parallel = 4 } = served
  const storage = sharedAtFirst(new StoragePort(port2), { display, parallel }, open ?? undefined, after)
  return {
    storage,
    hangUp: async () => serving[Symbol.asyncDispose](),
    async [Symbol.asyncDispose]() {
      await storage[Symbol.asyncDispose]()
      await serving[Symbol.asyncDispose]()
      await served[Symbol.asyncDispose]()
    },
  }
}
