import type { Connection, Upload } from '../../remote/connection.ts'
import type { OpenAnswer } from '../../remote/open.ts'
import { asBytes, bytesToText } from '../../util/byte-string.ts'
import type { ByteSink, ByteSource } from '../../util/bytes.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import type {
  ByteRange,
  Cancellable,
  CreateOptions,
  LinkSupport,
  ListOptions,
  PendingFile,
  StorageDriver,
  StoredFile,
} from '../driver.ts'
import { assertName, assertPrefix, missingFile } from '../name.ts'
import {
  abortUploadsVerb,
  createIfAbsentVerb,
  createVerb,
  listVerb,
  makePathVerb,
  partsOf,
  readlinkVerb,
  readVerb,
  removeTreeVerb,
  removeVerb,
  statVerb,
  symlinkVerb,
  syncVerb,
} from './verbs.ts'

/** Each file costs a round trip, so a worker processes several at a time. */
const PARALLEL = 4

/** A repository that a process on another host has open. */
export class RemoteStorage implements StorageDriver {
  /** `HOST:/var/lib/pgbackrest` */
  readonly display: string
  readonly parallel: number
  readonly createIfAbsent?: StorageDriver['createIfAbsent']
  readonly abortUploads?: StorageDriver['abortUploads']
  readonly links?: LinkSupport

  /** @param host as configured. @param answer of the serving end. Disposal closes the connection */
  constructor(
    readonly connection: Connection,
    host: string,
    { display, members, parallel }: OpenAnswer,
  ) {
    this.display = `${host}:${display}`
    this.parallel = Math.max(PARALLEL, parallel ?? PARALLEL)
    if (members.includes('create-if-absent'))
      this.createIfAbsent = (name, bytes, options) => this.#createIfAbsent(name, bytes, options)
    if (members.includes('abort-uploads'))
      this.abortUploads = (prefix, beforeMs, options) => this.#abortUploads(prefix, beforeMs, options)
    if (members.includes('links')) this.links = linksOver(connection)
  }

  get lost(): boolean {
    return this.connection.signal.aborted
  }

  async stat(name: string, options?: Cancellable): Promise<StoredFile | undefined> {
    assertPrefix(name)
    const { entry } = await this.connection.call(statVerb, { name: asBytes(name) }, options)
    return entry ?? undefined
  }

  list(prefix: string, options: ListOptions = {}): AsyncIterable<StoredFile> {
    assertPrefix(prefix)
    return this.#list(prefix, options)
  }

  async *#list(prefix: string, { recursive = false, namesOnly = false, signal }: ListOptions) {
    const request = { prefix: asBytes(prefix), recursive, namesOnly }
    yield* await this.connection.rows(listVerb, request, { signal })
  }

  async read(name: string, { offset, length, signal }: ByteRange & Cancellable = {}): Promise<ByteSource> {
    assertName(name)
    try {
      const request = { name: asBytes(name), offset, length }
      const body = await this.connection.download(readVerb, request, { signal })
      return {
        sizeBytes: body.answer.sizeBytes,
        next: () => body.next(),
        [Symbol.asyncDispose]: () => body[Symbol.asyncDispose](),
      }
    } catch (error) {
      if (!isPgtsError(error, 'file-missing')) throw error
      throw missingFile(`${this.display}/${bytesToText(asBytes(name))}`, error)
    }
  }

  /** The request, the bytes and the commit of a small file are sent together. */
  async create(name: string, { unreferenced = false, signal }: CreateOptions = {}): Promise<PendingFile> {
    assertName(name)
    signal?.throwIfAborted()
    return new RemoteFile(this.connection.upload(createVerb, { name: asBytes(name), unreferenced }, { signal }))
  }

  async #createIfAbsent(name: string, bytes: Uint8Array, options?: Cancellable): Promise<boolean> {
    assertName(name)
    return (await this.connection.call(createIfAbsentVerb, { name: asBytes(name), bytes }, options)).value
  }

  async remove(name: string, options?: Cancellable): Promise<void> {
    await this.removeFiles([name], options)
  }

  async removeFiles(names: readonly string[], options?: Cancellable): Promise<void> {
    for (const name of names) assertName(name)
    for (const part of partsOf(names.map(asBytes))) await this.connection.call(removeVerb, { names: part }, options)
  }

  async removeTree(prefix: string, options?: Cancellable): Promise<void> {
    assertName(prefix)
    await this.connection.call(removeTreeVerb, { name: asBytes(prefix) }, options)
  }

  async #abortUploads(prefix: string, beforeMs: number, options?: Cancellable): Promise<number> {
    assertPrefix(prefix)
    return (await this.connection.call(abortUploadsVerb, { prefix: asBytes(prefix), beforeMs }, options)).count
  }

  async sync(prefix: string, options?: Cancellable): Promise<void> {
    assertPrefix(prefix)
    await this.connection.call(syncVerb, { prefix: asBytes(prefix) }, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection[Symbol.asyncDispose]()
  }
}

class RemoteFile implements PendingFile {
  readonly sink: ByteSink
  readonly #upload: Upload<{ readonly deferSync: boolean }, unknown>
  #isOpen = true

  constructor(upload: Upload<{ readonly deferSync: boolean }, unknown>) {
    this.#upload = upload
    this.sink = {
      write: (chunk) => {
        this.#assertOpen()
        return upload.sink.write(chunk)
      },
    }
  }

  async commit({ deferSync = false }: { deferSync?: boolean } = {}): Promise<void> {
    this.#assertOpen()
    this.#isOpen = false
    await this.#upload.finish({ deferSync })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOpen = false
    await this.#upload[Symbol.asyncDispose]()
  }

  #assertOpen(): void {
    if (!this.#isOpen) throw new PgtsError('assert', 'a file was written after it was committed or discarded')
  }
}

function linksOver(connection: Connection): LinkSupport {
  return {
    async symlink(name, destination) {
      assertName(name)
      await connection.call(symlinkVerb, { name: asBytes(name), destination: asBytes(destination) })
    },
    async readlink(name) {
      assertName(name)
      return (await connection.call(readlinkVerb, { name: asBytes(name) })).destination ?? undefined
    },
    async makePath(name) {
      assertPrefix(name)
      await connection.call(makePathVerb, { name: asBytes(name) })
    },
  }
}
