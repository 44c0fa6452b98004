import type { BlockMap, SuperBlock } from '../../format/block-map.ts'

/** Blocks that are adjacent both in the super block and in the file, so that they are copied in one piece. */
export interface Stretch {
  /** Start (inclusive) and end (exclusive) in the plain super block. */
  readonly start: number
  readonly end: number
  /** Offset of the first byte in the file. */
  readonly filePosition: number
}

export interface SuperBlockRead {
  readonly superBlock: SuperBlock
  /** Ordered by position in the super block, not overlapping. */
  readonly stretches: readonly Stretch[]
}

/** One range of one repository file with adjacent super blocks. */
export interface RangeRead {
  readonly reference: number
  readonly bundleId: number
  readonly offset: number
  readonly length: number
  readonly superBlocks: readonly SuperBlockRead[]
}

/**
 * Plans the reads for some blocks of a file: as few ranges as possible, one backup after the other, each in order of
 * offset. A super block with several of the blocks is read once.
 *
 * @param isNeeded called once for each block of the file
 */
export function planReads(map: BlockMap, isNeeded: (block: number) => boolean): RangeRead[] {
  const bySuperBlock = new Map<SuperBlock, Stretch[]>()
  for (const [block, { superBlock, index }] of map.blocks.entries()) {
    if (!isNeeded(block)) continue
    const start = index * map.blockSize
    const end = Math.min(start + map.blockSize, superBlock.plainBytes)
    const filePosition = block * map.blockSize
    const stretches = bySuperBlock.get(superBlock)
    const last = stretches?.at(-1)
    if (stretches === undefined) bySuperBlock.set(superBlock, [{ start, end, filePosition }])
    else if (last!.end === start && last!.filePosition + (last!.end - last!.start) === filePosition) {
      stretches[stretches.length - 1] = { ...last!, end }
    } else stretches.push({ start, end, filePosition })
  }

  const inOrder = [...bySuperBlock].sort(([a], [b]) => a.reference - b.reference || a.offset - b.offset)
  const ranges: { range: RangeRead; length: number; superBlocks: SuperBlockRead[] }[] = []
  for (const [superBlock, stretches] of inOrder) {
    const { reference, bundleId, offset, storedBytes } = superBlock
    const last = ranges.at(-1)
    if (last?.range.reference === reference && last.range.offset + last.length === offset) {
      last.length += storedBytes
      last.superBlocks.push({ superBlock, stretches })
    } else {
      const superBlocks = [{ superBlock, stretches }]
      ranges.push({
        range: { reference, bundleId, offset, length: storedBytes, superBlocks },
        length: storedBytes,
        superBlocks,
      })
    }
  }
  return ranges.map(({ range, length }) => ({ ...range, length }))
}
