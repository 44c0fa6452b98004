import { lstatSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from 'node:fs'
import { asBytes, bytes, parentOf, pathOf, textToBytes, type ByteString } from '../util/byte-string.ts'
import { PgtsError, systemCode } from '../util/error.ts'
import type {
  ByteRange,
  Cancellable,
  CreateOptions,
  LinkSupport,
  ListOptions,
  PendingFile,
  StorageDriver,
  StoredFile,
} from './driver.ts'
import { makeDirectories } from '../util/make-directories.ts'
import { assertName, assertPrefix } from './name.ts'
import { BufferPool } from './posix-buffer.ts'
import { posixError } from './posix-error.ts'
import { linkNew, openPending, TEMPORARY_SUFFIX } from './posix-pending.ts'
import { fileSource } from './posix-source.ts'
import { syncDirectory, syncTree } from './posix-sync.ts'
import { listTree, removeTree, storedFile } from './posix-tree.ts'

/** Applied exactly, because `main` sets the umask to 0; the modes of the format (repository-format 1.4). */
export const DIRECTORY_MODE = 0o750

/**
 * A repository on a local or mounted file system. The calls are synchronous: a local file operation takes microseconds,
 * a call through the thread pool tens of them, and a backup has a hundred thousand files.
 *
 * @param root absolute path, as text
 */
export function posixStorage(root: string): StorageDriver {
  return new PosixStorage(root)
}

class PosixStorage implements StorageDriver {
  readonly display: string
  readonly links: LinkSupport
  readonly #root: ByteString
  readonly #buffers = new BufferPool()
  /** Directories created by this driver, and directories whose own entry is known to be durable. */
  readonly #made = new Set<string>()
  readonly #durable = new Set<string>()

  constructor(root: string) {
    if (!root.startsWith('/')) throw new PgtsError('assert', `the path of a posix storage is not absolute: ${root}`)
    this.display = root
    this.#root = textToBytes(root).replace(/\/+$/, '')
    this.links = {
      symlink: async (name, destination) => this.#symlink(asBytes(name), asBytes(destination)),
      readlink: async (name) => this.#readlink(asBytes(name)),
      makePath: async (name) => {
        assertPrefix(name)
        this.#makePath(this.#path(name))
      },
    }
  }

  async stat(name: ByteString, options?: Cancellable): Promise<StoredFile | undefined> {
    assertPrefix(name)
    options?.signal?.throwIfAborted()
    const path = this.#path(name)
    try {
      return storedFile(name, lstatSync(pathOf(path)))
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw posixError('stat', path, error)
    }
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<StoredFile> {
    assertPrefix(prefix)
    return listTree(this.#path(prefix), prefix, options)
  }

  async read(name: string, range: ByteRange & Cancellable = {}) {
    assertName(name)
    range.signal?.throwIfAborted()
    return fileSource(this.#path(name), range, this.#buffers)
  }

  async create(name: string, options: CreateOptions = {}): Promise<PendingFile> {
    assertName(name)
    options.signal?.throwIfAborted()
    const path = this.#path(name)
    const open = () => openPending(path, options, () => this.#syncEntry(parentOf(path)))
    try {
      return open()
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw posixError('create', path, error)
    }
    // Directories are created when opening the first file fails, so that other files need no check.
    this.#makePath(parentOf(path))
    try {
      return open()
    } catch (error) {
      throw posixError('create', path, error)
    }
  }

  /**
   * Created as a hard link: the only way to create a complete file exclusively that also works on network file systems.
   */
  async createIfAbsent(name: string, bytes: Uint8Array, options: Cancellable = {}): Promise<boolean> {
    assertName(name)
    options.signal?.throwIfAborted()
    const path = this.#path(name)
    try {
      this.#makePath(parentOf(path))
      if (!linkNew(path, bytes)) return false
    } catch (error) {
      throw posixError('create', path, error)
    }
    this.#syncEntry(parentOf(path))
    return true
  }

  async remove(name: string, options?: Cancellable): Promise<void> {
    assertName(name)
    options?.signal?.throwIfAborted()
    const path = this.#path(name)
    try {
      unlinkSync(pathOf(path))
    } catch (error) {
      if (!isAbsent(error)) throw posixError('remove', path, error)
    }
  }

  async removeTree(prefix: string, options?: Cancellable): Promise<void> {
    assertName(prefix)
    await removeTree(this.#path(prefix), options)
  }

  async sync(prefix: string, options?: Cancellable): Promise<void> {
    assertPrefix(prefix)
    await syncTree(this.#path(prefix), options)
    if (prefix !== '') this.#syncParents(this.#path(prefix))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#buffers.clear()
  }

  #path(name: string): ByteString {
    return name === '' ? this.#root || asBytes('/') : bytes`${this.#root}/${name}`
  }

  #makePath(path: ByteString): void {
    try {
      const first = makeDirectories(path, DIRECTORY_MODE)
      if (first === undefined) return
      for (let made = path; made.length > this.#root.length; made = parentOf(made)) this.#made.add(made)
      // Directories created above the root (for the first stanza of a new repository) must become durable as well.
      const top = first.length
      for (let made = this.#root; made.length >= top; made = parentOf(made)) syncDirectory(parentOf(made))
    } catch (error) {
      throw posixError('make-path', path, error)
    }
  }

  /** Makes a committed entry durable: its directory each time, the directories above once for each driver. */
  #syncEntry(directory: ByteString): void {
    syncDirectory(directory)
    this.#syncParents(directory)
  }

  /**
   * Syncs the directories above a synced one. Only directories that were changed recently (perhaps by another process)
   * are synced: older ones are durable, and archive-push saves one flush for each.
   */
  #syncParents(directory: ByteString): void {
    for (let path = directory; path.length > this.#root.length && !this.#durable.has(path); path = parentOf(path)) {
      const above = parentOf(path)
      if (this.#made.has(path) || changedLately(above)) syncDirectory(above)
      this.#durable.add(path)
    }
  }

  #symlink(name: string, destination: ByteString): void {
    assertName(name)
    const path = this.#path(name)
    const temporary = bytes`${path}${TEMPORARY_SUFFIX}`
    const create = () => symlinkSync(pathOf(destination), pathOf(temporary))
    try {
      try {
        create()
      } catch (error) {
        if (systemCode(error) === 'ENOENT') this.#makePath(parentOf(path))
        else if (systemCode(error) === 'EEXIST') unlinkSync(pathOf(temporary))
        else throw error
        create()
      }
      renameSync(pathOf(temporary), pathOf(path))
    } catch (error) {
      throw posixError('link', path, error)
    }
  }

  #readlink(name: ByteString): ByteString | undefined {
    assertName(name)
    const path = this.#path(name)
    try {
      return asBytes(readlinkSync(pathOf(path), { encoding: 'latin1' }))
    } catch (error) {
      if (isAbsent(error) || systemCode(error) === 'EINVAL') return undefined
      throw posixError('stat', path, error)
    }
  }
}

/** Far longer than a file system keeps a change in memory only. */
const SURELY_DURABLE_MS = 3_600_000

function changedLately(directory: ByteString): boolean {
  try {
    return Date.now() - lstatSync(pathOf(directory)).mtimeMs < SURELY_DURABLE_MS
  } catch {
    return true
  }
}

/** Missing, or below something that is not a directory. */
function isAbsent(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}
