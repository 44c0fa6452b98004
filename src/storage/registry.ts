import type { StorageDescription, StorageDriver } from './driver.ts'

/** Open a storage from its description; the only list of drivers. A driver is loaded when it is first asked for. */
export async function openStorage(description: StorageDescription): Promise<StorageDriver> {
  switch (description.kind) {
    case 'posix': {
      const { posixStorage } = await import('./posix.ts')
      return posixStorage(description.path)
    }
    case 'memory': {
      const { memoryStorage } = await import('./memory.ts')
      return memoryStorage(description.id)
    }
  }
}
