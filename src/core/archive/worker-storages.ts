import type { StorageDescription, StorageDriver } from '../../storage/driver.ts'
import { loadModule } from '../../util/load-module.ts'
import type { WorkerEnv } from '../worker-env.ts'

const opened = new WeakMap<WorkerEnv, Map<string, Promise<StorageDriver>>>()

/** A repository that a worker's jobs name, opened once: it lives as long as the worker, and its sockets end with it. */
export async function workerStorage(env: WorkerEnv, description: StorageDescription): Promise<StorageDriver> {
  const { openStorage } = await loadModule(() => import('../../storage/registry.ts'))
  const storages = opened.get(env) ?? new Map<string, Promise<StorageDriver>>()
  opened.set(env, storages)
  const key = JSON.stringify(description)
  const storage = storages.get(key) ?? openStorage(description)
  storages.set(key, storage)
  // What could not be opened is tried again with the next job.
  storage.catch(() => storages.delete(key))
  return storage
}
