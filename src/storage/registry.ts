import { loadModule } from '../util/load-module.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import type { StorageDriver } from './driver.ts'
import type { StorageDescription } from './description.ts'

/**
 * Open a storage from its description; the only list of drivers. A driver is loaded when it is first asked for.
 *
 * @param log hears of troubles that passed: a store that was overloaded, or away for a while
 * @param connections to a store that will be wanted at once, first; they are begun while its driver is loaded
 */
export async function openStorage(
  description: StorageDescription,
  log: Logger = silentLogger,
  connections = 1,
): Promise<StorageDriver> {
  switch (description.kind) {
    case 'posix': {
      const { posixStorage } = await loadModule(() => import('./posix.ts'))
      return posixStorage(description.path)
    }
    case 'memory': {
      const { memoryStorage } = await loadModule(() => import('./memory.ts'))
      return memoryStorage(description.id)
    }
    default: {
      const { openObjectStorage } = await loadModule(() => import('./open-object.ts'))
      return openObjectStorage(description, log, connections)
    }
  }
}
