import type { Stage } from '../../codec/stage.ts'
import type { BlockMap } from '../../format/block-map.ts'
import type { CompressType } from '../../util/compress-type.ts'

/** How a file is stored as blocks. Sizes and offsets in bytes. */
export interface BlockWriteOptions {
  /** Multiple of 8192, and that of `prior` when there is one. */
  readonly blockSize: number
  /** 6 to 16, and that of `prior` when there is one. */
  readonly checksumSize: number
  /** How much is compressed together; rounded up to a multiple of `blockSize`. */
  readonly superBlockSize: number
  /** The map of the prior backup. Without it every block is new. Not to be used for a file smaller than `blockSize`. */
  readonly prior?: BlockMap
  /** Index of the backup being made in its own `references`: the length of the list, less one. */
  readonly reference: number
  /** The bundle that is being written; 0 for a file of its own (`.pgbi`). */
  readonly bundleId: number
  /** Where in the repository file the first byte of this file goes: 0 in a file of its own. */
  readonly offset: number
  /** Loaded by the caller (loadCodec). */
  readonly codec: { readonly type: CompressType; readonly level: number }
  /** Passphrase of the backup set's files, in an encrypted repository. */
  readonly cipherPass?: string
}

/** What became of the file; known when the stage has finished. */
export interface BlockWriteResult {
  /**
   * Every block is that of the prior map and none is missing: nothing was given out, and the file keeps its reference.
   * The caller still compares the size and the SHA-1 with the prior entry: when they differ, two blocks share a block
   * checksum (one in 2^48 and rarer), and the file must be stored again without `prior`.
   */
  readonly unchanged: boolean
  /** All that was given out: super blocks and map (`repo-size`). */
  readonly repoSizeBytes: number
  /** Stored size of the map (`bim`); 0 when unchanged, and for an empty file. */
  readonly mapSizeBytes: number
}

/**
 * A stage of the pump between the taps on the content (page check, SHA-1) and the tap on the stored bytes: content in,
 * super blocks and map out. Nothing is given out before the first new block.
 */
export interface BlockStage extends Stage {
  result(): BlockWriteResult
}
