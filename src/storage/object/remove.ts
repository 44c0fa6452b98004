import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { Cancellable } from '../driver.ts'
import type { NotRemoved, ObjectClient } from './client.ts'
import { pagesOf } from './pages.ts'

/** Batches in flight at once: stores remove the names of one batch one after the other. */
const PARALLEL_BATCHES = 8
/**
 * Many stores accept 1,000 names, but slow ones need a quarter of a minute for them, which is close to a timeout. 256
 * names are one directory of the archive.
 */
const BATCH_NAMES = 256
/** Listings in flight at once. */
const PARALLEL_LISTINGS = 4
/**
 * A level with more prefixes than this is listed in one recursive listing: one listing for each prefix would cost more
 * than it saves. The same holds for a level with few prefixes: most names are below one of them, and its first page
 * would be fetched twice.
 */
const MOST_PREFIXES = 64
/** Number of names in the error message. */
const NAMED = 5

/**
 * Removes everything below a prefix that ends with '/'. Pages are listed while the names of earlier ones are being
 * removed; only a few batches of names are held in memory. Every result is checked: a name that was not removed is an
 * error.
 *
 * @returns the number of names found
 * @throws PgtsError file-remove, after all other names have been removed
 */
export async function removeBelow(client: ObjectClient, prefix: ByteString, options: Cancellable): Promise<number> {
  const remover = new Remover(client, options)
  try {
    const first = await client.list({ prefix, ...options })
    await remover.add(first.objects.map(({ name }) => name))
    if (first.next !== undefined) await listRest(client, prefix, first.next, remover, options)
  } finally {
    await remover.finish()
  }
  remover.check()
  return remover.found
}

/** Removes these names. @throws PgtsError file-remove */
export async function removeNames(
  client: ObjectClient,
  names: readonly ByteString[],
  options: Cancellable,
): Promise<void> {
  const remover = new Remover(client, options)
  try {
    await remover.add(names)
  } finally {
    await remover.finish()
  }
  remover.check()
}

async function listRest(
  client: ObjectClient,
  prefix: ByteString,
  after: string,
  remover: Remover,
  options: Cancellable,
): Promise<void> {
  const level = await client.list({ prefix, delimiter: '/', ...options })
  const { prefixes } = level
  if (level.next !== undefined || prefixes.length < PARALLEL_LISTINGS || prefixes.length > MOST_PREFIXES) {
    return listAll(client, prefix, after, remover, options)
  }
  remover.skipSeen()
  await remover.add(level.objects.map(({ name }) => name))
  const waiting = [...prefixes]
  const listers = Array.from({ length: PARALLEL_LISTINGS }, async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      await listAll(client, next, undefined, remover, options)
  })
  const ends = await Promise.allSettled(listers)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

async function listAll(
  client: ObjectClient,
  prefix: ByteString,
  after: string | undefined,
  remover: Remover,
  options: Cancellable,
): Promise<void> {
  const request = { prefix, after, ...options }
  for await (const page of pagesOf(client, request)) await remover.add(page.objects.map(({ name }) => name))
}

class Remover {
  found = 0
  readonly #client: ObjectClient
  readonly #options: Cancellable
  readonly #inFlight = new Set<Promise<void>>()
  /** Names of the first page: another listing may return them again before they are removed. */
  #seen: ReadonlySet<string> | undefined
  #firstPage: readonly ByteString[] = []
  readonly #left: NotRemoved[] = []
  #leftCount = 0
  #deniedCount = 0
  #failure: { readonly error: unknown } | undefined

  constructor(client: ObjectClient, options: Cancellable) {
    this.#client = client
    this.#options = options
  }

  skipSeen(): void {
    this.#seen = new Set(this.#firstPage)
  }

  /** Waits while the maximum number of batches is in flight. */
  async add(listed: readonly ByteString[]): Promise<void> {
    const size = Math.min(BATCH_NAMES, this.#client.limits.removeBatch)
    if (this.found === 0) this.#firstPage = listed
    const names = this.#seen === undefined ? listed : listed.filter((name) => this.#seen?.has(name) !== true)
    this.found += names.length
    for (let at = 0; at < names.length; at += size) {
      while (this.#inFlight.size >= PARALLEL_BATCHES) await Promise.race(this.#inFlight)
      if (this.#failure !== undefined) throw this.#failure.error
      this.#options.signal?.throwIfAborted()
      this.#send(names.slice(at, at + size))
    }
  }

  #send(names: readonly ByteString[]): void {
    const sent: Promise<void> = this.#client
      .removeBatch(names, this.#options.signal)
      .then((left) => {
        this.#leftCount += left.length
        this.#deniedCount += left.filter(({ denied }) => denied).length
        this.#left.push(...left.slice(0, Math.max(0, NAMED - this.#left.length)))
      })
      .catch((error: unknown) => void (this.#failure ??= { error }))
      .finally(() => this.#inFlight.delete(sent))
    this.#inFlight.add(sent)
  }

  async finish(): Promise<void> {
    await Promise.all(this.#inFlight)
  }

  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.#leftCount === 0) return
    const named = this.#left.map(({ name, reason }) => `${bytesToText(name)}: ${reason}`)
    if (this.#leftCount > named.length) named.push(`and ${this.#leftCount - named.length} more`)
    throw new PgtsError(
      'file-remove',
      `${this.#client.display} did not remove ${this.#leftCount} of ${this.found} objects\n${named.join('\n')}`,
      {
        denied: this.#deniedCount === this.#leftCount,
        hints: [
          'check that the credentials may delete objects, and that no object lock, retention policy or legal hold protects them',
          'run the command again to remove the rest',
        ],
      },
    )
  }
}
