import { archiveIdOf, type ArchiveInfo } from '../../format/archive-info.ts'
import type { BackupHistory } from '../../format/backup-info.ts'
import { archiveIdPath, isWalDirectory } from '../../format/repo-path.ts'
import { isTimelineHistoryFile, parseArchivedSegment, timelineOf } from '../../format/wal-segment.ts'
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
  // Both ends in parallel, each from its own side.
  const [first, last] = await Promise.all([
    firstEnds(storage, path, directories, signal),
    firstEnds(storage, path, directories.toReversed(), signal),
  ])
  return { min: first?.min ?? null, max: last?.max ?? null, directories, timelines: timelines.sort((a, b) => a - b) }
}

/** In the first directory that contains a segment. */
async function firstEnds(
  storage: StorageDriver,
  path: string,
  directories: readonly string[],
  signal: AbortSignal,
): Promise<{ min: string; max: string } | undefined> {
  for (const directory of directories) {
    const ends = await endsOf(storage, `${path}/${directory}`, signal)
    if (ends !== undefined) return ends
  }
  return undefined
}

async function endsOf(
  storage: StorageDriver,
  path: string,
  signal: AbortSignal,
): Promise<{ min: string; max: string } | undefined> {
  let ends: { min: string; max: string } | undefined
  for await (const { name } of storage.list(path, { namesOnly: true, signal })) {
    const archived = parseArchivedSegment(name.slice(path.length + 1))
    if (archived === undefined || archived.partial) continue
    const { segment } = archived
    if (ends === undefined) ends = { min: segment, max: segment }
    else if (segment < ends.min) ends.min = segment
    else if (segment > ends.max) ends.max = segment
  }
  return ends
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
