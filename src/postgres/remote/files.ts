import type { Connection, Download } from '../../remote/connection.ts'
import { readAll } from '../../util/bytes.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { ClusterDirectory, ClusterEntry, ClusterFiles, ClusterFileSource } from '../cluster-access.ts'
import { ListAhead } from './list-ahead.ts'
import { entryOf, pgListVerb, pgReadVerb, pgStatVerb } from './verbs.ts'

/** The files of a cluster on another host, over a connection that its opener closes. */
export class RemoteFiles implements ClusterFiles {
  readonly display: string
  readonly versionForce: string | undefined
  readonly #connection: Connection
  readonly #signal: AbortSignal
  readonly #directories = new ListAhead((path) => this.#list(path))

  constructor(connection: Connection, display: string, signal: AbortSignal, versionForce?: string) {
    this.#connection = connection
    this.display = display
    this.versionForce = versionForce
    this.#signal = signal
  }

  expectWalk(path: ByteString): void {
    this.#directories.expectWalk(path)
  }

  list(path: ByteString): Promise<ClusterDirectory | undefined> {
    return this.#directories.list(path)
  }

  async #list(path: ByteString): Promise<ClusterDirectory | undefined> {
    const listed = await this.#connection.rows(pgListVerb, { path }, { signal: this.#signal })
    const names: ByteString[] = []
    const entries: ClusterEntry[] = []
    for await (const { entry, removed } of listed) {
      names.push(nameIn(entry?.name ?? removed))
      if (entry !== undefined) entries.push(entryOf(entry))
    }
    return listed.answer.exists ? { names, [Symbol.iterator]: () => entries.values() } : undefined
  }

  async stat(path: ByteString, options: { follow?: boolean } = {}): Promise<ClusterEntry | undefined> {
    const request = { path, follow: options.follow === true }
    const { entry } = await this.#connection.call(pgStatVerb, request, { signal: this.#signal })
    return entry === undefined ? undefined : { ...entryOf(entry), name: path }
  }

  async open(path: ByteString, options: { maxBytes?: number; buffer: Buffer }): Promise<ClusterFileSource | undefined> {
    const { maxBytes = Infinity, buffer } = options
    const download = await this.#read(path, 0, options.maxBytes)
    if (download === undefined) return undefined
    return new RemoteSource(download, buffer, maxBytes, (offset, length) => this.#reread(path, offset, length))
  }

  async #reread(path: ByteString, offset: number, length: number): Promise<Buffer> {
    const download = await this.#read(path, offset, length)
    if (download === undefined) return Buffer.alloc(0)
    return readAll(download, { maxBytes: length, tooLarge })
  }

  async #read(path: ByteString, offset: number, maxBytes?: number): Promise<Download<unknown> | undefined> {
    const download = await this.#connection.download(pgReadVerb, { path, offset, maxBytes }, { signal: this.#signal })
    if (download.answer.exists) return download
    await download[Symbol.asyncDispose]()
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Every file is closed by its opener.
  }
}

/** Names become names in the repository. */
function nameIn(name: ByteString | undefined): ByteString {
  if (name !== undefined && name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)) return name
  throw new PgtsError('protocol', 'invalid message: an entry of a directory has an invalid name')
}

function tooLarge(): PgtsError {
  return new PgtsError('protocol', 'invalid message: more bytes of a file than requested')
}

class RemoteSource implements ClusterFileSource {
  readonly reread: ClusterFileSource['reread']
  readonly #download: Download<unknown>
  readonly #buffer: Buffer
  #left: number
  /** Received bytes that did not fit into the buffer. */
  #rest: Uint8Array = new Uint8Array(0)

  constructor(download: Download<unknown>, buffer: Buffer, maxBytes: number, reread: ClusterFileSource['reread']) {
    this.#download = download
    this.#buffer = buffer
    this.#left = maxBytes
    this.reread = reread
  }

  /** A whole buffer, except at the end of the file: a short chunk must not split a page. */
  async next(): Promise<Uint8Array | undefined> {
    let filled = 0
    while (filled < this.#buffer.length) {
      if (this.#rest.length === 0 && !(await this.#receive())) break
      const part = this.#rest.subarray(0, this.#buffer.length - filled)
      this.#buffer.set(part, filled)
      filled += part.length
      this.#rest = this.#rest.subarray(part.length)
    }
    return filled === 0 ? undefined : this.#buffer.subarray(0, filled)
  }

  async #receive(): Promise<boolean> {
    const chunk = await this.#download.next()
    if (chunk === undefined) return false
    this.#left -= chunk.length
    if (this.#left < 0) throw tooLarge()
    this.#rest = chunk
    return true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#download[Symbol.asyncDispose]()
  }
}
