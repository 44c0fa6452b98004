import { mkdirSync, statSync } from 'node:fs'
import { parentOf, pathOf, type ByteString } from './byte-string.ts'
import { systemCode } from './error.ts'

/**
 * Creates a directory and its missing parents. Node's own recursive mkdir never returns if a directory exists and
 * creating an entry in it fails with ENOENT (procfs, some network file systems).
 *
 * @param path absolute byte string
 * @returns the topmost directory that was created; undefined when `path` existed
 * @throws the system's error
 */
export function makeDirectories(path: ByteString, mode: number): string | undefined {
  const parent = parentOf(path)
  let first: string | undefined
  if (!isDirectory(parent)) first = makeDirectories(parent, mode)
  try {
    mkdirSync(pathOf(path), { mode })
    return first ?? path
  } catch (error) {
    // Another process may have created it at the same moment.
    if (systemCode(error) === 'EEXIST' && isDirectory(path)) return first
    throw error
  }
}

function isDirectory(path: ByteString): boolean {
  return statSync(pathOf(path), { throwIfNoEntry: false })?.isDirectory() === true
}
