import { PgtsError } from '../util/error.ts'

/**
 * The map at the end of a block incremental file: where each block of the file is stored (docs/format/files.md).
 * Pure: bytes in, values out.
 */

/** Some blocks of one file, compressed and encrypted together. Sizes and offsets in bytes. */
export interface SuperBlock {
  /** Index into `references` of the manifest that the map belongs to: the backup that holds it. */
  readonly reference: number
  /** 0: in the file's own repository file (`.pgbi`) of that backup. */
  readonly bundleId: number
  /** Place of the stored form in that repository file. */
  readonly offset: number
  /** Length of the stored form; never 0. */
  readonly storedBytes: number
  /** Length of the blocks themselves. */
  readonly plainBytes: number
}

/** Where one block of the file is. Blocks of one super block share the object. */
export interface BlockPlace {
  readonly superBlock: SuperBlock
  /** Which block of the super block, from 0; it begins at `index * blockSize` of the plain bytes. */
  readonly index: number
}

/** Every block of a file, in order. The last block may be shorter than the others. */
export interface BlockMap {
  readonly blockSize: number
  /** Bytes a block checksum has here: the first of its XXH3. */
  readonly checksumSize: number
  readonly blocks: readonly BlockPlace[]
  /** The checksums of all blocks, one after the other: `blocks.length * checksumSize` bytes. */
  readonly checksums: Uint8Array
}

export function parseBlockMap(_bytes: Uint8Array, _shape: { blockSize: number; checksumSize: number }): BlockMap {
  throw new PgtsError('assert', 'not written yet')
}
