import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { bytes, parentOf, pathOf, type ByteString } from './byte-string.ts'
import { syncDirectory } from './sync-directory.ts'

/**
 * Replaces or creates a file: readers see the old content or the new one, whole, also after a power failure.
 *
 * @param path byte string
 * @throws the system error; the old file then still exists, and no other
 */
export function replaceFile(path: ByteString, content: string | Uint8Array, mode: number): void {
  const temporary = bytes`${path}.${process.pid}.tmp`
  // Left by a killed process; a link of that name is not followed.
  rmSync(pathOf(temporary), { force: true })
  const fd = openSync(pathOf(temporary), 'wx', mode)
  try {
    try {
      fchmodSync(fd, mode)
      writeFileSync(fd, content)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(pathOf(temporary), pathOf(path))
  } catch (error) {
    unlinkSync(pathOf(temporary))
    throw error
  }
  syncDirectory(parentOf(path))
}
