import { archiveIdPath } from '../../format/repo-path.ts'
import type { WalSegment } from '../../format/wal-segment.ts'
import { groupOf, type SegmentTimes, type WalTimes } from '../../format/wal-times.ts'
import { listSegments, type StoredSegment } from '../archive/find.ts'
import type { ArchivedCopy } from '../archive/get/fetch-copy.ts'
import type { Repository } from '../repository.ts'
import { loadGroup } from '../window/times-store.ts'

export interface ArchivedWalRequest {
  /** The repositories that recovery reads: that of the backup first. */
  readonly repositories: readonly Repository[]
  readonly stanza: string
  /** `15-1` */
  readonly archiveId: string
  /** Passphrase of the archive of the first repository; absent: it is not encrypted. */
  readonly cipherPass?: string
  readonly signal: AbortSignal
}

type Listing = ReadonlyMap<string, readonly StoredSegment[]>

/**
 * The archive of one cluster: where a segment is stored, and what is known about it. Each directory is listed once, each
 * file with commit times is read once, when they are needed.
 */
export class ArchivedWal {
  readonly #request: ArchivedWalRequest
  readonly #listings = new Map<string, Promise<Listing>>()
  readonly #groups = new Map<string, Promise<WalTimes | undefined>>()

  constructor(request: ArchivedWalRequest) {
    this.#request = request
  }

  /** Every stored form of a segment, from the first repository that has it; empty: it is missing in all of them. */
  async copiesOf(segment: WalSegment): Promise<readonly ArchivedCopy[]> {
    const { repositories, archiveId } = this.#request
    for (const repository of repositories) {
      const stored = (await this.#listing(repository, segment.slice(0, 16))).get(segment)
      if (stored !== undefined) return stored.map((one) => ({ repoKey: repository.key, archiveId, ...one }))
    }
    return []
  }

  /** What was recorded when the segment was archived; undefined: it must be read. */
  async timesOf(segment: WalSegment): Promise<SegmentTimes | undefined> {
    const group = groupOf(segment)
    const { repositories, stanza, archiveId, cipherPass, signal } = this.#request
    const archive = { stanza, archiveId, signal, ...(cipherPass === undefined ? {} : { cipherPass }) }
    const load = () => loadGroup({ ...archive, storage: repositories[0]!.storage }, group)
    const times = (await memoized(this.#groups, group, load))?.segments.get(segment)
    return times?.incomplete === true ? undefined : times
  }

  #listing({ key, storage }: Repository, directory: string): Promise<Listing> {
    const { stanza, archiveId, signal } = this.#request
    const path = `${archiveIdPath(stanza, archiveId)}/${directory}`
    return memoized(this.#listings, `${key} ${directory}`, () => listSegments(storage, path, signal))
  }
}

/** Entries that are kept; recovery reads the archive in order. */
const MOST_KEPT = 64

function memoized<T>(map: Map<string, Promise<T>>, key: string, load: () => Promise<T>): Promise<T> {
  const known = map.get(key)
  if (known !== undefined) return known
  if (map.size >= MOST_KEPT) map.delete(map.keys().next().value!)
  const loading = load()
  map.set(key, loading)
  return loading
}
