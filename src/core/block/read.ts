import { decrypt } from '../../codec/cipher.ts'
import { parseBlockMap, type BlockMap } from '../../format/block-map.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { readAll } from '../../util/bytes.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'

/** Location of a block incremental file, from its manifest entry. Sizes in bytes. */
export interface StoredBlocks {
  /** Repository file with the map, in the backup that the entry refers to (`fileRepoName`). */
  readonly repoName: ByteString
  /** `bno`; 0 if the file is not bundled. */
  readonly offset: number
  /** `repo-size`, or `size` if the entry has none. */
  readonly repoSizeBytes: number
  /** `bim` */
  readonly mapSizeBytes: number
  readonly sizeBytes: number
  readonly blockSize: number
  readonly checksumSize: number
  /** Number of labels in `references` of the manifest: the map must not refer to others. */
  readonly referenceCount: number
  readonly cipherPass?: string
}

/**
 * Reads the map of a stored file. A returned map covers exactly the blocks of `sizeBytes`, each with its length in the
 * file; the content of the blocks is verified when they are read.
 *
 * @throws PgtsError `format` or `crypto` if it is corrupt, `file-read` or `file-missing` if it is missing
 */
export async function loadBlockMap(
  storage: StorageDriver,
  where: StoredBlocks,
  signal?: AbortSignal,
): Promise<BlockMap> {
  const { repoName, mapSizeBytes, blockSize, checksumSize, sizeBytes, cipherPass } = where
  const offset = where.offset + where.repoSizeBytes - mapSizeBytes
  try {
    if (offset < where.offset)
      throw new PgtsError('format', 'it is larger than the whole file according to the manifest')
    const range = { offset, length: mapSizeBytes }
    let bytes: Uint8Array = await readAll(
      await storage.read(repoName, signal === undefined ? range : { ...range, signal }),
    )
    if (cipherPass !== undefined) bytes = decrypt(bytes, cipherPass, { raw: true })
    const map = parseBlockMap(bytes, { blockSize, checksumSize, blockCount: Math.ceil(sizeBytes / blockSize) })
    assertFits(map, sizeBytes, where.referenceCount)
    assertOwnSuperBlocks(map, where.offset, offset)
    return map
  } catch (error) {
    if (!isPgtsError(error)) throw error
    throw new PgtsError(
      error.code,
      `unable to read the block map in '${storage.display}/${bytesToText(repoName)}' at ${offset} ` +
        `(${mapSizeBytes} bytes): ${error.message}`,
      { hints: error.hints, cause: error },
    )
  }
}

/** Length of a block in the file: only the last block may be shorter. */
export function blockLength(map: BlockMap, block: number, sizeBytes: number): number {
  return Math.min(map.blockSize, sizeBytes - block * map.blockSize)
}

function assertFits(map: BlockMap, sizeBytes: number, referenceCount: number): void {
  for (const [block, { superBlock, index }] of map.blocks.entries()) {
    if (superBlock.reference >= referenceCount)
      throw new PgtsError('format', `block ${block} refers to backup ${superBlock.reference} of ${referenceCount}`)
    const length = Math.min(map.blockSize, superBlock.plainBytes - index * map.blockSize)
    if (length !== blockLength(map, block, sizeBytes))
      throw new PgtsError('format', `block ${block} has ${length} bytes, which does not match the file`)
  }
}

/**
 * The super blocks that were stored with a map fill the space before it: they belong to the newest backup in the map,
 * and all are listed. A backup that continues a corrupt map would inherit the corruption, so this is checked.
 */
function assertOwnSuperBlocks(map: BlockMap, start: number, mapOffset: number): void {
  if (start === mapOffset) return
  const newest = map.blocks.reduce((reference, { superBlock }) => Math.max(reference, superBlock.reference), 0)
  const own = new Set(map.blocks.map(({ superBlock }) => superBlock).filter(({ reference }) => reference === newest))
  let end = start
  for (const { offset, storedBytes } of own) {
    if (offset !== end) break
    end += storedBytes
  }
  if (end !== mapOffset) throw new PgtsError('format', `its super blocks end at ${end}, the map begins at ${mapOffset}`)
}
