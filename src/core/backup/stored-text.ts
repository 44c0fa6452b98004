import { encryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { compressor, loadCodec } from '../../codec/registry.ts'
import type { Stage } from '../../codec/stage.ts'
import type { CompressType, ManifestFile, ManifestPath } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { sourceOf } from '../../util/bytes.ts'

/** Where a backup is written and how its files are stored. */
export interface BackupPlace {
  readonly storage: StorageDriver
  readonly stanza: string
  readonly label: string
  readonly codec: { readonly type: CompressType; readonly level: number }
  /** Passphrase of the files of this backup set; absent: the repository is not encrypted. */
  readonly cipherPass?: string
  readonly signal: AbortSignal
}

/**
 * Store a file that the server returned as text when the backup ended (backup_label, tablespace_map), byte for byte.
 * Its mode is that of the data directory less execution, its owner that of the data directory.
 *
 * @param text byte string
 * @param timestamp seconds since the epoch, the end of the backup
 */
export async function storeReturnedFile(
  place: BackupPlace,
  name: 'backup_label' | 'tablespace_map',
  text: string,
  pgData: ManifestPath,
  timestamp: number,
): Promise<ManifestFile> {
  const manifestName = `pg_data/${name}`
  const { type } = place.codec
  await loadCodec(type)
  const [original, stored] = [digest('sha1'), digest('sha1')]
  const filters = storingFilters(place)
  await using file = await place.storage.create(fileRepoName(place.stanza, { name: manifestName }, place.label, type))
  await pump(sourceOf(Buffer.from(text, 'latin1')), [original, ...filters, stored], file.sink, place.signal)
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

/** What the content of a file passes on its way into the repository. Load the codec before. */
export function storingFilters({ codec, cipherPass }: BackupPlace): Stage[] {
  const filters: Stage[] = codec.type === 'none' ? [] : [compressor(codec.type, codec.level)]
  if (cipherPass !== undefined) filters.push(encryptor(cipherPass))
  return filters
}
