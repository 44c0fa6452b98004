import { opendirSync, type Dir } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { asBytes, bytes, pathOf, type ByteString } from '../util/byte-string.ts'
import { systemCode } from '../util/error.ts'
import { syncDirectory as flushDirectory } from '../util/sync-directory.ts'
import type { Cancellable } from './driver.ts'
import { posixError } from './posix-error.ts'

/**
 * Makes the entries of one directory durable. A missing directory is not an error: its entries were removed with it.
 */
export function syncDirectory(path: ByteString): void {
  try {
    flushDirectory(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw posixError('sync-path', path, error)
  }
}

/** `syncDirectory` for a directory and everything below it; links are not followed. */
export async function syncTree(root: ByteString, options: Cancellable = {}): Promise<void> {
  const waiting = [root]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    options.signal?.throwIfAborted()
    for (const name of subdirectories(path)) waiting.push(bytes`${path}/${name}`)
    syncDirectory(path)
    // A flush blocks; yield between two of them, so that a signal can be handled.
    await setImmediate()
  }
}

function subdirectories(path: ByteString): ByteString[] {
  let dir: Dir
  try {
    dir = opendirSync(pathOf(path) as string, { encoding: 'latin1' as BufferEncoding })
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw posixError('list', path, error)
  }
  const names: ByteString[] = []
  try {
    for (let entry = dir.readSync(); entry !== null; entry = dir.readSync())
      if (entry.isDirectory()) names.push(asBytes(entry.name))
  } finally {
    dir.closeSync()
  }
  return names
}
