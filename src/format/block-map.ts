import { PgtsError } from '../util/error.ts'
import { unzigzag, VarintReader, VarintWriter, zigzag } from './varint.ts'

/**
 * The map at the end of a block incremental file: the location of each block of the file (docs/format/blocks.md). Pure:
 * bytes in, values out.
 */

/** Some blocks of one file that are compressed and encrypted together. Sizes and offsets in bytes. */
export interface SuperBlock {
  /** Index into `references` of the manifest that the map belongs to: the backup that contains it. */
  readonly reference: number
  /** 0: not bundled, in the file's own repository file (`.pgbi`) of that backup. */
  readonly bundleId: number
  /** Offset of the stored bytes in that repository file. */
  readonly offset: number
  /** Number of stored bytes; never 0. */
  readonly storedBytes: number
  /** Number of bytes of the decoded blocks. */
  readonly plainBytes: number
}

/** Location of one block of the file. Blocks of one super block share the object. */
export interface BlockPlace {
  readonly superBlock: SuperBlock
  /** Index of the block in the super block, from 0; it begins at `index * blockSize` of the decoded bytes. */
  readonly index: number
}

/** Every block of a file, in order. The last block may be shorter than the others. */
export interface BlockMap {
  readonly blockSize: number
  /** Bytes of a block checksum: the first bytes of its XXH3. */
  readonly checksumSize: number
  readonly blocks: readonly BlockPlace[]
  /** Checksums of all blocks, concatenated: `blocks.length * checksumSize` bytes. */
  readonly checksums: Uint8Array
}

export interface BlockMapShape {
  readonly blockSize: number
  readonly checksumSize: number
  /** Number of blocks of the file. A map with another number is refused. */
  readonly blockCount: number
}

// The head of a super block is a number, with three flags in its lowest bits.
const FLAGS = 8
const LAST = 1
const RUN = { bundle: 2, offset: 4, goesOn: 2, gap: 4, goesOnOnly: 4 }
const SUPER = { plainSize: 2, count: 4 }

/** The position in the blocks of one backup, for reading and writing. */
interface Progress {
  superBlock: SuperBlock | undefined
  /** Size of a super block; valid for the following ones until another size is stored. */
  plainBytes: number
  /** Index of the next block in the super block. */
  position: number
}

/** Consecutive blocks stored by one backup: the location of the first, and whether its super block was begun before. */
interface Run {
  readonly progress: Progress
  readonly bundleId: number
  readonly offset: number
  /** The run begins with further blocks of the super block in which the last run of this backup ended. */
  readonly continues: boolean
}

/**
 * @param bytes the decrypted map without surrounding bytes
 * @throws `format` if the map is invalid, or does not have `blockCount` blocks
 */
export function parseBlockMap(bytes: Uint8Array, shape: BlockMapShape): BlockMap {
  return new BlockMapReader(bytes, shape).read()
}

class BlockMapReader {
  readonly #input: VarintReader
  readonly #shape: BlockMapShape
  readonly #blocks: BlockPlace[] = []
  readonly #checksums: Buffer
  readonly #backups = new Map<number, Progress>()
  #lastStoredBytes = 0

  constructor(bytes: Uint8Array, shape: BlockMapShape) {
    const { checksumSize, blockCount } = shape
    this.#input = new VarintReader(bytes, 'block map')
    this.#shape = shape
    // The count comes from the manifest, so the map may be too short for it.
    if (blockCount * checksumSize > bytes.length) throw this.#input.wrong(`it is too short for ${blockCount} blocks`)
    this.#checksums = Buffer.allocUnsafe(blockCount * checksumSize)
  }

  read(): BlockMap {
    const { blockSize, checksumSize, blockCount } = this.#shape
    if (this.#input.next() % 2 !== 0) throw this.#input.wrong('it is of an unknown version')
    for (let isLast = false; !isLast;) {
      const head = this.#input.next()
      isLast = (head & LAST) !== 0
      this.#readRun(Math.floor(head / FLAGS), head % FLAGS)
    }
    const blocks = this.#blocks
    if (!this.#input.atEnd) throw this.#input.wrong('bytes follow its end')
    if (blocks.length !== blockCount) throw this.#input.wrong(`it lists ${blocks.length} blocks of ${blockCount}`)
    return { blockSize, checksumSize, blocks, checksums: this.#checksums }
  }

  #readRun(reference: number, flags: number): void {
    const run = this.#runHead(reference, flags)
    const { progress, bundleId, continues } = run
    let { offset } = run
    if (continues) offset = this.#readBlocks(progress, true)
    for (let isLast = continues && (flags & RUN.goesOnOnly) !== 0; !isLast;) {
      const head = this.#input.next()
      isLast = (head & LAST) !== 0
      progress.superBlock = this.#superBlock(head, progress, { reference, bundleId, offset })
      progress.position = 0
      offset = this.#readBlocks(progress, (head & SUPER.count) !== 0)
    }
  }

  #runHead(reference: number, flags: number): Run {
    const input = this.#input
    const known = this.#backups.get(reference)
    if (known === undefined) {
      const progress = { superBlock: undefined, plainBytes: this.#shape.blockSize, position: 0 }
      this.#backups.set(reference, progress)
      const bundleId = (flags & RUN.bundle) !== 0 ? input.next() : 0
      const offset = (flags & RUN.offset) !== 0 ? input.next() : 0
      return { progress, bundleId, offset, continues: false }
    }
    const { bundleId, offset, storedBytes } = known.superBlock!
    if ((flags & RUN.goesOn) !== 0) return { progress: known, bundleId, offset, continues: true }
    const gap = (flags & RUN.gap) !== 0 ? input.next() : 0
    return { progress: known, bundleId, offset: offset + storedBytes + gap, continues: false }
  }

  #superBlock(
    head: number,
    progress: Progress,
    place: Pick<SuperBlock, 'reference' | 'bundleId' | 'offset'>,
  ): SuperBlock {
    const size = Math.floor(head / FLAGS)
    const storedBytes = this.#lastStoredBytes === 0 ? size : unzigzag(size) + this.#lastStoredBytes
    if ((head & SUPER.plainSize) !== 0) progress.plainBytes = readPlainSize(this.#input, this.#shape.blockSize)
    const { plainBytes } = progress
    if (storedBytes <= 0 || plainBytes <= 0) throw this.#input.wrong('a super block is empty')
    return { ...place, storedBytes, plainBytes }
  }

  /**
   * @param counted the number of blocks is stored; otherwise all blocks of the super block follow. @returns the offset
   * after it
   */
  #readBlocks(progress: Progress, counted: boolean): number {
    const input = this.#input
    const blocks = this.#blocks
    const { blockSize, checksumSize, blockCount } = this.#shape
    const superBlock = progress.superBlock!
    this.#lastStoredBytes = superBlock.storedBytes
    const end = superBlock.offset + superBlock.storedBytes
    if (!Number.isSafeInteger(end)) throw input.wrong('a super block is out of range')

    const whole = Math.ceil(superBlock.plainBytes / blockSize)
    let count = whole
    if (counted) {
      const encoded = input.next()
      count = Math.floor(encoded / 2) + 1
      if (encoded % 2 !== 0) progress.position += input.next()
    }
    if (progress.position + count > whole) throw input.wrong('a super block lists more blocks than it contains')
    if (blocks.length + count > blockCount) throw input.wrong(`it lists more than ${blockCount} blocks`)
    this.#checksums.set(input.take(count * checksumSize), blocks.length * checksumSize)
    for (let i = 0; i < count; i++) blocks.push({ superBlock, index: progress.position++ })
    return end
  }
}

function readPlainSize(input: VarintReader, blockSize: number): number {
  const encoded = input.next()
  return Math.floor(encoded / 2) * blockSize + (encoded % 2 !== 0 ? input.next() : 0)
}

/**
 * Serialises a map with the same bytes as pgBackRest. The map must have a block, and the super blocks of each backup
 * must be in order and adjacent unless blocks of other backups are between them; this holds if they were written in
 * file order.
 */
export function serialiseBlockMap(map: BlockMap): Buffer {
  const writer = new BlockMapWriter(map)
  const { blocks } = map
  for (let start = 0; start < blocks.length;) {
    const { reference } = blocks[start]!.superBlock
    const end = endOfStretch(blocks, start, (other) => other.reference === reference)
    writer.putRun(start, end)
    start = end
  }
  return writer.result()
}

class BlockMapWriter {
  readonly #map: BlockMap
  readonly #output = new VarintWriter()
  readonly #backups = new Map<number, Progress>()
  #lastStoredBytes = 0

  constructor(map: BlockMap) {
    this.#map = map
    this.#output.put(0)
  }

  result(): Buffer {
    return this.#output.result()
  }

  /** Writes the blocks `runStart` to `runEnd` (exclusive), all of one backup. */
  putRun(runStart: number, runEnd: number): void {
    const { blocks } = this.#map
    const { progress, continues } = this.#putRunHead(runStart, runEnd)
    for (let start = runStart; start < runEnd;) {
      const { superBlock } = blocks[start]!
      const end = endOfStretch(blocks, start, (other) => isSame(other, superBlock))
      const isContinued = continues && start === runStart
      if (isContinued ? !isSame(superBlock, progress.superBlock!) : start > runStart && !follows(superBlock, progress))
        throw unordered()
      this.#putBlocks(progress, start, end, isContinued, end === runEnd)
      start = end
    }
  }

  #putRunHead(runStart: number, runEnd: number): Pick<Run, 'progress' | 'continues'> {
    const { blocks, blockSize } = this.#map
    const output = this.#output
    const first = blocks[runStart]!.superBlock
    const head = first.reference * FLAGS + (runEnd === blocks.length ? LAST : 0)
    const known = this.#backups.get(first.reference)
    if (known === undefined) {
      output.put(head + (first.bundleId > 0 ? RUN.bundle : 0) + (first.offset > 0 ? RUN.offset : 0))
      if (first.bundleId > 0) output.put(first.bundleId)
      if (first.offset > 0) output.put(first.offset)
      const progress = { superBlock: undefined, plainBytes: blockSize, position: 0 }
      this.#backups.set(first.reference, progress)
      return { progress, continues: false }
    }
    const last = known.superBlock!
    if (first.bundleId !== last.bundleId) throw unordered()
    if (first.offset === last.offset) {
      const isOnly = endOfStretch(blocks, runStart, (other) => isSame(other, first)) >= runEnd
      output.put(head + RUN.goesOn + (isOnly ? RUN.goesOnOnly : 0))
      return { progress: known, continues: true }
    }
    const gap = first.offset - last.offset - last.storedBytes
    output.put(head + (gap > 0 ? RUN.gap : 0))
    if (gap !== 0) output.put(gap)
    return { progress: known, continues: false }
  }

  /** Writes the blocks `start` to `end` (exclusive), all of one super block. */
  #putBlocks(progress: Progress, start: number, end: number, isContinued: boolean, isLast: boolean): void {
    const { blocks, blockSize, checksumSize, checksums } = this.#map
    const output = this.#output
    const { superBlock, index } = blocks[start]!
    const count = end - start
    const counted = isContinued || index !== 0 || count !== Math.ceil(superBlock.plainBytes / blockSize)
    if (!isContinued) this.#putSuperBlock(progress, superBlock, (isLast ? LAST : 0) + (counted ? SUPER.count : 0))
    this.#lastStoredBytes = superBlock.storedBytes
    if (counted) {
      const skip = index - progress.position
      output.put((count - 1) * 2 + (skip > 0 ? 1 : 0))
      if (skip !== 0) output.put(skip)
    }
    for (let i = start; i < end; i++) if (blocks[i]!.index !== index + i - start) throw unordered()
    progress.position = index + count
    output.putBytes(checksums.subarray(start * checksumSize, end * checksumSize))
  }

  #putSuperBlock(progress: Progress, superBlock: SuperBlock, flags: number): void {
    const { storedBytes, plainBytes } = superBlock
    const isResized = plainBytes !== progress.plainBytes
    const size = this.#lastStoredBytes === 0 ? storedBytes : zigzag(storedBytes - this.#lastStoredBytes)
    this.#output.put(size * FLAGS + flags + (isResized ? SUPER.plainSize : 0))
    if (isResized) putPlainSize(this.#output, plainBytes, this.#map.blockSize)
    progress.superBlock = superBlock
    progress.plainBytes = plainBytes
    progress.position = 0
  }
}

function endOfStretch(
  blocks: readonly BlockPlace[],
  start: number,
  belongs: (superBlock: SuperBlock) => boolean,
): number {
  let end = start + 1
  while (end < blocks.length && belongs(blocks[end]!.superBlock)) end++
  return end
}

function isSame(a: SuperBlock, b: SuperBlock): boolean {
  return (
    a === b ||
    (a.reference === b.reference &&
      a.offset === b.offset &&
      a.bundleId === b.bundleId &&
      a.storedBytes === b.storedBytes &&
      a.plainBytes === b.plainBytes)
  )
}

function follows({ offset, bundleId }: SuperBlock, { superBlock: last }: Progress): boolean {
  return offset === last!.offset + last!.storedBytes && bundleId === last!.bundleId
}

function putPlainSize(output: VarintWriter, plainBytes: number, blockSize: number): void {
  const remainder = plainBytes % blockSize
  output.put(((plainBytes - remainder) / blockSize) * 2 + (remainder > 0 ? 1 : 0))
  if (remainder > 0) output.put(remainder)
}

function unordered(): PgtsError {
  return new PgtsError('assert', 'the blocks of a backup are not in the order in which a block map can list them')
}
