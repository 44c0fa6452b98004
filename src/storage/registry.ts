import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import type { StorageDriver } from './driver.ts'
import type { StorageDescription } from './description.ts'

/**
 * Opens a storage from its description; the only list of drivers. A driver is loaded at its first use.
 *
 * @param log receives warnings about passing failures: an overloaded store, an outage
 * @param connections number of connections that are needed first; they are opened while the driver is loaded
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
    case 'remote': {
      const { openRemoteStorage } = await loadModule(() => import('./remote/open.ts'))
      return openRemoteStorage(description.host, log)
    }
    case 'port':
      throw new PgtsError('assert', 'this storage is only open in another thread')
    default: {
      const { openObjectStorage } = await loadModule(() => import('./open-object.ts'))
      return openObjectStorage(description, log, connections)
    }
  }
}
