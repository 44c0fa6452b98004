import { closeSync, constants, openSync } from 'node:fs'
import { decodeText, textPath } from '../../util/byte-string.ts'
import { readBounded, requireRegularFile } from '../../util/own-file.ts'

/**
 * The text of a file that another user may have made: a named pipe or a device is not read, so that root does not wait
 * for its owner. undefined if it is absent, not readable, not a regular file or large.
 */
export function readSmallFile(path: string): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(textPath(path), constants.O_RDONLY | constants.O_NONBLOCK)
    requireRegularFile(fd)
    return decodeText(readBounded(fd))
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
