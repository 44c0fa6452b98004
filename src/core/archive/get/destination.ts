import { constants } from 'node:fs'
import { lstat, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import type { ByteSink } from '../../../util/bytes.ts'
import { messageOf, PgtsError, systemCode } from '../../../util/error.ts'
import { isAlive } from '../../../util/is-alive.ts'
import { renameNew } from '../../../util/rename-new.ts'

/** A file in pg_wal that is written atomically. */
export interface Destination extends AsyncDisposable {
  readonly sink: ByteSink
  /** Make the file durable, then give it its name, replacing a file there. Without `commit` the temporary file is removed. */
  commit(): Promise<void>
}

/** Bytes collected before they are written: fewer, larger writes. */
const BUFFER_BYTES = 1024 * 1024
const MODE = 0o600

export interface DestinationOptions {
  /** Path until `commit`; by default one that no other process uses, so that two calls for one file do not interfere. */
  readonly temporary?: ByteString
  /** Make the file durable before it gets its name; default true. */
  readonly sync?: boolean
  /**
   * For a process that outlives the call: the file does not replace another, and gets its name only if this returns true.
   * The caller of the next call may have written there.
   */
  readonly isWanted?: () => boolean
}

/**
 * Create a temporary file in the destination's own directory.
 *
 * @param path absolute byte string
 * @throws PgtsError path-missing, file-open, file-write with the error of the system
 */
export async function createDestination(path: ByteString, options: DestinationOptions = {}): Promise<Destination> {
  if (options.temporary === undefined) await removeLeftovers(path)
  const temporary = options.temporary ?? bytes`${path}.${process.pid}${TEMPORARY}`
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC
  const handle = await open(pathOf(temporary), flags, MODE).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') {
      throw new PgtsError('path-missing', `the directory of ${bytesToText(path)} does not exist`, {
        hints: ['restore_command must pass %p as the destination'],
        cause: error,
      })
    }
    throw new PgtsError('file-open', `cannot create ${bytesToText(temporary)}: ${messageOf(error)}`, { cause: error })
  })
  return new LocalDestination(path, temporary, handle, options)
}

const TEMPORARY = '.pgts.tmp'

/** Remove files that killed calls for the same file have left; those of running calls are kept. */
async function removeLeftovers(path: ByteString): Promise<void> {
  const slash = path.lastIndexOf('/')
  const directory = path.slice(0, slash + 1)
  const prefix = bytes`${path.slice(slash + 1)}.`
  let names: readonly Buffer[]
  try {
    names = await readdir(pathOf(directory), { encoding: 'buffer' })
  } catch {
    // Creating the file reports what is wrong with its directory.
    return
  }
  for (const found of names) {
    const name = found.toString('latin1')
    if (!name.startsWith(prefix) || !name.endsWith(TEMPORARY)) continue
    const pid = Number(name.slice(prefix.length, -TEMPORARY.length))
    if (Number.isInteger(pid) && pid > 0 && pid !== process.pid && isAlive(pid)) continue
    await rm(pathOf(bytes`${directory}${name}`), { force: true }).catch(() => undefined)
  }
}

class LocalDestination implements Destination {
  readonly sink: ByteSink
  readonly #path: ByteString
  readonly #temporary: ByteString
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  readonly #options: DestinationOptions
  #handle: FileHandle | undefined
  #used = 0
  #committed = false

  constructor(path: ByteString, temporary: ByteString, handle: FileHandle, options: DestinationOptions) {
    this.#path = path
    this.#temporary = temporary
    this.#handle = handle
    this.#options = options
    this.sink = { write: (chunk) => this.#write(chunk) }
  }

  #write(chunk: Uint8Array): void | Promise<void> {
    if (chunk.length <= BUFFER_BYTES - this.#used) {
      this.#buffer.set(chunk, this.#used)
      this.#used += chunk.length
      return
    }
    return this.#flushAnd(chunk)
  }

  async #flushAnd(chunk: Uint8Array): Promise<void> {
    await this.#flush()
    if (chunk.length >= BUFFER_BYTES) return this.#writeAll(chunk)
    this.#buffer.set(chunk, 0)
    this.#used = chunk.length
  }

  async #flush(): Promise<void> {
    const used = this.#used
    this.#used = 0
    if (used > 0) await this.#writeAll(this.#buffer.subarray(0, used))
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    try {
      for (let offset = 0; offset < bytes.length;) {
        const { bytesWritten } = await this.#open().write(bytes, offset, bytes.length - offset)
        offset += bytesWritten
      }
    } catch (error) {
      const full = systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT'
      throw new PgtsError('file-write', `cannot write ${bytesToText(this.#temporary)}: ${messageOf(error)}`, {
        hints: full ? ['free space in the file system of pg_wal'] : [],
        cause: error,
      })
    }
  }

  async commit(): Promise<void> {
    await this.#flush()
    const handle = this.#open()
    try {
      await this.#requireOwnName(handle)
      if (this.#options.sync ?? true) await handle.sync()
      this.#handle = undefined
      await handle.close()
    } catch (error) {
      if (error instanceof PgtsError) throw error
      throw new PgtsError('file-sync', `cannot make ${bytesToText(this.#temporary)} durable: ${messageOf(error)}`, {
        cause: error,
      })
    }
    try {
      const { isWanted } = this.#options
      if (isWanted === undefined) await rename(pathOf(this.#temporary), pathOf(this.#path))
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
  async #requireOwnName(handle: FileHandle): Promise<void> {
    const [opened, named] = await Promise.all([
      handle.stat({ bigint: true }),
      lstat(pathOf(this.#temporary), { bigint: true }).catch(() => undefined),
    ])
    if (named?.ino === opened.ino && named.dev === opened.dev) return
    throw new PgtsError(
      'file-move',
      `${bytesToText(this.#temporary)} was removed or replaced while it was being written`,
    )
  }

  #open(): FileHandle {
    if (this.#handle === undefined) throw new PgtsError('assert', `${bytesToText(this.#temporary)} was closed already`)
    return this.#handle
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
    if (!this.#committed) await rm(pathOf(this.#temporary), { force: true })
  }
}
