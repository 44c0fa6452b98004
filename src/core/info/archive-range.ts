import { archiveIdOf, type ArchiveInfo } from '../../format/archive-info.ts'
import type { BackupHistory } from '../../format/backup-info.ts'
import { archiveIdPath, isWalDirectory } from '../../format/repo-path.ts'
import { isTimelineHistoryFile, parseArchivedSegment, timelineOf, type WalSegment } from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { PgtsError } from '../../util/error.ts'

/** First and last segment of an archive id; null if there is none. Partial segments and other files are ignored. */
export interface ArchiveRange {
  readonly min: string | null
  readonly max: string | null
}

/** The entries of an archive id that one listing returns. */
export interface ArchiveLayout extends ArchiveRange {
  /** `0000000100000000`, sorted. */
  readonly directories: readonly string[]
  /** Timelines with a history file, sorted. */
  readonly timelines: readonly number[]
  /** Segments of the directories that were listed. */
  readonly listed: ReadonlyMap<string, ReadonlySet<WalSegment>>
}

/** Lists only the first and last directories: an archive may have a million segments. */
export async function archiveLayout(
  storage: StorageDriver,
  stanza: string,
  archiveId: string,
  signal: AbortSignal,
): Promise<ArchiveLayout> {
  const path = archiveIdPath(stanza, archiveId)
  const directories: string[] = []
  const timelines: number[] = []
  for await (const { name, kind } of storage.list(path, { namesOnly: true, signal })) {
    const base = name.slice(path.length + 1)
    if (kind === 'path' && isWalDirectory(base)) directories.push(base)
    else if (kind !== 'path' && isTimelineHistoryFile(base)) timelines.push(timelineOf(base))
  }
  directories.sort()
  const listed = new Map<string, ReadonlySet<WalSegment>>()
  const pending = new Map<string, Promise<ReadonlySet<WalSegment>>>()
  const list = async (directory: string) => {
    const segments = await segmentsIn(storage, `${path}/${directory}`, signal)
    listed.set(directory, segments)
    return segments
  }
  // Both ends can be the same directory.
  const segmentsOf = (directory: string) => {
    let segments = pending.get(directory)
    if (segments === undefined) pending.set(directory, (segments = list(directory)))
    return segments
  }
  // Both ends in parallel, each from its own side.
  const [first, last] = await Promise.all([
    firstWithSegments(directories, segmentsOf),
    firstWithSegments(directories.toReversed(), segmentsOf),
  ])
  return {
    min: first === undefined ? null : least(first),
    max: last === undefined ? null : most(last),
    directories,
    timelines: timelines.sort((a, b) => a - b),
    listed,
  }
}

async function firstWithSegments(
  directories: readonly string[],
  segmentsOf: (directory: string) => Promise<ReadonlySet<WalSegment>>,
): Promise<ReadonlySet<WalSegment> | undefined> {
  for (const directory of directories) {
    const segments = await segmentsOf(directory)
    if (segments.size > 0) return segments
  }
  return undefined
}

/** Complete segments of one directory of the archive. */
export async function segmentsIn(
  storage: StorageDriver,
  path: string,
  signal: AbortSignal,
): Promise<ReadonlySet<WalSegment>> {
  const segments = new Set<WalSegment>()
  for await (const { name } of storage.list(path, { namesOnly: true, signal })) {
    const archived = parseArchivedSegment(name.slice(path.length + 1))
    if (archived !== undefined && !archived.partial) segments.add(archived.segment)
  }
  return segments
}

function least(segments: Iterable<WalSegment>): WalSegment {
  return [...segments].reduce((one, other) => (other < one ? other : one))
}

function most(segments: Iterable<WalSegment>): WalSegment {
  return [...segments].reduce((one, other) => (other > one ? other : one))
}

/**
 * The archive id of a cluster of backup.info. Both files usually use the same id; after one was rebuilt, the cluster is
 * searched, newest first.
 *
 * @throws PgtsError archive-mismatch if archive.info does not contain the cluster
 */
export function archiveIdFor(archive: ArchiveInfo, cluster: BackupHistory): string {
  const same = archive.history.filter(
    ({ systemId, version }) => systemId === cluster.systemId && version === cluster.version,
  )
  const match = same.find(({ id }) => id === cluster.id) ?? same.at(-1)
  if (match !== undefined) return archiveIdOf(match)
  throw new PgtsError(
    'archive-mismatch',
    `archive.info does not contain the cluster of backup.info with version ${cluster.version} and system-id ${cluster.systemId}`,
    { hints: ['check whether one of the two files was restored from an older copy'] },
  )
}
