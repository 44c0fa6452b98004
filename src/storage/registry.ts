import { systemClock } from '../util/clock.ts'
import { silentLogger, type Logger } from '../util/log.ts'
import type { ObjectStoreDescription, StorageDescription, StorageDriver } from './driver.ts'
import type { ObjectClient } from './object/client.ts'

/**
 * Open a storage from its description; the only list of drivers. A driver is loaded when it is first asked for.
 *
 * @param log hears of troubles that passed: a store that was overloaded, or away for a while
 */
export async function openStorage(description: StorageDescription, log: Logger = silentLogger): Promise<StorageDriver> {
  switch (description.kind) {
    case 'posix': {
      const { posixStorage } = await import('./posix.ts')
      return posixStorage(description.path)
    }
    case 'memory': {
      const { memoryStorage } = await import('./memory.ts')
      return memoryStorage(description.id)
    }
    default: {
      const { objectStorage } = await import('./object/storage.ts')
      const { retrying } = await import('./object/retry.ts')
      const client = await openObjectClient(description)
      return objectStorage(retrying(client, { policy: description.retry, log, clock: systemClock }), description)
    }
  }
}

/** The client of an object store, which asks everything once. */
export async function openObjectClient(description: ObjectStoreDescription): Promise<ObjectClient> {
  switch (description.kind) {
    case 'azure': {
      const { azureClient } = await import('./azure/client.ts')
      return azureClient(description.azure)
    }
    case 'gcs': {
      const { gcsClient } = await import('./gcs/client.ts')
      return gcsClient(description.gcs)
    }
    case 's3': {
      const { openS3Client } = await import('./s3/client.ts')
      const client = await openS3Client(description.s3, systemClock)
      if (description.s3.atMs === undefined) return client
      const { pastOf } = await import('./s3/past.ts')
      return pastOf(client, description.s3.atMs)
    }
  }
}
