import { readAll } from '../util/bytes.ts'
import { isDenied, type PgtsError } from '../util/error.ts'
import type { Cancellable, CreateOptions, StorageDriver } from './driver.ts'

/** Write a small file at once: whole under its name, or not at all. */
export async function putFile(
  storage: StorageDriver,
  name: string,
  bytes: Uint8Array,
  options: CreateOptions = {},
): Promise<void> {
  await using file = await storage.create(name, options)
  await file.sink.write(bytes)
  await file.commit()
}

/** A small file in one buffer. `file-missing` when it is absent. */
export async function getFile(storage: StorageDriver, name: string, options: Cancellable = {}): Promise<Buffer> {
  return readAll(await storage.read(name, options))
}

/**
 * Carry out a removal that nothing depends on: where the storage denies it, what is there stays.
 * @throws every other error of the removal
 */
export async function removeUnlessDenied(removal: Promise<void>, onDenied: (error: PgtsError) => void): Promise<void> {
  try {
    await removal
  } catch (error) {
    if (!isDenied(error)) throw error
    onDenied(error)
  }
}

/** Remove files, in as few requests as the storage allows. */
export async function removeFiles(
  storage: StorageDriver,
  names: readonly string[],
  options: Cancellable = {},
): Promise<void> {
  if (names.length === 0) return
  if (storage.removeFiles !== undefined) return storage.removeFiles(names, options)
  for (const name of names) await storage.remove(name, options)
}
