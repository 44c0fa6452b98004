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
