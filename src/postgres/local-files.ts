import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statSync,
  type Stats,
} from 'node:fs'
import { localOwnerNames, type OwnerNames } from '../util/owner-names.ts'
import { asBytes, bytes, bytesToText, compareBytes, parentOf, pathOf, type ByteString } from '../util/byte-string.ts'
import { PgtsError, systemCode } from '../util/error.ts'
import type {
  ClusterDirectory,
  ClusterEntry,
  ClusterFiles,
  ClusterFileSource,
  ForcedVersion,
} from './cluster-access.ts'
import { absoluteDestination } from './link-check.ts'

/**
 * A cluster on this host. The calls are synchronous: directories of PGDATA and blocks of files are in the kernel's
 * cache or one disk access away, and the thread pool costs more than most of these calls.
 */
export function localFiles({ versionForce }: ForcedVersion = {}, owners: OwnerNames = localOwnerNames()): ClusterFiles {
  return new LocalFiles(owners, versionForce)
}

class LocalFiles implements ClusterFiles {
  readonly display = 'localhost'
  readonly #owners: OwnerNames

  constructor(
    owners: OwnerNames,
    readonly versionForce: string | undefined,
  ) {
    this.#owners = owners
  }

  async list(path: ByteString): Promise<ClusterDirectory | undefined> {
    let names: ByteString[]
    try {
      names = readdirSync(pathOf(path), { encoding: 'latin1' }).map(asBytes).sort(compareBytes)
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined
      throw translate(error, 'path-open', `cannot list ${bytesToText(path)}`)
    }
    return { names, [Symbol.iterator]: () => this.#entries(path, names) }
  }

  *#entries(path: ByteString, names: readonly ByteString[]): Generator<ClusterEntry> {
    for (const name of names) {
      const entry = this.#entry(bytes`${path}/${name}`, name, false)
      if (entry !== undefined) yield entry
    }
  }

  async stat(path: ByteString, options: { follow?: boolean } = {}): Promise<ClusterEntry | undefined> {
    return this.#entry(path, path, options.follow === true)
  }

  async open(path: ByteString, options: { maxBytes?: number; buffer: Buffer }): Promise<ClusterFileSource | undefined> {
    let descriptor: number
    try {
      // Do not wait for a writer if the file was replaced by a named pipe.
      descriptor = openSync(pathOf(path), constants.O_RDONLY | constants.O_NONBLOCK)
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined
      throw translate(error, 'file-open', `cannot open ${bytesToText(path)}`)
    }
    return new LocalSource(descriptor, path, options.buffer, options.maxBytes ?? Infinity)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // every file is closed by its opener
  }

  /** undefined if it was removed. */
  #entry(path: ByteString, name: ByteString, follow: boolean): ClusterEntry | undefined {
    try {
      const stat = follow ? statSync : lstatSync
      const found = stat(pathOf(path), { throwIfNoEntry: false })
      if (found === undefined) return undefined
      return {
        name,
        kind: kindOf(found),
        sizeBytes: found.isFile() ? found.size : 0,
        mtime: wholeSeconds(found, () => stat(pathOf(path), { bigint: true, throwIfNoEntry: false })?.mtimeNs),
        mode: found.mode & 0o777,
        user: this.#owners.user(found.uid),
        group: this.#owners.group(found.gid),
        ...(found.isSymbolicLink() ? destinationOf(path) : {}),
      }
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined
      throw translate(error, 'file-info', `cannot get information on ${bytesToText(path)}`)
    }
  }
}

function destinationOf(path: ByteString): Pick<ClusterEntry, 'destination' | 'destinationKind'> {
  const destination = asBytes(readlinkSync(pathOf(path), { encoding: 'latin1' }))
  try {
    const found = lstatSync(pathOf(absoluteDestination(destination, parentOf(path))), { throwIfNoEntry: false })
    return found === undefined ? { destination } : { destination, destinationKind: kindOf(found) }
  } catch {
    return { destination }
  }
}

function kindOf(found: Stats): ClusterEntry['kind'] {
  return found.isFile() ? 'file' : found.isDirectory() ? 'path' : found.isSymbolicLink() ? 'link' : 'special'
}

/**
 * mtime in whole seconds, rounded down as by stat(2). `mtimeMs` is a double: in the last 0.1 µs of a second it is
 * rounded up to the next one, so a time without fraction is read again exactly.
 */
function wholeSeconds(found: Stats, exactNs: () => bigint | undefined): number {
  const seconds = Math.floor(found.mtimeMs / 1000)
  if (found.mtimeMs !== seconds * 1000) return seconds
  const exact = exactNs()
  if (exact === undefined) return seconds
  const cut = exact / 1_000_000_000n
  return Number(exact < 0n && exact % 1_000_000_000n !== 0n ? cut - 1n : cut)
}

class LocalSource implements ClusterFileSource {
  readonly #descriptor: number
  readonly #path: ByteString
  readonly #buffer: Buffer
  #left: number
  #closed = false

  constructor(descriptor: number, path: ByteString, buffer: Buffer, maxBytes: number) {
    this.#descriptor = descriptor
    this.#path = path
    this.#buffer = buffer
    this.#left = maxBytes
  }

  /** A whole buffer, except at the end of the file: a short read must not split a page. */
  next(): Uint8Array | undefined {
    const wanted = Math.min(this.#buffer.length, this.#left)
    let filled = 0
    while (filled < wanted) {
      const got = this.#read(this.#buffer, filled, wanted - filled, null)
      if (got === 0) {
        this.#left = 0
        break
      }
      filled += got
    }
    if (filled === 0) return undefined
    if (this.#left > 0) this.#left -= filled
    return this.#buffer.subarray(0, filled)
  }

  /** Shorter than `length` if the file was truncated. */
  async reread(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length)
    let filled = 0
    while (filled < length) {
      const got = this.#read(bytes, filled, length - filled, offset + filled)
      if (got === 0) break
      filled += got
    }
    return bytes.subarray(0, filled)
  }

  #read(target: Buffer, offset: number, length: number, position: number | null): number {
    try {
      return readSync(this.#descriptor, target, offset, length, position)
    } catch (error) {
      throw translate(error, 'file-read', `cannot read ${bytesToText(this.#path)}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#descriptor)
  }
}

function translate(
  error: unknown,
  code: 'path-open' | 'file-open' | 'file-info' | 'file-read',
  message: string,
): PgtsError {
  const reason = systemCode(error)
  const denied = reason === 'EACCES' || reason === 'EPERM'
  return new PgtsError(code, `${message}: ${denied ? 'permission denied' : (error as Error).message}`, {
    hints: denied ? ['run pgts as the user that PostgreSQL runs as, usually postgres'] : undefined,
    cause: error,
  })
}
