import { groupOf } from '../../format/wal-times.ts'
import { messageOf } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { repoId } from '../../util/repo-id.ts'
import { loadArchiveInfo } from '../archive-info-store.ts'
import type { Repository } from '../repository.ts'
import type { ScannedSegment } from './segment-scan.ts'
import { isEndOfGroup, refreshIndex } from './times-index.ts'
import { addSegments, type TimesArchive } from './times-store.ts'

export interface RecordRequest {
  readonly repository: Repository
  readonly stanza: string
  readonly archiveId: string
  readonly scanned: readonly ScannedSegment[]
  readonly log: Logger
  readonly signal: AbortSignal
}

/** WAL is archived already: a storage that does not answer must not delay the next segment for longer. */
const TIMEOUT_MS = 5000
/** Only after the loss of the index there is more to read: the next backup or expire does that. */
const MOST_READS = 64

/**
 * Records the commit times of archived segments in the repository. It is called after the segments are archived, and a
 * failure is only logged: the times of these segments stay unknown.
 */
export async function recordSegments(request: RecordRequest): Promise<void> {
  const { repository, log, scanned } = request
  try {
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(TIMEOUT_MS)])
    const archive = await timesArchive(repository, request.stanza, request.archiveId, signal)
    const added = await addSegments(archive, scanned)
    const changed = [...new Set(scanned.map(({ segment }) => groupOf(segment)))]
    const isEnd = scanned.some(({ segment, segmentSize }) => isEndOfGroup(segment, segmentSize))
    if (added.length > 0 || changed.length > 1 || isEnd) await refreshIndex(archive, changed, MOST_READS)
  } catch (error) {
    log.detail(
      { repo: repository.key },
      `${repoId(repository.key)}: cannot record the commit times of ${scanned.length} WAL segments: ${messageOf(error)}`,
    )
  }
}

/** @throws PgtsError as loadArchiveInfo, which contains the passphrase of an encrypted archive */
export async function timesArchive(
  repository: Repository,
  stanza: string,
  archiveId: string,
  signal: AbortSignal,
): Promise<TimesArchive> {
  const { storage } = repository
  const info = repository.cipher === undefined ? undefined : await loadArchiveInfo(repository, stanza, { signal })
  return {
    storage,
    stanza,
    archiveId,
    signal,
    ...(info?.cipherPass === undefined ? {} : { cipherPass: info.cipherPass }),
  }
}
