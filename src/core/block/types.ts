import type { Stage } from '../../codec/stage.ts'
import type { BlockMap } from '../../format/block-map.ts'
import type { Compression } from '../../util/compress-type.ts'

/** How a file is stored block incremental. Sizes and offsets in bytes. */
export interface BlockWriteOptions {
  /** Multiple of 8192; must equal that of `prior`, if set. */
  readonly blockSize: number
  /** 6 to 16; must equal that of `prior`, if set. */
  readonly checksumSize: number
  /** Plain size of a super block, which is compressed as one unit; rounded up to a multiple of `blockSize`. */
  readonly superBlockSize: number
  /** Size of the file, if it does not change while it is read. */
  readonly likelyBytes?: number
  /** The map of the prior backup; absent: every block is new. Must be absent for a file smaller than `blockSize`. */
  readonly prior?: BlockMap
  /** Index of this backup in its own `references`: the last one. */
  readonly reference: number
  /** Id of the bundle; 0 if the file is not bundled (`.pgbi`). */
  readonly bundleId: number
  /** Offset of the file in the repository file: 0 if it is not bundled. */
  readonly offset: number
  /** Loaded by the caller (loadCodec). */
  readonly compression: Compression
  /** Passphrase of the files of the backup set, in an encrypted repository. */
  readonly cipherPass?: string
}

/** The result, known when the stage has finished. */
export interface BlockWriteResult {
  /**
   * Every block equals that of the prior map and none is missing: nothing was returned, and the file keeps its
   * reference. The caller still compares size and SHA-1 with the prior entry: if they differ, two blocks have the same
   * block checksum (probability 1 in 2^48 or less), and the file must be stored again without `prior`.
   */
  readonly unchanged: boolean
  /** Number of bytes returned: super blocks and map (`repo-size`). */
  readonly repoSizeBytes: number
  /** Stored size of the map (`bim`); 0 if unchanged, and for an empty file. */
  readonly mapSizeBytes: number
}

/**
 * A stage between the taps on the content (page check, SHA-1) and the tap on the stored bytes: content in, super blocks
 * and map out. Returns nothing before the first new block.
 */
export interface BlockStage extends Stage {
  result(): BlockWriteResult
}

/** The size of super blocks: whole blocks. */
export function wholeSuperBlock({
  superBlockSize,
  blockSize,
}: Pick<BlockWriteOptions, 'superBlockSize' | 'blockSize'>): number {
  return Math.ceil(superBlockSize / blockSize) * blockSize
}
