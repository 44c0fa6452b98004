import { lstatSync, opendirSync, rmdirSync, unlinkSync, type Dir, type Dirent, type Stats } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { bytes, pathOf, type ByteString } from '../util/byte-string.ts'
import { systemCode } from '../util/error.ts'
import type { Cancellable, ListOptions, StoredFile } from './driver.ts'
import { posixError } from './posix-error.ts'

/** Number of entries read from the kernel at once and handled before the event loop runs. */
const PAGE = 256

/** Converts the result of lstat. Undefined for sockets and devices, which a repository does not contain. */
export function storedFile(name: ByteString, stats: Stats): StoredFile | undefined {
  const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'path' : stats.isSymbolicLink() ? 'link' : undefined
  if (kind === undefined) return undefined
  return { name, kind, sizeBytes: kind === 'file' ? stats.size : 0, mtimeMs: stats.mtimeMs }
}

/** Lists `path`, whose name in the storage is `prefix`; see `list` of the driver. */
export async function* listTree(
  path: ByteString,
  prefix: string,
  options: ListOptions = {},
): AsyncGenerator<StoredFile> {
  const root = prefix === '' ? '' : `${prefix}/`
  const below = ['']
  let handled = 0
  for (let at = below.pop(); at !== undefined; at = below.pop()) {
    const dir = openDirectory(at === '' ? path : bytes`${path}/${at.slice(0, -1)}`)
    if (dir === undefined) continue
    try {
      for (let entry = readEntry(dir, path); entry !== null; entry = readEntry(dir, path)) {
        options.signal?.throwIfAborted()
        const relative = at + entry.name
        if (options.recursive === true && entry.isDirectory()) {
          below.push(`${relative}/`)
        } else {
          const named = options.namesOnly === true ? namedEntry(entry, bytes`${root}${relative}`) : undefined
          const file = named ?? statEntry(bytes`${path}/${relative}`, bytes`${root}${relative}`)
          if (file !== undefined) yield file
        }
        if (++handled % PAGE === 0) await setImmediate()
      }
    } finally {
      dir.closeSync()
    }
  }
}

/**
 * Removes a file, a link (not its target) or a directory with everything below it; entries that vanish during this are
 * ignored.
 */
export async function removeTree(path: ByteString, options: Cancellable = {}): Promise<void> {
  // Another process may add files during the removal: then the directory is read again, a limited number of times.
  for (let round = 1; ; round++) {
    options.signal?.throwIfAborted()
    if (removeEntry(path)) return
    const dir = openDirectory(path)
    if (dir === undefined) return
    let handled = 0
    try {
      for (let entry = readEntry(dir, path); entry !== null; entry = readEntry(dir, path)) {
        options.signal?.throwIfAborted()
        const child = bytes`${path}/${entry.name}`
        if (entry.isDirectory()) await removeTree(child, options)
        else removeFile(child)
        if (++handled % PAGE === 0) await setImmediate()
      }
    } finally {
      dir.closeSync()
    }
    try {
      rmdirSync(pathOf(path))
      return
    } catch (error) {
      const code = systemCode(error)
      if (code === 'ENOENT') return
      if ((code !== 'ENOTEMPTY' && code !== 'EEXIST') || round === REMOVE_ROUNDS)
        throw posixError('remove-path', path, error)
    }
  }
}

const REMOVE_ROUNDS = 10

/** True if `path` no longer exists; false if it is a directory that has to be emptied first. */
function removeEntry(path: ByteString): boolean {
  try {
    if (lstatSync(pathOf(path)).isDirectory()) return false
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return true
    throw posixError('remove', path, error)
  }
  removeFile(path)
  return true
}

function removeFile(path: ByteString): void {
  try {
    unlinkSync(pathOf(path))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw posixError('remove', path, error)
  }
}

/** The entry as far as the directory entry describes it; undefined for sockets and devices. */
function namedEntry(entry: Dirent, name: ByteString): StoredFile | undefined {
  const kind = entry.isFile() ? 'file' : entry.isDirectory() ? 'path' : entry.isSymbolicLink() ? 'link' : undefined
  return kind === undefined ? undefined : { name, kind, sizeBytes: 0, mtimeMs: 0 }
}

function statEntry(path: ByteString, name: ByteString): StoredFile | undefined {
  try {
    return storedFile(name, lstatSync(pathOf(path)))
  } catch (error) {
    // Removed since the directory was read.
    if (systemCode(error) === 'ENOENT') return undefined
    throw posixError('stat', path, error)
  }
}

function openDirectory(path: ByteString): Dir | undefined {
  try {
    // @types/node lacks this encoding, and buffers as paths.
    return opendirSync(pathOf(path) as string, { encoding: 'latin1' as BufferEncoding, bufferSize: PAGE })
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw posixError('list', path, error)
  }
}

function readEntry(dir: Dir, path: ByteString) {
  try {
    return dir.readSync()
  } catch (error) {
    throw posixError('list', path, error)
  }
}
