import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type {
  ObjectBody,
  ObjectClient,
  ObjectEntry,
  ObjectGetRequest,
  ObjectLimits,
  ObjectListRequest,
  ObjectPage,
} from '../object/client.ts'
import { ListingProgress } from '../object/pages.ts'
import type { GcsClient, Generation } from './client.ts'

/** A versioned bucket as it was at a point in time: later writes and removals are not visible. Read only. */
export function atPointInTime(client: GcsClient, atMs: number): ObjectClient {
  return new PointInTimeGcsClient(client, atMs)
}

/** Position in a listing. `held` is the newest version so far of a name whose versions continue in the next page. */
interface PageMark {
  readonly token: string
  readonly held?: Generation
}

class PointInTimeGcsClient implements ObjectClient {
  readonly display: string
  readonly limits: ObjectLimits
  readonly #client: GcsClient
  readonly #atMs: number
  /** Names that were listed or looked up: reading one then takes a single request. */
  readonly #known = new Map<string, string>()

  constructor(client: GcsClient, atMs: number) {
    this.display = `${client.display} as of ${new Date(atMs).toISOString()}`
    this.limits = client.limits
    this.#client = client
    this.#atMs = atMs
  }

  async head(name: ByteString, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    return this.#generationOf(name, signal)
  }

  async list({ after, ...request }: ObjectListRequest): Promise<ObjectPage> {
    const mark = after === undefined ? undefined : (JSON.parse(after) as PageMark)
    const page = await this.#client.listGenerations(mark === undefined ? request : { ...request, after: mark.token })
    const { next, prefixes } = page
    const newest = this.#newest(page.generations, mark?.held)
    // The next page may have a later version of the last name.
    const held = next === undefined ? undefined : newest.pop()
    const objects = newest.filter((generation) => this.#isThere(generation))
    for (const generation of objects) this.#remember(generation)
    if (next === undefined) return { objects, prefixes }
    return { objects, prefixes, next: JSON.stringify({ token: next, held }) }
  }

  async get(name: ByteString, { offset, length, signal }: ObjectGetRequest = {}): Promise<ObjectBody> {
    const generation = this.#known.get(name) ?? (await this.#generationOf(name, signal))?.generation
    if (generation === undefined) {
      throw new PgtsError(
        'file-missing',
        `cannot read ${this.#client.display}/${bytesToText(name)}: it did not exist at that time`,
      )
    }
    // A version never changes, so no condition on the version is needed.
    return this.#client.getGeneration(name, generation, {
      offset,
      length,
      signal,
    })
  }

  put(): Promise<never> {
    return this.#refuse()
  }

  upload(): Promise<never> {
    return this.#refuse()
  }

  removeBatch(): Promise<never> {
    return this.#refuse()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]()
  }

  /** For each name the newest version at that time. */
  #newest(generations: readonly Generation[], held: Generation | undefined): Generation[] {
    const newest: Generation[] = held === undefined ? [] : [held]
    for (const generation of generations) {
      if (generation.mtimeMs > this.#atMs) continue
      const last = newest.at(-1)
      if (last?.name !== generation.name) newest.push(generation)
      else if (BigInt(last.generation) < BigInt(generation.generation)) newest[newest.length - 1] = generation
    }
    return newest
  }

  #isThere({ goneMs }: Generation): boolean {
    return goneMs === undefined || goneMs > this.#atMs
  }

  async #generationOf(name: ByteString, signal: AbortSignal | undefined): Promise<Generation | undefined> {
    const progress = new ListingProgress(`cannot look up ${this.#client.display}/${bytesToText(name)}`)
    let found: Generation | undefined
    let after: string | undefined
    do {
      const page = await this.#client.listGenerations({
        prefix: name,
        after,
        signal,
      })
      const own = page.generations.filter((generation) => generation.name === name)
      found = this.#newest(own, found).at(-1)
      // Longer names with this prefix sort after it.
      after = own.length < page.generations.length ? undefined : page.next
      if (after !== undefined) progress.advance(after, own[0]?.generation)
    } while (after !== undefined)
    if (found === undefined || !this.#isThere(found)) return undefined
    this.#remember(found)
    return found
  }

  #remember({ name, generation }: Generation): void {
    if (this.#known.size >= MOST_KNOWN) this.#known.clear()
    this.#known.set(name, generation)
  }

  async #refuse(): Promise<never> {
    throw new PgtsError('assert', `${this.display} is read only`)
  }
}

/** Limits the memory to some megabytes; a forgotten name is looked up again. */
const MOST_KNOWN = 10_000
