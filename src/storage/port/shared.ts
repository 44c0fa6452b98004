import type { ByteSource } from '../../util/bytes.ts'
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
import { PgtsError } from '../../util/error.ts'
import type { StoragePort } from './client.ts'
import { markHandled } from '../../util/mark-handled.ts'

/** What a worker needs to use a storage that another thread has open. */
export interface SharedStorage {
  readonly display: string
  readonly parallel: number
  readonly reading?: PartReading
}

/** Beyond these amounts a client of its own is cheaper for a thread. */
export interface OwnAfter {
  readonly requests: number
  readonly bytes: number
}

const OWN_AFTER: OwnAfter = { requests: 128, bytes: 128 * 1024 * 1024 }

/**
 * A storage that is open in another thread. Opening its own costs a thread a quarter of a second of CPU (loading the
 * library, connecting), as much as some hundred requests. So files are read, written and removed through the other thread up
 * to the limits of `OwnAfter`; after that, and for all other operations, the thread opens its own.
 *
 * @param open opens the thread's own storage; absent: only the other thread can open it
 */
export function sharedAtFirst(
  port: StoragePort,
  shared: SharedStorage,
  open?: () => Promise<StorageDriver>,
  after: OwnAfter = OWN_AFTER,
): StorageDriver {
  return new SharedAtFirst(port, shared, open, after)
}

class SharedAtFirst implements StorageDriver {
  readonly display: string
  readonly parallel: number
  readonly reading?: PartReading
  readonly #port: StoragePort
  readonly #open: (() => Promise<StorageDriver>) | undefined
  readonly #after: OwnAfter
  #opening: Promise<StorageDriver> | undefined
  #own: StorageDriver | undefined
  #tried: boolean

  constructor(
    port: StoragePort,
    { display, parallel, reading }: SharedStorage,
    open: (() => Promise<StorageDriver>) | undefined,
    after: OwnAfter,
  ) {
    this.#port = port
    this.display = display
    this.parallel = parallel
    if (reading !== undefined) this.reading = reading
    this.#open = open
    this.#tried = open === undefined
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
    throw new PgtsError(
      'feature-not-supported',
      `${this.display} cannot create a file on the condition that it is absent`,
    )
  }

  remove(name: string, options?: Cancellable): Promise<void> {
    return this.#best().remove(name, options)
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

  /** Operations in progress stay where they began. */
  #best(): Pick<StorageDriver, 'read' | 'create' | 'remove'> {
    this.#leaveLost()
    if (this.#own !== undefined) return this.#own
    const { requests, movedBytes } = this.#port
    if (!this.#tried && (requests >= this.#after.requests || movedBytes >= this.#after.bytes)) {
      this.#tried = true
      // If opening fails, the storage of the other thread is still used.
      markHandled(this.#opened())
    }
    return this.#port
  }

  /** The next call opens another one. The operations of a lost one have failed. */
  #leaveLost(): void {
    if (this.#own?.lost !== true) return
    markHandled(this.#own[Symbol.asyncDispose]())
    this.#own = undefined
    this.#opening = undefined
    this.#tried = false
  }

  #opened(): Promise<StorageDriver> {
    this.#leaveLost()
    if (this.#open === undefined)
      return Promise.reject(new PgtsError('assert', `${this.display} is only open in another thread`))
    if (this.#opening === undefined) {
      this.#opening = this.#open().then((own) => (this.#own = own))
      // The next call opens it again.
      this.#opening.catch(() => (this.#opening = undefined))
    }
    return this.#opening
  }
}
