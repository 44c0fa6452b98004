import { createHash } from 'node:crypto'
import { GcsRefusal } from './gcs-refusal.ts'

export interface StoredObject {
  /** As the service knows it: text, at most 1024 bytes of UTF-8. */
  readonly name: string
  readonly bytes: Buffer
  readonly md5: string
  readonly crc32c: string
  readonly generation: number
  readonly createdMs: number
  /** Set when a newer generation, or nothing, has taken the name. */
  deletedMs?: number
  readonly metadata: ObjectMetadata
}

/** Metadata that a client sends with an object. */
export interface ObjectMetadata {
  readonly name?: string
  readonly contentType?: string
  readonly storageClass?: string
  readonly metadata?: Readonly<Record<string, string>>
  readonly md5Hash?: string
  readonly crc32c?: string
}

export interface Preconditions {
  /** 0: no object may have the name. */
  readonly ifGenerationMatch?: number
}

export interface ListQuery {
  readonly prefix: string
  readonly delimiter?: string
  readonly startOffset?: string
  readonly endOffset?: string
  readonly pageToken?: string
  readonly maxResults: number
  readonly versions: boolean
}

export interface ListAnswer {
  readonly items: readonly StoredObject[]
  readonly prefixes: readonly string[]
  readonly nextPageToken?: string
}

/** The service's own limit on what one page lists. */
const PAGE = 1000

/** The objects of one bucket. A name has one live generation at most; older ones are kept when `versioning` is on. */
export class GcsBucket {
  readonly #byName = new Map<string, StoredObject[]>()
  #generation = Date.now() * 1000
  constructor(readonly versioning: boolean) {}

  /** The live object, or a certain generation of it. */
  find(name: string, generation?: number): StoredObject | undefined {
    const all = this.#byName.get(name) ?? []
    return all.find((one) => (generation === undefined ? one.deletedMs === undefined : one.generation === generation))
  }

  /** All live objects in the order of their names. */
  live(): StoredObject[] {
    return this.#sorted(false)
  }

  check(name: string, { ifGenerationMatch }: Preconditions): void {
    if (ifGenerationMatch === undefined) return
    if ((this.find(name)?.generation ?? 0) !== ifGenerationMatch)
      throw new GcsRefusal(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.')
  }

  /** Store an object; refused when the bytes do not match the announced checksums. */
  put(name: string, bytes: Buffer, metadata: ObjectMetadata, conditions: Preconditions): StoredObject {
    assertObjectName(name)
    this.check(name, conditions)
    const [md5, crc32c] = [createHash('md5').update(bytes).digest('base64'), crc32cOf(bytes)]
    if (![md5, undefined].includes(metadata.md5Hash))
      throw new GcsRefusal(400, 'invalid', `Provided MD5 hash "${metadata.md5Hash}" doesn't match calculated MD5 hash.`)
    if (![crc32c, undefined].includes(metadata.crc32c))
      throw new GcsRefusal(400, 'invalid', `Provided CRC32C "${metadata.crc32c}" doesn't match calculated CRC32C.`)
    this.remove(name)
    const object = { name, bytes, md5, crc32c, generation: ++this.#generation, createdMs: Date.now(), metadata }
    this.#byName.set(name, [...(this.#byName.get(name) ?? []), object])
    return object
  }

  /** False when no object has the name. */
  remove(name: string, generation?: number): boolean {
    const object = this.find(name, generation)
    if (object === undefined) return false
    if (this.versioning && generation === undefined) {
      object.deletedMs = Date.now()
      return true
    }
    const left = (this.#byName.get(name) ?? []).filter((one) => one !== object)
    if (left.length > 0) this.#byName.set(name, left)
    else this.#byName.delete(name)
    return true
  }

  list(query: ListQuery): ListAnswer {
    const { prefix, delimiter, startOffset = '', endOffset, pageToken } = query
    const after = pageToken === undefined ? undefined : fromToken(pageToken)
    const limit = Math.min(query.maxResults, PAGE)
    const items: StoredObject[] = []
    const prefixes = new Set<string>()
    // The last listed name: the next page begins after it; a prefix represents all names that begin with it.
    let last = ''
    for (const object of this.#sorted(query.versions)) {
      const { name } = object
      if (!name.startsWith(prefix) || compare(name, startOffset) < 0) continue
      if (endOffset !== undefined && compare(name, endOffset) >= 0) continue
      const cut = delimiter === undefined ? -1 : name.indexOf(delimiter, prefix.length)
      const shown = cut < 0 ? name : name.slice(0, cut + (delimiter?.length ?? 0))
      const mark = cut < 0 && query.versions ? `${shown}\0${object.generation}` : shown
      if (after !== undefined && compare(mark, after) <= 0) continue
      if (prefixes.has(shown)) continue
      if (items.length + prefixes.size === limit)
        return { items, prefixes: [...prefixes], nextPageToken: toToken(last) }
      if (cut < 0) items.push(object)
      else prefixes.add(shown)
      last = mark
    }
    return { items, prefixes: [...prefixes] }
  }

  #sorted(versions: boolean): StoredObject[] {
    return [...this.#byName.values()]
      .flat()
      .filter((object) => versions || object.deletedMs === undefined)
      .sort((a, b) => compare(a.name, b.name) || a.generation - b.generation)
  }
}

/** The service orders names by their bytes. */
function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

const toToken = (text: string) => Buffer.from(text).toString('base64')
const fromToken = (token: string) => Buffer.from(token, 'base64').toString()

function assertObjectName(name: string): void {
  const sizeBytes = Buffer.byteLength(name)
  if (sizeBytes === 0 || sizeBytes > 1024 || /[\r\n]/.test(name) || name === '.' || name === '..')
    throw new GcsRefusal(400, 'invalid', `Disallowed object name: ${JSON.stringify(name)}`)
}

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value
})

/** CRC-32C (Castagnoli), big-endian, in base64. */
export function crc32cOf(bytes: Uint8Array): string {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (CRC32C_TABLE[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8)
  const result = Buffer.alloc(4)
  result.writeUInt32BE((crc ^ 0xffffffff) >>> 0)
  return result.toString('base64')
}
