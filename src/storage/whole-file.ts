import { readAll } from '../util/bytes.ts'
import type { Cancellable, StorageDriver } from './driver.ts'

/** Write a small file at once: whole under its name, or not at all. */
export async function putFile(
  storage: StorageDriver,
  name: string,
  bytes: Uint8Array,
  options: Cancellable = {},
): Promise<void> {
  await using file = await storage.create(name, options)
  await file.sink.write(bytes)
  await file.commit()
}

/** A small file in one buffer. `file-missing` when it is absent. */
export async function getFile(storage: StorageDriver, name: string, options: Cancellable = {}): Promise<Buffer> {
  return readAll(await storage.read(name, options))
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
