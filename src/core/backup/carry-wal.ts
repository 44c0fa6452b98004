import type { Stage } from '../../codec/stage.ts'
import type { ManifestFile, ManifestPath } from '../../format/manifest.ts'
import { archiveDirectory } from '../../format/repo-path.ts'
import { lsnOfSegment, timelineOf, type WalSegment } from '../../format/wal-segment.ts'
import type { ClusterFiles } from '../../postgres/cluster-access.ts'
import { WalPageWalk } from '../../postgres/wal-pages.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import { listSegments } from '../archive/find.ts'
import type { ArchivedSegment } from '../archive/wait-for-wal.ts'
import { copyArchivedWal, storeSegment } from './archive-copy.ts'
import type { BackupInProgress } from './stored-text.ts'

export interface CarryRequest {
  readonly backup: BackupInProgress
  readonly archive: { readonly archiveId: string; readonly cipherPass?: string }
  readonly segments: Iterable<WalSegment>
  /** Of the standby. */
  readonly files: ClusterFiles
  /** Its pg_wal. */
  readonly walPath: ByteString
  /** Bytes. */
  readonly segmentSize: number
  /** End of the WAL that the backup needs, in the last segment. */
  readonly stopLsn: bigint
  readonly pgData: ManifestPath
  /** Seconds since the epoch. */
  readonly timestamp: number
  readonly log: Logger
  /** Waits until a segment is in the archive, which archive-timeout limits. */
  readonly wait: (segment: WalSegment) => Promise<readonly ArchivedSegment[]>
}

/**
 * Stores the WAL of a backup that was taken on a standby in the backup's own pg_wal: from the archive, or from the standby
 * what the archive lacks. The last segment is usually unfinished, and a standby cannot end it.
 *
 * @throws PgtsError archive-timeout if neither has a segment
 */
export async function* carryWal(request: CarryRequest): AsyncGenerator<ManifestFile> {
  const { backup, archive, pgData, timestamp, log, wait } = request
  const { repository, stanza, signal } = backup
  const fromArchive = (found: readonly ArchivedSegment[]) => copyArchivedWal(backup, archive, found, pgData, timestamp)
  const listings = new Map<string, Awaited<ReturnType<typeof listSegments>>>()
  for (const segment of request.segments) {
    const directory = archiveDirectory(stanza, archive.archiveId, segment)
    const listing = listings.get(directory) ?? (await listSegments(repository.storage, directory, signal))
    listings.set(directory, listing)
    const [stored] = listing.get(segment) ?? []
    if (stored !== undefined) {
      yield* fromArchive([{ segment, ...stored }])
      continue
    }
    const own = await fromStandby(request, segment)
    if (own === undefined) yield* fromArchive(await wait(segment))
    else {
      log.detail(`WAL segment ${segment} is not in the archive, so it was copied from the standby`)
      yield own
    }
  }
}

const CHUNK_BYTES = 1024 * 1024

/** undefined: the standby has removed the segment, or reuses its file. */
async function fromStandby(request: CarryRequest, segment: WalSegment): Promise<ManifestFile | undefined> {
  const { backup, files, walPath, segmentSize, stopLsn, pgData, timestamp } = request
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  const source = await files.open(bytes`${walPath}/${segment}`, { buffer })
  if (source === undefined) return undefined
  const startLsn = lsnOfSegment(segment, segmentSize)
  const walk = new WalPageWalk({ startLsn: () => startLsn, timeline: timelineOf(segment) })
  let sizeBytes = 0
  const check: Stage = {
    push(chunk) {
      sizeBytes += chunk.length
      walk.push(chunk)
      return [chunk]
    },
    finish: () => [],
  }
  // Behind the stop the standby may still be writing.
  const isWhole = () => sizeBytes === segmentSize && (walk.fault === undefined || walk.fault.lsn >= stopLsn)
  return await storeSegment(backup, segment, { source, decode: [check] }, { pgData, timestamp }, isWhole)
}
