import {
  closeSync,
  constants,
  fstatSync,
  fsync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import type { ByteSink } from '../../../util/bytes.ts'
import { messageOf, PgtsError, systemCode } from '../../../util/error.ts'
import { isAlive } from '../../../util/is-alive.ts'
import { renameNew } from '../../../util/rename-new.ts'
import { yieldToEventLoop } from '../../../util/yield-to-event-loop.ts'

/** A file in pg_wal that is written atomically. */
export interface Destination extends AsyncDisposable {
  readonly sink: ByteSink
  /** Make the file durable if that is needed, then give it its name, replacing a file there. Without `commit` the temporary file is removed. */
  commit(): Promise<void>
}

const MODE = 0o600

export interface DestinationOptions {
  /** Path until `commit`; by default one that no other process uses, so that two calls for one file do not interfere. */
  readonly temporary?: ByteString
  /**
   * Make the file durable before it gets its name. Default: unless it is a file of recovery, which PostgreSQL removes after a
   * crash, and makes durable if it keeps it (RestoreArchivedFile and KeepFileRestoredFromArchive of xlogarchive.c).
   */
  readonly sync?: boolean
  /**
   * For a process that outlives the call: the file does not replace another, and gets its name only if this returns true.
   * The caller of the next call may have written there.
   */
  readonly isWanted?: () => boolean
}

/**
 * Create a temporary file in the destination's own directory. Calls are synchronous: 16 writes of a segment by the thread pool
 * are 16 switches to another thread, each of which waits for a processor on a busy host.
 *
 * @param path absolute byte string
 * @throws PgtsError path-missing, file-open, file-write with the error of the system
 */
export async function createDestination(path: ByteString, options: DestinationOptions = {}): Promise<Destination> {
  if (options.temporary === undefined) removeLeftovers(path)
  const temporary = options.temporary ?? bytes`${path}.${process.pid}${TEMPORARY}`
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC
  try {
    return new LocalDestination(path, temporary, openSync(pathOf(temporary), flags, MODE), options)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') {
      throw new PgtsError('path-missing', `the directory of ${bytesToText(path)} does not exist`, {
        hints: ['restore_command must pass %p as the destination'],
        cause: error,
      })
    }
    throw new PgtsError('file-open', `cannot create ${bytesToText(temporary)}: ${messageOf(error)}`, { cause: error })
  }
}

const TEMPORARY = '.pgts.tmp'

/** Remove files that killed calls for the same file have left; those of running calls are kept. */
function removeLeftovers(path: ByteString): void {
  const slash = path.lastIndexOf('/')
  const directory = path.slice(0, slash + 1)
  const prefix = bytes`${path.slice(slash + 1)}.`
  let names: readonly Buffer[]
  try {
    names = readdirSync(pathOf(directory), { encoding: 'buffer' })
  } catch {
    // Creating the file reports what is wrong with its directory.
    return
  }
  for (const found of names) {
    const name = found.toString('latin1')
    if (!name.startsWith(prefix) || !name.endsWith(TEMPORARY)) continue
    const pid = Number(name.slice(prefix.length, -TEMPORARY.length))
    if (Number.isInteger(pid) && pid > 0 && pid !== process.pid && isAlive(pid)) continue
    removeQuietly(bytes`${directory}${name}`)
  }
}

function removeQuietly(path: ByteString): void {
  try {
    rmSync(pathOf(path), { force: true })
  } catch {
    // It is never used: the next call tries again.
  }
}

const RECOVERY_FILE = /\/RECOVERY(?:XLOG|HISTORY)$/

class LocalDestination implements Destination {
  readonly sink: ByteSink
  readonly #path: ByteString
  readonly #temporary: ByteString
  readonly #options: DestinationOptions
  #fd: number | undefined
  #committed = false

  constructor(path: ByteString, temporary: ByteString, fd: number, options: DestinationOptions) {
    this.#path = path
    this.#temporary = temporary
    this.#fd = fd
    this.#options = options
    this.sink = { write: (chunk) => this.#write(chunk) }
  }

  #write(bytes: Uint8Array): void | Promise<void> {
    const fd = this.#open()
    try {
      for (let offset = 0; offset < bytes.length;) offset += writeSync(fd, bytes, offset, bytes.length - offset)
    } catch (error) {
      const full = systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT'
      throw new PgtsError('file-write', `cannot write ${bytesToText(this.#temporary)}: ${messageOf(error)}`, {
        hints: full ? ['free space in the file system of pg_wal'] : [],
        cause: error,
      })
    }
    return yieldToEventLoop()
  }

  async commit(): Promise<void> {
    const fd = this.#open()
    try {
      this.#requireOwnName(fd)
      if (this.#options.sync ?? !RECOVERY_FILE.test(this.#path)) await promisify(fsync)(fd)
      this.#fd = undefined
      closeSync(fd)
    } catch (error) {
      if (error instanceof PgtsError) throw error
      throw new PgtsError('file-sync', `cannot make ${bytesToText(this.#temporary)} durable: ${messageOf(error)}`, {
        cause: error,
      })
    }
    try {
      const { isWanted } = this.#options
      if (isWanted === undefined) renameSync(pathOf(this.#temporary), pathOf(this.#path))
      else if (isWanted()) renameNew(this.#temporary, this.#path)
      else throw new Error('no call waits for it any more')
    } catch (error) {
      throw new PgtsError(
        'file-move',
        `cannot rename ${bytesToText(this.#temporary)} to ${bytesToText(this.#path)}: ${messageOf(error)}`,
        {
          cause: error,
        },
      )
    }
    this.#committed = true
  }

  /** The directory may have been emptied, and another process may write under this name: its file must not be published. */
  #requireOwnName(fd: number): void {
    const opened = fstatSync(fd, { bigint: true })
    const named = lstatSync(pathOf(this.#temporary), { bigint: true, throwIfNoEntry: false })
    if (named?.ino === opened.ino && named.dev === opened.dev) return
    throw new PgtsError(
      'file-move',
      `${bytesToText(this.#temporary)} was removed or replaced while it was being written`,
    )
  }

  #open(): number {
    if (this.#fd === undefined) throw new PgtsError('assert', `${bytesToText(this.#temporary)} was closed already`)
    return this.#fd
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    if (!this.#committed) rmSync(pathOf(this.#temporary), { force: true })
  }
}
