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
import { getObject, type S3Client } from './client.ts'
import { AsOf, listVersions, type ObjectVersion, type VersionMarker } from './versions.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** Position in a listing. `decided` is a name whose result is known although more of its versions follow. */
interface PageMark extends VersionMarker {
  readonly decided?: string
}

/**
 * A versioned bucket as it was at a point in time: later writes and removals are not visible. Read only. If a service
 * gives the times of versions in whole seconds, changes within one second cannot be ordered.
 */
export function atPointInTime(client: S3Client, atMs: number): ObjectClient {
  return new PointInTimeS3Client(client, atMs)
}

class PointInTimeS3Client implements ObjectClient {
  readonly display: string
  readonly limits: ObjectLimits
  readonly #client: S3Client
  readonly #atMs: number
  /** Names that were listed or looked up: reading one then takes a single request. */
  readonly #known = new Map<string, ObjectVersion>()

  constructor(client: S3Client, atMs: number) {
    this.display = `${client.display} as of ${new Date(atMs).toISOString()}`
    this.limits = client.limits
    this.#client = client
    this.#atMs = atMs
  }

  async head(name: ByteString, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    return this.#versionOf(name, signal)
  }

  async list(request: ObjectListRequest): Promise<ObjectPage> {
    const mark = request.after === undefined ? undefined : (JSON.parse(request.after) as PageMark)
    const page = await this.#page(request, mark)
    const asOf = new AsOf(this.#atMs, mark?.decided)
    const objects = [...asOf.pick(page.versions)]
    for (const version of objects) this.#remember(version)
    if (page.next === undefined) return { objects, prefixes: page.prefixes }
    const { decided } = asOf
    const next: PageMark = decided === undefined ? page.next : { ...page.next, decided }
    return { objects, prefixes: page.prefixes, next: JSON.stringify(next) }
  }

  async get(name: ByteString, { offset, length, version, signal }: ObjectGetRequest = {}): Promise<ObjectBody> {
    const found = this.#known.get(name) ?? (await this.#versionOf(name, signal))
    const { requests, keyParams: readParams } = this.#client
    if (found === undefined) {
      throw new PgtsError('file-missing', `cannot read ${requests.shown(name)}: it did not exist at that time`)
    }
    const input = { ...readParams, VersionId: found.versionId }
    return getObject(requests, { action: 'read-version', name, input, signal }, { offset, length, version })
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

  async #versionOf(name: ByteString, signal: AbortSignal | undefined): Promise<ObjectVersion | undefined> {
    const asOf = new AsOf(this.#atMs)
    const progress = new ListingProgress(`cannot look up ${this.#client.requests.shown(name)}`)
    let mark: VersionMarker | undefined
    do {
      const page = await this.#page({ prefix: name, signal }, mark)
      // Longer names with this prefix sort after it.
      const own = page.versions.filter((version) => version.name === name)
      for (const version of asOf.pick(own)) {
        this.#remember(version)
        return version
      }
      if (asOf.decided === name || own.length < page.versions.length) return undefined
      mark = page.next
      if (mark !== undefined) progress.advance(mark, own[0] && [own[0].name, own[0].versionId])
    } while (mark !== undefined)
    return undefined
  }

  #page(request: ObjectListRequest, mark: VersionMarker | undefined) {
    return listVersions(this.#client.requests, request, mark)
  }

  #remember(version: ObjectVersion): void {
    if (this.#known.size >= MOST_KNOWN) this.#known.clear()
    this.#known.set(version.name, version)
  }

  async #refuse(): Promise<never> {
    throw new PgtsError('assert', `${this.display} is read only`)
  }
}

/** Limits the memory to some megabytes; a forgotten name is looked up again. */
const MOST_KNOWN = 10_000
