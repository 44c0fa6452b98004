import { archiveDirectory } from '../../../format/repo-path.ts'
import type { WalSegment } from '../../../format/wal-segment.ts'
import type { Clock } from '../../../util/clock.ts'
import { PgtsError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { loadArchiveInfo } from '../../archive-info-store.ts'
import type { Repository } from '../../repository.ts'
import type { ArchivedCopy } from './fetch-copy.ts'
import { candidateArchiveIds, listSegments, type StoredSegment } from '../find.ts'
import { describeCluster, isSameCluster, type ClusterIdentity } from '../../cluster-identity.ts'
import { describeFailure } from '../repository-failures.ts'
import { repoId } from '../../../util/repo-id.ts'

export interface SegmentIndexRequest {
  readonly stanza: string
  readonly identity: ClusterIdentity
  /** In the order in which they are searched. */
  readonly repositories: readonly Repository[]
  readonly clock: Clock
  readonly log: Logger
}

interface Listing {
  readonly listedMs: number
  readonly segments: ReadonlyMap<string, readonly StoredSegment[]>
}

/** Pause after a failure of a repository; calls in the foreground still use it. */
const FAILURE_PAUSE_MS = 10_000
/** Listings kept for a repository: the current directory and the previous or next one, for two archive ids. */
const LISTINGS_KEPT = 4

/**
 * Where segments are stored. One listing of a directory (256 segments of 16 MB) is used for all its segments. If a
 * segment is not in it, the directory is listed again, unless the listing is recent.
 */
export class SegmentIndex {
  readonly #repositories: readonly IndexedRepository[]

  constructor(request: SegmentIndexRequest) {
    this.#repositories = request.repositories.map((repository) => new IndexedRepository(repository, request))
  }

  /**
   * Every stored copy in every readable repository, in the order in which they are to be tried.
   *
   * @param notBeforeMs if nothing is found, listings older than this are repeated
   */
  async copiesOf(segment: WalSegment, notBeforeMs: number, signal: AbortSignal): Promise<ArchivedCopy[]> {
    const known = await this.#collect(segment, Number.NEGATIVE_INFINITY, signal)
    return known.length > 0 ? known : this.#collect(segment, notBeforeMs, signal)
  }

  /** A listing was stale: discard all of them. */
  forget(): void {
    for (const repository of this.#repositories) repository.forget()
  }

  async #collect(segment: WalSegment, notBeforeMs: number, signal: AbortSignal): Promise<ArchivedCopy[]> {
    const copies: ArchivedCopy[] = []
    for (const repository of this.#repositories) {
      signal.throwIfAborted()
      copies.push(...(await repository.copiesOf(segment, notBeforeMs, signal)))
    }
    return copies
  }
}

class IndexedRepository {
  readonly #repository: Repository
  readonly #request: SegmentIndexRequest
  readonly #listings = new Map<string, Listing>()
  #archiveIds: readonly string[] | undefined
  #pausedUntilMs = Number.NEGATIVE_INFINITY
  #failure: string | undefined

  constructor(repository: Repository, request: SegmentIndexRequest) {
    this.#repository = repository
    this.#request = request
  }

  async copiesOf(segment: WalSegment, notBeforeMs: number, signal: AbortSignal): Promise<ArchivedCopy[]> {
    const { clock, log } = this.#request
    const { key } = this.#repository
    if (clock.nowMs() < this.#pausedUntilMs) return []
    try {
      const archiveIds = (this.#archiveIds ??= await this.#open(signal))
      const copies: ArchivedCopy[] = []
      for (const archiveId of archiveIds) {
        const found = await this.#list(archiveId, segment, notBeforeMs, signal)
        copies.push(...found.map((stored) => ({ repoKey: key, archiveId, ...stored })))
      }
      if (this.#failure !== undefined) log.info({ repo: key }, `${repoId(key)} can be read again`)
      this.#failure = undefined
      return copies
    } catch (error) {
      signal.throwIfAborted()
      const failure = describeFailure(key, error)
      // Logged once per outage, however often it is retried.
      if (failure !== this.#failure) log.warn({ repo: key }, failure)
      this.#failure = failure
      this.#pausedUntilMs = clock.nowMs() + FAILURE_PAUSE_MS
      this.forget()
      return []
    }
  }

  forget(): void {
    this.#archiveIds = undefined
    this.#listings.clear()
  }

  async #open(signal: AbortSignal): Promise<readonly string[]> {
    const { stanza, identity, log } = this.#request
    const info = await loadArchiveInfo(this.#repository, stanza, { signal, log })
    if (!info.history.some((entry) => isSameCluster(entry, identity))) {
      throw new PgtsError(
        'archive-mismatch',
        `stanza ${stanza} has no archive of this cluster (${describeCluster(identity)})`,
      )
    }
    return candidateArchiveIds(this.#repository.storage, stanza, info, identity, signal)
  }

  async #list(
    archiveId: string,
    segment: WalSegment,
    notBeforeMs: number,
    signal: AbortSignal,
  ): Promise<readonly StoredSegment[]> {
    const { stanza, clock } = this.#request
    const directory = archiveDirectory(stanza, archiveId, segment)
    const known = this.#listings.get(directory)
    const found = known?.segments.get(segment)
    if (found !== undefined) return found
    if (known !== undefined && known.listedMs >= notBeforeMs) return []
    const listedMs = clock.nowMs()
    const segments = await listSegments(this.#repository.storage, directory, signal)
    this.#listings.delete(directory)
    this.#listings.set(directory, { listedMs, segments })
    for (const oldest of this.#listings.keys()) {
      if (this.#listings.size <= LISTINGS_KEPT) break
      this.#listings.delete(oldest)
    }
    return segments.get(segment) ?? []
  }
}
