import type { BlockMap } from '../../format/block-map.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { PgtsError } from '../../util/error.ts'

/** Where a block incremental file is stored, as its manifest entry says. Sizes in bytes. */
export interface StoredBlocks {
  /** Repository file with the map: of the backup that the entry refers to (`fileRepoName`). */
  readonly repoName: string
  /** `bno`; 0 in a file of its own. */
  readonly offset: number
  /** `repo-size`, or `size` when the entry has none. */
  readonly repoSizeBytes: number
  /** `bim` */
  readonly mapSizeBytes: number
  readonly sizeBytes: number
  readonly blockSize: number
  readonly checksumSize: number
  readonly cipherPass?: string
}

/**
 * Reads the map of a stored file.
 * `format` or `crypto` when it is damaged: a map that is returned covers exactly the blocks of `sizeBytes`.
 */
export async function loadBlockMap(
  _storage: StorageDriver,
  _where: StoredBlocks,
  _signal?: AbortSignal,
): Promise<BlockMap> {
  return Promise.reject(new PgtsError('assert', 'not written yet'))
}
