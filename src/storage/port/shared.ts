import type { ByteSource } from '../../util/bytes.ts'
import type {
  ByteRange,
  Cancellable,
  CreateOptions,
  ListOptions,
  PendingFile,
  StorageDriver,
  StoredFile,
} from '../driver.ts'
import { PgtsError } from '../../util/error.ts'
import type { StoragePort } from './client.ts'

/** What a worker is told of a storage that another thread has open. */
export interface SharedStorage {
  readonly display: string
  readonly parallel: number
}

/** When a thread has asked for so much, a client of its own costs less than it brings. */
export interface OwnAfter {
  readonly requests: number
  readonly bytes: number
}

const OWN_AFTER: OwnAfter = { requests: 128, bytes: 128 * 1024 * 1024 }

/**
 * A storage that is open in another thread. To open one of its own a thread loads the library of the store once more, and
 * connects: a quarter of a second of CPU, as much as some hundred requests. So files are read and written over there
 * until there was much of it; from then on, and for whatever is neither, it has its own.
 *
 * @param open its own
 */
export function sharedAtFirst(
  port: StoragePort,
  { display, parallel }: SharedStorage,
  open: () => Promise<StorageDriver>,
  after: OwnAfter = OWN_AFTER,
): StorageDriver {
  return new SharedAtFirst(port, display, parallel, open, after)
}

class SharedAtFirst implements StorageDriver {
  readonly display: string
  readonly parallel: number
  readonly #port: StoragePort
  readonly #open: () => Promise<StorageDriver>
  readonly #after: OwnAfter
  #opening: Promise<StorageDriver> | undefined
  #own: StorageDriver | undefined
  #tried = false

  constructor(
    port: StoragePort,
    display: string,
    parallel: number,
    open: () => Promise<StorageDriver>,
    after: OwnAfter,
  ) {
    this.#port = port
    this.display = display
    this.parallel = parallel
    this.#open = open
    this.#after = after
  }

  read(name: string, range?: ByteRange & Cancellable): Promise<ByteSource> {
    return this.#best().read(name, range)
  }

  create(name: string, options?: CreateOptions): Promise<PendingFile> {
    return this.#best().create(name, options)
  }

  async stat(name: string, options?: Cancellable): Promise<StoredFile | undefined> {
    return (await this.#opened()).stat(name, options)
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<StoredFile> {
    yield* (await this.#opened()).list(prefix, options)
  }

  async createIfAbsent(name: string, bytes: Uint8Array, options?: Cancellable): Promise<boolean> {
    const own = await this.#opened()
    if (own.createIfAbsent !== undefined) return own.createIfAbsent(name, bytes, options)
    throw new PgtsError('feature-not-supported', `${this.display} cannot create a file only where there is none`)
  }

  async remove(name: string, options?: Cancellable): Promise<void> {
    await (await this.#opened()).remove(name, options)
  }

  async removeTree(prefix: string, options?: Cancellable): Promise<void> {
    await (await this.#opened()).removeTree(prefix, options)
  }

  async sync(prefix: string, options?: Cancellable): Promise<void> {
    await (await this.#opened()).sync(prefix, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#port[Symbol.dispose]()
    const own = await this.#opening?.catch(() => undefined)
    await own?.[Symbol.asyncDispose]()
  }

  /** What is under way stays where it began. */
  #best(): Pick<StorageDriver, 'read' | 'create'> {
    if (this.#own !== undefined) return this.#own
    const { requests, movedBytes } = this.#port
    if (!this.#tried && (requests >= this.#after.requests || movedBytes >= this.#after.bytes)) {
      this.#tried = true
      // One that cannot be opened is not needed: the other thread's goes on to work.
      this.#opened().catch(() => undefined)
    }
    return this.#port
  }

  #opened(): Promise<StorageDriver> {
    if (this.#opening === undefined) {
      this.#opening = this.#open().then((own) => (this.#own = own))
      // The next call tries again.
      this.#opening.catch(() => (this.#opening = undefined))
    }
    return this.#opening
  }
}
