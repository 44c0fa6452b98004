import { closeSync, constants, fsyncSync, openSync } from 'node:fs'
import { pathOf, type ByteString } from './byte-string.ts'
import { systemCode } from './error.ts'

/**
 * Makes the entries of one directory durable. File systems that cannot do this (some network file systems) are accepted: there is
 * no other way to flush.
 *
 * @throws the system error of open or fsync
 */
export function syncDirectory(path: ByteString): void {
  const fd = openSync(pathOf(path), constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    fsyncSync(fd)
  } catch (error) {
    if (systemCode(error) !== 'EINVAL' && systemCode(error) !== 'ENOTSUP') throw error
  } finally {
    closeSync(fd)
  }
}
