/**
 * Block sizes for block incremental storage. A table is searched for the first row whose lower bound is reached, so the
 * rows are in descending order. Sizes in bytes.
 */
export interface BlockPolicy {
  readonly sizes: readonly { readonly fromFileBytes: number; readonly blockBytes: number }[]
  /** A file that has not changed for long gets larger blocks (`factor`); with factor 0 it is stored whole. */
  readonly ages: readonly { readonly fromSeconds: number; readonly factor: number }[]
  readonly checksums: readonly { readonly fromBlockBytes: number; readonly checksumBytes: number }[]
  /** Plain size of a super block, which is compressed as one unit. */
  readonly superBytes: number
}

const KIB = 1024
const MIB = 1024 * 1024
const DAY = 86_400

/** Unit of block sizes in the manifest: every block size is a multiple of this. */
export const BLOCK_UNIT = 8192
export const CHECKSUM_BYTES = { least: 6, most: 16 }

/** pgBackRest's tables: a map is never larger than a block of its file. */
export const BLOCK_DEFAULTS: Omit<BlockPolicy, 'superBytes'> = {
  sizes: [
    { fromFileBytes: 914 * MIB, blockBytes: 88 * KIB },
    { fromFileBytes: 740 * MIB, blockBytes: 80 * KIB },
    { fromFileBytes: 585 * MIB, blockBytes: 72 * KIB },
    { fromFileBytes: 448 * MIB, blockBytes: 64 * KIB },
    { fromFileBytes: 329 * MIB, blockBytes: 56 * KIB },
    { fromFileBytes: 228 * MIB, blockBytes: 48 * KIB },
    { fromFileBytes: 146 * MIB, blockBytes: 40 * KIB },
    { fromFileBytes: 96 * MIB, blockBytes: 32 * KIB },
    { fromFileBytes: 43 * MIB, blockBytes: 24 * KIB },
    { fromFileBytes: 11 * MIB, blockBytes: 16 * KIB },
    { fromFileBytes: 16 * KIB, blockBytes: 8 * KIB },
  ],
  ages: [
    { fromSeconds: 28 * DAY, factor: 0 },
    { fromSeconds: 14 * DAY, factor: 4 },
    { fromSeconds: 7 * DAY, factor: 2 },
  ],
  checksums: [
    { fromBlockBytes: 4 * MIB, checksumBytes: 12 },
    { fromBlockBytes: 2 * MIB, checksumBytes: 11 },
    { fromBlockBytes: MIB, checksumBytes: 10 },
    { fromBlockBytes: 512 * KIB, checksumBytes: 9 },
    { fromBlockBytes: 128 * KIB, checksumBytes: 8 },
    { fromBlockBytes: 32 * KIB, checksumBytes: 7 },
  ],
}

export interface BlockShape {
  readonly blockSize: number
  readonly checksumSize: number
}

/**
 * The blocks of a file without a block map to continue; undefined: the file is stored whole.
 *
 * @param ageSeconds start of the backup minus mtime of the file
 */
export function blockShapeOf(policy: BlockPolicy, sizeBytes: number, ageSeconds: number): BlockShape | undefined {
  const block = policy.sizes.find(({ fromFileBytes }) => sizeBytes >= fromFileBytes)?.blockBytes ?? 0
  const factor = policy.ages.find(({ fromSeconds }) => ageSeconds >= fromSeconds)?.factor ?? 1
  const blockSize = block * factor
  // With a single block, no unchanged part could be found.
  if (blockSize === 0 || blockSize >= sizeBytes) return undefined
  const checksum = policy.checksums.find(({ fromBlockBytes }) => blockSize >= fromBlockBytes)
  return { blockSize, checksumSize: checksum?.checksumBytes ?? CHECKSUM_BYTES.least }
}
