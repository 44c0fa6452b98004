import type { ByteSource } from '../../util/bytes.ts'
import { asBytes, bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import type {
  ByteRange,
  Cancellable,
  CreateOptions,
  ListOptions,
  PartReading,
  PendingFile,
  StorageDriver,
  StoredFile,
} from '../driver.ts'
import { assertName, assertPrefix } from '../name.ts'
import { ByteBudget } from './budget.ts'
import type { ObjectClient, ObjectEntry } from './client.ts'
import { kindOf } from './kind.ts'
import { pagesOf } from './pages.ts'
import { PartBuffers } from './part-buffers.ts'
import { readObject } from './read.ts'
import { removeBelow, removeNames } from './remove.ts'
import { ObjectUploading } from './upload.ts'

export interface ObjectStorageOptions {
  /** Path of the repository in the bucket: `/`, `/pgts`, `team/a`. Byte string. */
  readonly path: ByteString
  readonly reading?: PartReading
  /** Memory for parts in flight beside one buffer per file, bytes; once for uploads and once for downloads. */
  readonly budgetBytes?: number
}

/** Enough for a fast network; with four files at once and two workers still far below the limit of 300 MB. */
const BUDGET_BYTES = 12 * 1024 * 1024

/** Jobs that a worker should process concurrently, so that their round trips overlap. */
const PARALLEL = 4

/**
 * A repository in an object store. A file is one object, complete or absent. It is durable when `commit` resolves,
 * because the store guarantees that for acknowledged objects; and it is visible at once, as S3 (since 2020), Azure and
 * GCS guarantee for writes, overwrites, removals and listings. Paths exist while something is below them.
 *
 * Memory: every open file has one buffer of at most 5 MiB (files beyond 5 GB: more); all files together have
 * `budgetBytes` for uploads and as much for downloads.
 *
 * @param client with retries (object/retry.ts); disposed with the storage
 */
export function objectStorage(client: ObjectClient, options: ObjectStorageOptions): StorageDriver {
  return new ObjectStorage(client, options)
}

class ObjectStorage implements StorageDriver {
  readonly display: string
  readonly parallel = PARALLEL
  readonly reading?: PartReading
  readonly abortUploads?: NonNullable<StorageDriver['abortUploads']>
  readonly createIfAbsent?: NonNullable<StorageDriver['createIfAbsent']>
  readonly #client: ObjectClient
  /** '' or ends with '/'. */
  readonly #root: ByteString
  readonly #buffers = new PartBuffers()
  readonly #chunks = new PartBuffers()
  readonly #uploads: ByteBudget
  readonly #downloads: ByteBudget

  constructor(client: ObjectClient, { path, reading, budgetBytes = BUDGET_BYTES }: ObjectStorageOptions) {
    const trimmed = path.replace(/^\/+|\/+$/g, '')
    assertPrefix(trimmed)
    this.#client = client
    if (reading !== undefined) this.reading = reading
    this.#root = trimmed === '' ? asBytes('') : bytes`${trimmed}/`
    this.display = trimmed === '' ? client.display : `${client.display}/${bytesToText(trimmed)}`
    const { abortAbandoned, putIfAbsent } = client
    if (abortAbandoned !== undefined)
      this.abortUploads = async (prefix, beforeMs, { signal } = {}) => {
        assertPrefix(prefix)
        return abortAbandoned.call(client, this.#below(prefix), beforeMs, signal)
      }
    if (putIfAbsent !== undefined)
      this.createIfAbsent = async (name, bytes, { signal } = {}) => {
        assertName(name)
        return putIfAbsent.call(client, this.#full(name), bytes, { kind: kindOf(name), signal })
      }
    this.#uploads = new ByteBudget(budgetBytes)
    this.#downloads = new ByteBudget(budgetBytes)
  }

  /** A file needs one request, a path or a missing name two. */
  async stat(name: ByteString, options: Cancellable = {}): Promise<StoredFile | undefined> {
    assertPrefix(name)
    const { signal } = options
    signal?.throwIfAborted()
    if (name !== '') {
      const entry = await this.#client.head(this.#full(name), signal)
      if (entry !== undefined) return { name, kind: 'file', sizeBytes: entry.sizeBytes, mtimeMs: entry.mtimeMs }
    }
    const below = await this.#client.list({ prefix: this.#below(name), signal })
    const first = below.objects[0]
    return first === undefined ? undefined : { name, kind: 'path', sizeBytes: 0, mtimeMs: first.mtimeMs }
  }

  list(prefix: string, options: ListOptions = {}): AsyncIterable<StoredFile> {
    assertPrefix(prefix)
    return this.#list(prefix, options)
  }

  async *#list(prefix: string, { recursive = false, signal }: ListOptions): AsyncGenerator<StoredFile> {
    signal?.throwIfAborted()
    const request = {
      prefix: this.#below(prefix),
      delimiter: recursive ? undefined : ('/' as const),
      signal,
    }
    for await (const page of pagesOf(this.#client, request)) {
      for (const entry of page.objects) {
        signal?.throwIfAborted()
        if (this.#isFile(entry)) yield this.#file(entry)
      }
      for (const path of page.prefixes) {
        signal?.throwIfAborted()
        if (!path.endsWith('//'))
          yield { name: this.#relative(path.slice(0, -1)), kind: 'path', sizeBytes: 0, mtimeMs: 0 }
      }
    }
  }

  async read(name: ByteString, { offset = 0, length, signal }: ByteRange & Cancellable = {}): Promise<ByteSource> {
    assertName(name)
    signal?.throwIfAborted()
    const place = {
      client: this.#client,
      name: this.#full(name),
      shown: `${this.display}/${bytesToText(name)}`,
      budget: this.#downloads,
      buffers: this.#chunks,
      signal,
    }
    return readObject(place, offset, length)
  }

  async create(name: string, { signal }: CreateOptions = {}): Promise<PendingFile> {
    assertName(name)
    signal?.throwIfAborted()
    return new ObjectUploading({
      client: this.#client,
      name: this.#full(name),
      kind: kindOf(name),
      budget: this.#uploads,
      buffers: this.#buffers,
      signal,
    })
  }

  async remove(name: string, options: Cancellable = {}): Promise<void> {
    assertName(name)
    options.signal?.throwIfAborted()
    await removeNames(this.#client, [this.#full(name)], options)
  }

  async removeFiles(names: readonly string[], options: Cancellable = {}): Promise<void> {
    for (const name of names) assertName(name)
    options.signal?.throwIfAborted()
    const full = names.map((name) => this.#full(name))
    await removeNames(this.#client, full, options)
  }

  async removeTree(prefix: string, options: Cancellable = {}): Promise<void> {
    assertName(prefix)
    options.signal?.throwIfAborted()
    // A name is a path or a file. In a versioned bucket even the removal of a missing object creates a delete marker.
    if ((await removeBelow(this.#client, this.#below(prefix), options)) > 0) return
    if ((await this.#client.head(this.#full(prefix), options.signal)) !== undefined) await this.remove(prefix, options)
  }

  async sync(prefix: string, options: Cancellable = {}): Promise<void> {
    assertPrefix(prefix)
    options.signal?.throwIfAborted()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]()
  }

  #full(name: string): ByteString {
    return bytes`${this.#root}${name}`
  }

  #below(prefix: string): ByteString {
    return prefix === '' ? this.#root : bytes`${this.#root}${prefix}/`
  }

  #relative(full: ByteString): ByteString {
    return full.slice(this.#root.length)
  }

  /** Consoles mark an empty folder with an object whose name ends with '/'; it is not a file of the repository. */
  #isFile(entry: ObjectEntry): boolean {
    return !entry.name.endsWith('/') && !entry.name.includes('//', Math.max(0, this.#root.length - 1))
  }

  #file(entry: ObjectEntry): StoredFile {
    return { name: this.#relative(entry.name), kind: 'file', sizeBytes: entry.sizeBytes, mtimeMs: entry.mtimeMs }
  }
}
