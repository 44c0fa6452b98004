import { readAll } from '../util/bytes.ts'
import { bytesToText, type ByteString } from '../util/byte-string.ts'
import { isDenied, PgtsError } from '../util/error.ts'
import type { Cancellable, CreateOptions, StorageDriver } from './driver.ts'

/** Writes a small file at once: complete under its name, or not at all. */
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

/** A `backup.info` with a hundred thousand backups is smaller than this. */
const MOST_INFO_BYTES = 128 * 1024 * 1024

/**
 * Reads a small file into one buffer.
 *
 * @throws PgtsError file-missing; file-invalid if it is larger than `maxBytes`, the limit for files of its kind
 */
export async function getFile(
  storage: StorageDriver,
  name: ByteString,
  options: Cancellable = {},
  maxBytes = MOST_INFO_BYTES,
): Promise<Buffer> {
  const tooLarge = () =>
    new PgtsError(
      'file-invalid',
      `cannot read ${storage.display}/${bytesToText(name)}: it is larger than ${maxBytes} bytes`,
    )
  return readAll(await storage.read(name, options), { maxBytes, tooLarge })
}

/**
 * Waits for a removal that no other operation depends on: if the storage denies it, the file stays.
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

/** Removes files in as few requests as the storage allows. */
export async function removeFiles(
  storage: StorageDriver,
  names: readonly string[],
  options: Cancellable = {},
): Promise<void> {
  if (names.length === 0) return
  if (storage.removeFiles !== undefined) return storage.removeFiles(names, options)
  for (const name of names) await storage.remove(name, options)
}
