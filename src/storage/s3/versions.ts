import { textToBytes } from '../../util/byte-string.ts'
import type { ObjectEntry, ObjectListRequest } from '../object/client.ts'
import { entryOf, nameReader } from './listing.ts'
import type { S3Request } from './requests.ts'
import { parseXml, textOf } from './xml.ts'

/** What an object was at some time. */
export interface ObjectVersion extends ObjectEntry {
  readonly versionId: string
}

export interface VersionPage {
  /** In the order of the service: by name, the newest version of a name first. */
  readonly versions: readonly (ObjectVersion & { readonly removed: boolean })[]
  readonly prefixes: readonly string[]
  readonly next?: VersionMarker
}

export interface VersionMarker {
  /** Byte strings. */
  readonly name: string
  readonly versionId: string
}

export function versionsRequest({ prefix, delimiter, signal }: ObjectListRequest, marker?: VersionMarker): S3Request {
  return {
    action: 'list-versions',
    method: 'GET',
    query: [
      ['versions', ''],
      ['encoding-type', 'url'],
      ...(prefix === '' ? [] : [['prefix', prefix] as const]),
      ...(delimiter === undefined ? [] : [['delimiter', delimiter] as const]),
      ...(marker === undefined ? [] : [['key-marker', marker.name] as const]),
      ...(marker === undefined || marker.versionId === '' ? [] : [['version-id-marker', marker.versionId] as const]),
    ],
    ...(signal === undefined ? {} : { signal }),
  }
}

export function parseVersionPage(text: string): VersionPage {
  const root = parseXml(text)
  const name = nameReader(root)
  const versions: (ObjectVersion & { removed: boolean })[] = []
  const prefixes: string[] = []
  for (const child of root.children) {
    if (child.name === 'CommonPrefixes') prefixes.push(name(textOf(child, 'Prefix')))
    if (child.name !== 'Version' && child.name !== 'DeleteMarker') continue
    const versionId = textToBytes(textOf(child, 'VersionId') ?? 'null')
    versions.push({ ...entryOf(child, name), versionId, removed: child.name === 'DeleteMarker' })
  }
  if (textOf(root, 'IsTruncated') !== 'true') return { versions, prefixes }
  const versionId = textToBytes(textOf(root, 'NextVersionIdMarker') ?? '')
  return { versions, prefixes, next: { name: name(textOf(root, 'NextKeyMarker')), versionId } }
}

/**
 * From the versions of names, newest first, what each was at a time. A name whose versions go on in the next page stays
 * settled once it is.
 */
export class AsOf {
  readonly #atMs: number
  #settled: string | undefined

  constructor(atMs: number, settled?: string) {
    this.#atMs = atMs
    this.#settled = settled
  }

  /** The last name that needs no further version. */
  get settled(): string | undefined {
    return this.#settled
  }

  *pick(versions: VersionPage['versions']): Generator<ObjectVersion> {
    for (const version of versions) {
      if (version.name === this.#settled || version.mtimeMs > this.#atMs) continue
      this.#settled = version.name
      if (!version.removed) yield version
    }
  }
}
