import { decryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { decompressor, loadCodec } from '../../codec/registry.ts'
import type { ManifestFile, ManifestPath } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import type { ByteSink } from '../../util/bytes.ts'
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
  const { repository, stanza, label, policy, signal } = backup
  const { type } = policy.compression
  for (const segment of segments) {
    const manifestName = bytes`pg_data/pg_wal/${segment.segment}`
    await loadCodec(segment.compressType)
    await loadCodec(type)
    const original = digest('sha1')
    const stages = [
      ...(archive.cipherPass === undefined ? [] : [decryptor(archive.cipherPass)]),
      ...(segment.compressType === 'none' ? [] : [decompressor(segment.compressType)]),
      original,
      ...storingFilters(policy),
    ]
    const source = await repository.storage.read(segment.repoName, { signal })
    await using target = await repository.storage.create(fileRepoName(stanza, { name: manifestName }, label, type))
    const counted = counting(target.sink)
    await pump(source, stages, counted, signal)
    if (original.hex() !== segment.checksum) {
      throw new PgtsError(
        'checksum',
        `archived WAL segment ${bytesToText(segment.repoName)} has SHA-1 ${original.hex()}, expected by its name ${segment.checksum}`,
        { hints: ['the archived segment is corrupt, so this backup cannot become consistent: take a new backup'] },
      )
    }
    await target.commit({ deferSync: true })
    yield {
      name: manifestName,
      mode: pgData.mode & 0o644,
      user: pgData.user,
      group: pgData.group,
      sizeBytes: original.bytes,
      checksum: segment.checksum,
      repoSizeBytes: counted.bytes === original.bytes ? undefined : counted.bytes,
      timestamp,
    }
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
