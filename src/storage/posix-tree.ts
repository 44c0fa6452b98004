import { lstatSync, opendirSync, rmdirSync, unlinkSync, type Dir, type Dirent, type Stats } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { pathOf } from '../util/byte-string.ts'
import { systemCode } from '../util/error.ts'
import type { Cancellable, ListOptions, StoredFile } from './driver.ts'
import { posixError } from './posix-error.ts'

/** Entries read from the kernel at once, and handled before other work of this thread gets its turn. */
const PAGE = 256

/** What lstat says, as the driver says it. Sockets and the like have no place in a repository: undefined. */
export function storedFile(name: string, stats: Stats): StoredFile | undefined {
  const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'path' : stats.isSymbolicLink() ? 'link' : undefined
  if (kind === undefined) return undefined
  return { name, kind, sizeBytes: kind === 'file' ? stats.size : 0, mtimeMs: stats.mtimeMs }
}

/** List `path`, whose name in the storage is `prefix`; see the driver's `list`. */
export async function* listTree(path: string, prefix: string, options: ListOptions = {}): AsyncGenerator<StoredFile> {
  const root = prefix === '' ? '' : `${prefix}/`
  const below = ['']
  let handled = 0
  for (let at = below.pop(); at !== undefined; at = below.pop()) {
    const dir = openDirectory(at === '' ? path : `${path}/${at.slice(0, -1)}`)
    if (dir === undefined) continue
    try {
      for (let entry = readEntry(dir, path); entry !== null; entry = readEntry(dir, path)) {
        options.signal?.throwIfAborted()
        const relative = at + entry.name
        if (options.recursive === true && entry.isDirectory()) {
          below.push(`${relative}/`)
        } else {
          const named = options.namesOnly === true ? namedEntry(entry, root + relative) : undefined
          const file = named ?? statEntry(`${path}/${relative}`, root + relative)
          if (file !== undefined) yield file
        }
        if (++handled % PAGE === 0) await setImmediate()
      }
    } finally {
      dir.closeSync()
    }
  }
}

/** Remove a file, a link (not what it points to) or a directory with all below it; what vanishes meanwhile is fine. */
export async function removeTree(path: string, options: Cancellable = {}): Promise<void> {
  // Another process may add files while we remove: the directory is then read again, but not for ever.
  for (let round = 1; ; round++) {
    options.signal?.throwIfAborted()
    if (removeEntry(path)) return
    const dir = openDirectory(path)
    if (dir === undefined) return
    let handled = 0
    try {
      for (let entry = readEntry(dir, path); entry !== null; entry = readEntry(dir, path)) {
        options.signal?.throwIfAborted()
        const child = `${path}/${entry.name}`
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

/** True when `path` is gone; false when it is a directory that has to be emptied first. */
function removeEntry(path: string): boolean {
  try {
    if (lstatSync(pathOf(path)).isDirectory()) return false
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return true
    throw posixError('remove', path, error)
  }
  removeFile(path)
  return true
}

function removeFile(path: string): void {
  try {
    unlinkSync(pathOf(path))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw posixError('remove', path, error)
  }
}

/** What the directory itself tells of it; undefined for sockets and the like. */
function namedEntry(entry: Dirent, name: string): StoredFile | undefined {
  const kind = entry.isFile() ? 'file' : entry.isDirectory() ? 'path' : entry.isSymbolicLink() ? 'link' : undefined
  return kind === undefined ? undefined : { name, kind, sizeBytes: 0, mtimeMs: 0 }
}

function statEntry(path: string, name: string): StoredFile | undefined {
  try {
    return storedFile(name, lstatSync(pathOf(path)))
  } catch (error) {
    // Removed since the directory was read.
    if (systemCode(error) === 'ENOENT') return undefined
    throw posixError('stat', path, error)
  }
}

function openDirectory(path: string): Dir | undefined {
  try {
    // @types/node knows the encoding, and paths as buffers, less well than Node does.
    return opendirSync(pathOf(path) as string, { encoding: 'latin1' as BufferEncoding, bufferSize: PAGE })
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw posixError('list', path, error)
  }
}

function readEntry(dir: Dir, path: string) {
  try {
    return dir.readSync()
  } catch (error) {
    throw posixError('list', path, error)
  }
}
