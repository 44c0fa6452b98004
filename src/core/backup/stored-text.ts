import { encryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { compressor, loadCodec } from '../../codec/registry.ts'
import type { Stage } from '../../codec/stage.ts'
import type { ManifestFile, ManifestPath } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import { sourceOf } from '../../util/bytes.ts'
import type { Repository } from '../repository.ts'
import type { CopyPolicy } from './plan.ts'
import { bytes } from '../../util/byte-string.ts'

/** A backup in progress. */
export interface BackupInProgress {
  readonly repository: Repository
  readonly stanza: string
  readonly label: string
  readonly policy: Pick<CopyPolicy, 'compression' | 'cipherPass'>
  readonly signal: AbortSignal
}

/**
 * Stores a file that the server returned as text at the end of the backup (backup_label, tablespace_map), byte for
 * byte. Its mode is that of the data directory without the execute bits, its owner that of the data directory.
 *
 * @param text byte string
 * @param timestamp seconds since the epoch, the end of the backup
 */
export async function storeReturnedFile(
  backup: BackupInProgress,
  name: 'backup_label' | 'tablespace_map',
  text: string,
  pgData: ManifestPath,
  timestamp: number,
): Promise<ManifestFile> {
  const manifestName = bytes`pg_data/${name}`
  const { repository, stanza, label, policy, signal } = backup
  const { type } = policy.compression
  await loadCodec(type)
  const [original, stored] = [digest('sha1'), digest('sha1')]
  const filters = storingFilters(policy)
  await using file = await repository.storage.create(fileRepoName(stanza, { name: manifestName }, label, type))
  await pump(sourceOf(Buffer.from(text, 'latin1')), [original, ...filters, stored], file.sink, signal)
  await file.commit({ deferSync: true })
  return {
    name: manifestName,
    mode: pgData.mode & 0o644,
    user: pgData.user,
    group: pgData.group,
    sizeBytes: original.bytes,
    checksum: original.hex(),
    repoSizeBytes: stored.bytes === original.bytes ? undefined : stored.bytes,
    repoChecksum: filters.length === 0 ? undefined : stored.hex(),
    timestamp,
  }
}

/** Stages that compress and encrypt the content of a file. The codec must be loaded. */
export function storingFilters({ compression, cipherPass }: BackupInProgress['policy']): Stage[] {
  const filters: Stage[] = compression.type === 'none' ? [] : [compressor(compression.type, compression.level)]
  if (cipherPass !== undefined) filters.push(encryptor(cipherPass))
  return filters
}
