import { archiveIdPath, archivePath, isArchiveId, isWalDirectory } from '../../format/repo-path.ts'
import { parseArchivedSegment, type ArchivedSegment } from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { compareBytes, type ByteString } from '../../util/byte-string.ts'

export interface ArchivedFile extends ArchivedSegment {
  readonly repoName: ByteString
  readonly storedBytes: number
  /** When it was archived, by the clock of the storage. */
  readonly mtimeMs: number
}

export interface WalDirectory {
  /** Ordered by name. */
  readonly segments: readonly ArchivedFile[]
  /** Files with unknown names. */
  readonly orphans: readonly ByteString[]
}

/** Archive ids with a directory, ordered by history id. */
export async function archiveIds(storage: StorageDriver, stanza: string, signal: AbortSignal): Promise<string[]> {
  const ids = await pathsBelow(storage, archivePath(stanza), isArchiveId, signal)
  return ids.sort((a, b) => Number(a.slice(a.indexOf('-') + 1)) - Number(b.slice(b.indexOf('-') + 1)))
}

/** Names of the 16-digit directories of an archive id, sorted. */
export async function walDirectories(
  storage: StorageDriver,
  stanza: string,
  archiveId: string,
  signal: AbortSignal,
): Promise<string[]> {
  const found = await pathsBelow(storage, archiveIdPath(stanza, archiveId), isWalDirectory, signal)
  return found.sort(compareBytes)
}

/** Content of one archive directory, at most 256 segments of the default size. */
export async function walDirectory(storage: StorageDriver, path: string, signal: AbortSignal): Promise<WalDirectory> {
  const segments: ArchivedFile[] = []
  const orphans: ByteString[] = []
  for await (const { name, kind, sizeBytes, mtimeMs } of storage.list(path, { signal })) {
    const base = name.slice(path.length + 1)
    const archived = kind === 'file' ? parseArchivedSegment(base) : undefined
    if (archived !== undefined) segments.push({ ...archived, repoName: name, storedBytes: sizeBytes, mtimeMs })
    // Backup history files, and files being written now.
    else if (!base.endsWith('.backup') && !base.endsWith('.pgbackrest.tmp')) orphans.push(name)
  }
  segments.sort((a, b) => compareBytes(a.repoName, b.repoName))
  return { segments, orphans: orphans.sort(compareBytes) }
}

async function pathsBelow(
  storage: StorageDriver,
  path: string,
  wanted: (name: string) => boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const names: string[] = []
  for await (const { name, kind } of storage.list(path, { namesOnly: true, signal })) {
    const base = name.slice(path.length + 1)
    if (kind === 'path' && wanted(base)) names.push(base)
  }
  return names
}
