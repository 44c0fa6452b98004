import { decrypt } from '../../codec/cipher.ts'
import { archiveIdOf, historyMatching, type ArchiveInfo } from '../../format/archive-info.ts'
import { archiveDirectory, archivePath } from '../../format/repo-path.ts'
import { parseArchivedSegment } from '../../format/wal-segment.ts'
import type { Cancellable, StorageDriver } from '../../storage/driver.ts'
import { getFile } from '../../storage/whole-file.ts'
import { compareBytes, type ByteString } from '../../util/byte-string.ts'
import type { CompressType } from '../../util/compress-type.ts'
import { PgtsError } from '../../util/error.ts'
import { describeCluster, type ClusterIdentity } from '../cluster-identity.ts'

/** One stored file of a segment. */
export interface StoredSegment {
  /** Name in the repository, from its root. */
  readonly repoName: ByteString
  /** SHA-1 of the plain content, from the name. */
  readonly checksum: string
  readonly compressType: CompressType
}

/**
 * Every stored file of a segment under one archive id, in name order. More than one is an error, which the caller reports.
 *
 * @param name `<segment>` or `<segment>.partial`
 */
export async function findSegment(
  storage: StorageDriver,
  stanza: string,
  archiveId: string,
  name: string,
  signal?: AbortSignal,
): Promise<readonly StoredSegment[]> {
  const directory = archiveDirectory(stanza, archiveId, name)
  return (await listSegments(storage, directory, signal)).get(name) ?? []
}

/** Every segment and partial segment of one directory (`archive/main/15-1/0000000100000000`), by name. */
export async function listSegments(
  storage: StorageDriver,
  directory: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, readonly StoredSegment[]>> {
  const found = new Map<string, StoredSegment[]>()
  for await (const file of storage.list(directory, namesOnly(signal))) {
    if (file.kind === 'path') continue
    const archived = parseArchivedSegment(baseName(file.name))
    if (archived === undefined) continue
    const name = `${archived.segment}${archived.partial ? '.partial' : ''}`
    const stored = { repoName: file.name, checksum: archived.checksum, compressType: archived.compressType }
    const same = found.get(name)
    if (same === undefined) found.set(name, [stored])
    else same.push(stored)
  }
  for (const several of found.values()) several.sort((a, b) => compareBytes(a.repoName, b.repoName))
  return found
}

/**
 * The archive ids that may contain WAL of this cluster, newest first: the current one, and an older one of the same
 * cluster (a stanza that was upgraded and reverted) if its directory exists.
 */
export async function candidateArchiveIds(
  storage: StorageDriver,
  stanza: string,
  info: ArchiveInfo,
  identity: ClusterIdentity,
  signal?: AbortSignal,
): Promise<string[]> {
  const ids: string[] = []
  let existing: Set<string> | undefined
  for (const entry of historyMatching(info, identity.version, identity.systemId)) {
    const archiveId = archiveIdOf(entry)
    if (entry.id !== info.currentId) existing ??= await directoriesOf(storage, stanza, signal)
    if (entry.id === info.currentId || existing?.has(archiveId)) ids.push(archiveId)
  }
  return ids
}

export function baseName(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1)
}

function namesOnly(signal: AbortSignal | undefined) {
  return { namesOnly: true, signal }
}

async function directoriesOf(storage: StorageDriver, stanza: string, signal?: AbortSignal): Promise<Set<string>> {
  const names = new Set<string>()
  for await (const entry of storage.list(archivePath(stanza), namesOnly(signal))) {
    names.add(baseName(entry.name))
  }
  return names
}

/** `what` was written by another cluster than the one that `stanza` is for. */
export function mismatch(what: string, stanza: string, identity: ClusterIdentity): PgtsError {
  return new PgtsError(
    'archive-mismatch',
    `${what} does not belong to stanza ${stanza} (${describeCluster(identity)})`,
    {
      hints: [
        'check the stanza in archive_command',
        'if the cluster was created again or upgraded, run stanza-upgrade',
      ],
    },
  )
}

/**
 * A small file of the archive that is stored uncompressed: timeline and backup history.
 *
 * @param cipherPass passphrase of the archive; undefined: the repository is not encrypted
 * @throws PgtsError crypto when it cannot be decrypted
 */
export async function readArchived(
  storage: StorageDriver,
  repoName: ByteString,
  cipherPass: string | undefined,
  options: Cancellable = {},
): Promise<Buffer> {
  const stored = await getFile(storage, repoName, options)
  return cipherPass === undefined ? stored : decrypt(stored, cipherPass)
}
