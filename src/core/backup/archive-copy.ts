import { decryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { decompressor, loadCodec } from '../../codec/registry.ts'
import type { Stage } from '../../codec/stage.ts'
import type { ManifestFile, ManifestPath } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import type { WalSegment } from '../../format/wal-segment.ts'
import type { ByteSink, ByteSource } from '../../util/bytes.ts'
import { PgtsError } from '../../util/error.ts'
import type { ArchivedSegment } from '../archive/wait-for-wal.ts'
import { storingFilters, type BackupInProgress } from './stored-text.ts'
import { bytes, bytesToText } from '../../util/byte-string.ts'

/**
 * Copies the WAL that a backup needs into the backup's own pg_wal, so that it can be restored without the archive. The
 * segments are stored like the other files of the backup; their content must match the checksum in the archived file's
 * name.
 *
 * @param archive archive.info, which contains the passphrase of the archive in an encrypted repository
 */
export async function* copyArchivedWal(
  backup: BackupInProgress,
  archive: { readonly cipherPass?: string },
  segments: readonly ArchivedSegment[],
  pgData: ManifestPath,
  timestamp: number,
): AsyncGenerator<ManifestFile> {
  const { repository, signal } = backup
  for (const segment of segments) {
    await loadCodec(segment.compressType)
    const decode = [
      ...(archive.cipherPass === undefined ? [] : [decryptor(archive.cipherPass)]),
      ...(segment.compressType === 'none' ? [] : [decompressor(segment.compressType)]),
    ]
    const source = await repository.storage.read(segment.repoName, { signal })
    const isSame = (checksum: string) => {
      if (checksum === segment.checksum) return true
      throw new PgtsError(
        'checksum',
        `archived WAL segment ${bytesToText(segment.repoName)} has SHA-1 ${checksum}, expected by its name ${segment.checksum}`,
        { hints: ['the archived segment is corrupt, so this backup cannot become consistent: take a new backup'] },
      )
    }
    const stored = await storeSegment(backup, segment.segment, { source, decode }, { pgData, timestamp }, isSame)
    if (stored !== undefined) yield stored
  }
}

/**
 * Stores one WAL segment in the backup's own pg_wal.
 *
 * @param source is closed by this function
 * @returns undefined if `isValid` returns false: nothing is stored
 */
export async function storeSegment(
  { repository, stanza, label, policy, signal }: BackupInProgress,
  segment: WalSegment,
  { source, decode }: { readonly source: ByteSource; readonly decode: readonly Stage[] },
  { pgData, timestamp }: { readonly pgData: ManifestPath; readonly timestamp: number },
  isValid: (checksum: string) => boolean,
): Promise<ManifestFile | undefined> {
  const { type } = policy.compression
  const name = bytes`pg_data/pg_wal/${segment}`
  await loadCodec(type)
  const original = digest('sha1')
  await using target = await repository.storage.create(fileRepoName(stanza, { name }, label, type))
  const counted = counting(target.sink)
  await pump(source, [...decode, original, ...storingFilters(policy)], counted, signal)
  const checksum = original.hex()
  if (!isValid(checksum)) return undefined
  await target.commit({ deferSync: true })
  return {
    name,
    mode: pgData.mode & 0o644,
    user: pgData.user,
    group: pgData.group,
    sizeBytes: original.bytes,
    checksum,
    repoSizeBytes: counted.bytes === original.bytes ? undefined : counted.bytes,
    timestamp,
  }
}

function counting(sink: ByteSink): ByteSink & { bytes: number } {
  return {
    bytes: 0,
    write(chunk) {
      this.bytes += chunk.length
      return sink.write(chunk)
    },
  }
}
