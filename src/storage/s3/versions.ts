import { ListObjectVersionsCommand, type ListObjectVersionsCommandOutput } from '@aws-sdk/client-s3'
import { PgtsError } from '../../util/error.ts'
import type { ObjectEntry, ObjectListRequest } from '../object/client.ts'
import { entryOf, listParams } from './listing.ts'
import { checkedPage, NO_NEXT_PAGE, SAME_NEXT_PAGE } from '../object/pages.ts'
import { nameReader, textKey } from './names.ts'
import type { S3Requests } from './requests.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** A version of an object. */
export interface ObjectVersion extends ObjectEntry {
  readonly versionId: string
}

export interface VersionPage {
  /** In the order of the service: by name, the newest version of a name first. */
  readonly versions: readonly (ObjectVersion & { readonly removed: boolean })[]
  readonly prefixes: readonly ByteString[]
  readonly next?: VersionMarker
}

export interface VersionMarker {
  /** Byte string. */
  readonly name: ByteString
  readonly versionId: string
}

/** Fetches one page of versions. */
export async function listVersions(
  requests: S3Requests,
  request: ObjectListRequest,
  marker?: VersionMarker,
): Promise<VersionPage> {
  const { signal } = request
  const input = {
    ...requests.common,
    ...listParams(requests, request),
    KeyMarker: marker === undefined ? undefined : textKey(marker.name),
    VersionIdMarker: marker === undefined || marker.versionId === '' ? undefined : marker.versionId,
  }
  let order: readonly boolean[] = []
  const subject = { action: 'list-versions', signal } as const
  const output = await requests.outputOf({
    ...subject,
    command: () => new ListObjectVersionsCommand(input),
    seen: (xml) => (order = removalsIn(xml)),
  })
  const name = nameReader(output)
  const versions = inOrder(output, order, requests).map((found) => ({
    ...entryOf(found, name),
    versionId: found.VersionId ?? 'null',
    removed: found.removed,
  }))
  if (versions.some(({ mtimeMs }) => Number.isNaN(mtimeMs)))
    throw requests.unusable(subject, 'the listing has a version without its time')
  const prefixes = (output.CommonPrefixes ?? []).map(({ Prefix }) => name(Prefix))
  const names = versions.map((version) => version.name)
  const page = checkedPage(requests.doing(subject), { prefix: request.prefix }, { versions, prefixes }, names)
  if (output.IsTruncated !== true) return page
  const { NextKeyMarker = '', NextVersionIdMarker: versionId = '' } = output
  const next = { name: name(NextKeyMarker), versionId }
  if (NextKeyMarker === '') throw requests.unusable(subject, NO_NEXT_PAGE)
  if (next.name === marker?.name && versionId === marker.versionId) throw requests.unusable(subject, SAME_NEXT_PAGE)
  return { ...page, next }
}

/**
 * The library returns versions and delete markers in separate lists, which loses their order: their times may be equal.
 * The XML has them in one list.
 */
function removalsIn(xml: string): readonly boolean[] {
  return [...xml.matchAll(/<(?:\w+:)?(Version|DeleteMarker)[\s>]/g)].map(([, element]) => element === 'DeleteMarker')
}

function inOrder(output: ListObjectVersionsCommandOutput, order: readonly boolean[], requests: S3Requests) {
  const versions = (output.Versions ?? []).values()
  const removals = (output.DeleteMarkers ?? []).values()
  const merged = order.flatMap((removed) => {
    const { value } = removed ? removals.next() : versions.next()
    return value === undefined ? [] : [{ ...value, removed }]
  })
  if (merged.length === order.length && versions.next().done === true && removals.next().done === true) return merged
  throw new PgtsError('format', `the order of the versions of ${requests.shown(undefined)} cannot be determined`)
}

/**
 * Selects the version that each name had at a point in time, from versions ordered newest first. If the versions of a
 * name continue in the next page, its result stays decided.
 */
export class AsOf {
  readonly #atMs: number
  #decided: string | undefined

  constructor(atMs: number, decided?: string) {
    this.#atMs = atMs
    this.#decided = decided
  }

  /** The last name whose result is known. */
  get decided(): string | undefined {
    return this.#decided
  }

  *pick(versions: VersionPage['versions']): Generator<ObjectVersion> {
    for (const version of versions) {
      if (version.name === this.#decided || version.mtimeMs > this.#atMs) continue
      this.#decided = version.name
      if (!version.removed) yield version
    }
  }
}
