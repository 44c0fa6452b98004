import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import type { ByteSink } from '../util/bytes.ts'
import { bytes, bytesToText, pathOf, type ByteString } from '../util/byte-string.ts'
import { PgtsError, systemCode } from '../util/error.ts'
import { WriteBehind } from '../util/write-behind.ts'
import type { CreateOptions, PendingFile } from './driver.ts'
import { posixError } from './posix-error.ts'

/** The suffix of pgBackRest; a file with this suffix that a crash leaves is harmless (repository-format 1.4). */
export const TEMPORARY_SUFFIX = '.pgbackrest.tmp'
const FILE_MODE = 0o640
/** A planted symbolic link is not followed, and opening a named pipe does not block. */
const UNREFERENCED_FLAGS =
  constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** A temporary file that was not written to for this long was left by a crash. */
const ABANDONED_MS = 60_000

/**
 * Creates a file; system errors of opening are not converted. Its bytes are written to a temporary name beside `path`,
 * or to `path` itself if no other file refers to it yet.
 *
 * @param syncEntry makes the directory entry durable after the rename
 */
export function openPending(path: ByteString, options: CreateOptions, syncEntry: () => void): PendingFile {
  if (options.unreferenced === true) {
    const fd = openSync(pathOf(path), UNREFERENCED_FLAGS, FILE_MODE)
    return new PosixPendingFile(fd, path, path, options.signal, syncEntry)
  }
  const { fd, name } = openTemporary(path)
  return new PosixPendingFile(fd, name, path, options.signal, syncEntry)
}

/**
 * Two writers of one name must not share a temporary file: one would rename the other's incomplete bytes into place. So
 * the file is created exclusively; if the usual name is taken, by another writer or since a crash, another name is
 * used.
 */
function openTemporary(path: string): { fd: number; name: ByteString } {
  const usual = bytes`${path}${TEMPORARY_SUFFIX}`
  const exclusive = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
  for (let attempt = 0; ; attempt++) {
    const name = attempt === 0 ? usual : bytes`${path}.${process.pid}-${++sequence}${TEMPORARY_SUFFIX}`
    try {
      return { fd: openSync(pathOf(name), exclusive, FILE_MODE), name }
    } catch (error) {
      if (systemCode(error) !== 'EEXIST' || attempt === 100) throw error
      // If it cannot be removed, other names are tried.
      if (name === usual && isAbandoned(usual) && unlinkQuietly(usual)) attempt--
    }
  }
}

/**
 * Creates a small file, whole and durable, under a name that does not exist; false if it exists. System errors are not
 * converted. On file systems without hard links the file is created exclusively instead.
 */
export function linkNew(path: ByteString, bytes: Uint8Array): boolean {
  const { fd, name } = openTemporary(path)
  try {
    writeWhole(fd, bytes)
    try {
      linkSync(pathOf(name), pathOf(path))
      return true
    } catch (error) {
      const code = systemCode(error)
      if (code === 'EEXIST') return false
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error
    }
  } finally {
    closeSync(fd)
    unlinkQuietly(name)
  }
  return createNew(path, bytes)
}

function createNew(path: ByteString, bytes: Uint8Array): boolean {
  let fd: number
  try {
    fd = openSync(pathOf(path), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, FILE_MODE)
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw error
  }
  try {
    writeWhole(fd, bytes)
  } finally {
    closeSync(fd)
  }
  return true
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done)
  fsyncSync(fd)
}

let sequence = Math.floor(Math.random() * 0x7fffffff)

function isAbandoned(path: ByteString): boolean {
  try {
    return Date.now() - lstatSync(pathOf(path)).mtimeMs > ABANDONED_MS
  } catch {
    return false
  }
}

class PosixPendingFile implements PendingFile {
  readonly sink: ByteSink
  readonly #written: ByteString
  readonly #final: ByteString
  readonly #signal: AbortSignal | undefined
  readonly #syncEntry: () => void
  readonly #behind: WriteBehind
  #fd: number | undefined

  constructor(
    fd: number,
    written: ByteString,
    final: ByteString,
    signal: AbortSignal | undefined,
    syncEntry: () => void,
  ) {
    this.#fd = fd
    this.#behind = new WriteBehind(fd)
    this.#written = written
    this.#final = final
    this.#signal = signal
    this.#syncEntry = syncEntry
    this.sink = { write: (chunk) => this.#write(chunk) }
  }

  #write(chunk: Uint8Array): void {
    const fd = this.#open()
    this.#signal?.throwIfAborted()
    try {
      // The kernel may write fewer bytes than requested, for example just before the disk is full.
      for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done, chunk.length - done)
      this.#behind.wrote(chunk.length)
    } catch (error) {
      throw posixError('write', this.#final, error)
    }
  }

  async commit(options: { deferSync?: boolean } = {}): Promise<void> {
    const fd = this.#open()
    this.#signal?.throwIfAborted()
    try {
      await this.#behind.finish()
    } catch (error) {
      throw posixError('sync', this.#final, error)
    }
    this.#signal?.throwIfAborted()
    if (this.#written !== this.#final) this.#rename(fd)
    this.#fd = undefined
    try {
      closeSync(fd)
    } catch (error) {
      throw posixError('write', this.#final, error)
    }
    if (options.deferSync !== true) this.#syncEntry()
  }

  #rename(fd: number): void {
    try {
      // Another writer considered this file abandoned and removed it: the file that has its name now belongs to that
      // writer.
      if (fstatSync(fd).nlink === 0) {
        throw new PgtsError('file-write', `${bytesToText(this.#written)} was removed while it was being written`, {
          hints: ['another process may be writing the same file: wait for it to end, and run the command again'],
        })
      }
      renameSync(pathOf(this.#written), pathOf(this.#final))
    } catch (error) {
      if (isRefused(error) && linkQuietly(this.#written, this.#final)) return
      throw posixError('move', this.#final, error)
    }
  }

  #open(): number {
    if (this.#fd === undefined)
      throw new PgtsError('assert', `${bytesToText(this.#final)} was written after it was committed or discarded`)
    return this.#fd
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const fd = this.#fd
    if (fd === undefined) return
    this.#fd = undefined
    await this.#behind.abandon()
    // Unlink the name only while it still belongs to this file.
    if (this.#written === this.#final || fstatSync(fd).nlink > 0) unlinkQuietly(this.#written)
    closeSync(fd)
  }
}

function isRefused(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'EPERM' || code === 'EACCES'
}

/**
 * In an append-only directory (chattr +a) nothing can be renamed. The file can get its name as a second link there; the
 * temporary name stays. An existing file is never replaced this way.
 */
function linkQuietly(written: ByteString, final: ByteString): boolean {
  try {
    linkSync(pathOf(written), pathOf(final))
  } catch {
    return false
  }
  unlinkQuietly(written)
  return true
}

/**
 * A discarded file that cannot be removed is harmless, and must not replace the error that it is discarded for.
 * @returns false if it still exists
 */
function unlinkQuietly(path: ByteString): boolean {
  try {
    unlinkSync(pathOf(path))
    return true
  } catch (error) {
    return systemCode(error) === 'ENOENT'
  }
}
