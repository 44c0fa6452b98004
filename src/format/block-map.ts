import { PgtsError } from '../util/error.ts'
import { unzigzag, VarintReader, VarintWriter, zigzag } from './varint.ts'

/**
 * The map at the end of a block incremental file: where each block of the file is stored (docs/format/blocks.md).
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

export interface BlockMapShape {
  readonly blockSize: number
  readonly checksumSize: number
  /** How many blocks the file has. A map of another number is refused. */
  readonly blockCount: number
}

// A head is a number with three flags below it.
const FLAGS = 8
const LAST = 1
const RUN = { bundle: 2, offset: 4, goesOn: 2, gap: 4, goesOnOnly: 4 }
const SUPER = { plainSize: 2, count: 4 }

/** Where the blocks of one backup have got to, in reading and in writing alike. */
interface Progress {
  superBlock: SuperBlock | undefined
  /** Stays from super block to super block until another is given. */
  plainBytes: number
  /** The next block of the super block. */
  position: number
}

/**
 * @param bytes the decrypted map, and nothing else
 * @throws `format` when it is no map, or not one of `blockCount` blocks
 */
export function parseBlockMap(bytes: Uint8Array, shape: BlockMapShape): BlockMap {
  const { blockSize, checksumSize, blockCount } = shape
  const input = new VarintReader(bytes, 'block map')
  // What the bytes could hold at most; the count comes from elsewhere, so the two may not agree.
  if (blockCount * checksumSize > bytes.length) throw input.wrong(`it is too short for ${blockCount} blocks`)
  const blocks: BlockPlace[] = []
  const checksums = Buffer.allocUnsafe(blockCount * checksumSize)
  const backups = new Map<number, Progress>()
  let lastStoredBytes = 0

  if (input.next() % 2 !== 0) throw input.wrong('it is of an unknown version')
  for (let lastRun = false; !lastRun;) {
    const runHead = input.next()
    const [reference, runFlags] = [Math.floor(runHead / FLAGS), runHead % FLAGS]
    lastRun = (runFlags & LAST) !== 0
    let progress = backups.get(reference)
    let bundleId = 0
    let offset = 0
    let goesOn = false
    if (progress === undefined) {
      if ((runFlags & RUN.bundle) !== 0) bundleId = input.next()
      if ((runFlags & RUN.offset) !== 0) offset = input.next()
      progress = { superBlock: undefined, plainBytes: blockSize, position: 0 }
      backups.set(reference, progress)
    } else {
      const before = progress.superBlock!
      bundleId = before.bundleId
      offset = before.offset
      goesOn = (runFlags & RUN.goesOn) !== 0
      if (!goesOn) offset += before.storedBytes + ((runFlags & RUN.gap) !== 0 ? input.next() : 0)
    }

    for (let lastSuper = false; !lastSuper; goesOn = false) {
      let counted = goesOn
      if (goesOn) {
        lastSuper = (runFlags & RUN.goesOnOnly) !== 0
      } else {
        const head = input.next()
        lastSuper = (head & LAST) !== 0
        const size = Math.floor(head / FLAGS)
        const storedBytes = lastStoredBytes === 0 ? size : unzigzag(size) + lastStoredBytes
        if ((head & SUPER.plainSize) !== 0) progress.plainBytes = readPlainSize(input, blockSize)
        counted = (head & SUPER.count) !== 0
        if (storedBytes <= 0 || progress.plainBytes <= 0) throw input.wrong('a super block is empty')
        progress.superBlock = { reference, bundleId, offset, storedBytes, plainBytes: progress.plainBytes }
        progress.position = 0
      }
      const superBlock = progress.superBlock!
      lastStoredBytes = superBlock.storedBytes
      offset = superBlock.offset + superBlock.storedBytes
      if (!Number.isSafeInteger(offset)) throw input.wrong('a super block is out of range')

      const whole = Math.ceil(superBlock.plainBytes / blockSize)
      let count = whole
      if (counted) {
        const encoded = input.next()
        count = Math.floor(encoded / 2) + 1
        if (encoded % 2 !== 0) progress.position += input.next()
      }
      if (progress.position + count > whole) throw input.wrong('a super block lists more blocks than it holds')
      if (blocks.length + count > blockCount) throw input.wrong(`it lists more than ${blockCount} blocks`)
      checksums.set(input.take(count * checksumSize), blocks.length * checksumSize)
      for (let i = 0; i < count; i++) blocks.push({ superBlock, index: progress.position++ })
    }
  }
  if (!input.atEnd) throw input.wrong('bytes follow its end')
  if (blocks.length !== blockCount) throw input.wrong(`it lists ${blocks.length} blocks of ${blockCount}`)
  return { blockSize, checksumSize, blocks, checksums }
}

function readPlainSize(input: VarintReader, blockSize: number): number {
  const encoded = input.next()
  return Math.floor(encoded / 2) * blockSize + (encoded % 2 !== 0 ? input.next() : 0)
}

/**
 * The bytes of a map, as pgBackRest would write them. The map must have a block, and for each backup its super blocks
 * must be in order and adjacent unless blocks of other backups are between them: they are when they were written from
 * the beginning of the file to its end.
 */
export function serialiseBlockMap(map: BlockMap): Buffer {
  const { blockSize, checksumSize, blocks, checksums } = map
  const output = new VarintWriter()
  const backups = new Map<number, Progress>()
  let lastStoredBytes = 0

  output.put(0)
  for (let runStart = 0; runStart < blocks.length;) {
    const first = blocks[runStart]!.superBlock
    const { reference } = first
    const runEnd = endOfStretch(blocks, runStart, (other) => other.reference === reference)
    const lastRun = runEnd === blocks.length ? LAST : 0
    const head = reference * FLAGS + lastRun
    let progress = backups.get(reference)
    let goesOn = false
    if (progress === undefined) {
      output.put(head + (first.bundleId > 0 ? RUN.bundle : 0) + (first.offset > 0 ? RUN.offset : 0))
      if (first.bundleId > 0) output.put(first.bundleId)
      if (first.offset > 0) output.put(first.offset)
      progress = { superBlock: undefined, plainBytes: blockSize, position: 0 }
      backups.set(reference, progress)
    } else {
      const before = progress.superBlock!
      if (first.bundleId !== before.bundleId) throw unordered()
      goesOn = first.offset === before.offset
      if (goesOn) {
        const only = endOfStretch(blocks, runStart, (other) => isSame(other, first)) >= runEnd
        output.put(head + RUN.goesOn + (only ? RUN.goesOnOnly : 0))
      } else {
        const gap = first.offset - before.offset - before.storedBytes
        output.put(head + (gap > 0 ? RUN.gap : 0))
        if (gap !== 0) output.put(gap)
      }
    }

    for (let start = runStart; start < runEnd; goesOn = false) {
      const { superBlock, index } = blocks[start]!
      const end = endOfStretch(blocks, start, (other) => isSame(other, superBlock))
      const count = end - start
      const before = progress.superBlock
      const counted = goesOn || index !== 0 || count !== Math.ceil(superBlock.plainBytes / blockSize)
      if (goesOn) {
        if (!isSame(superBlock, before!)) throw unordered()
      } else {
        if (start > runStart && !follows(superBlock, before!)) throw unordered()
        const resized = superBlock.plainBytes !== progress.plainBytes
        const { storedBytes } = superBlock
        const size = lastStoredBytes === 0 ? storedBytes : zigzag(storedBytes - lastStoredBytes)
        const flags = (end === runEnd ? LAST : 0) + (resized ? SUPER.plainSize : 0) + (counted ? SUPER.count : 0)
        output.put(size * FLAGS + flags)
        if (resized) putPlainSize(output, superBlock.plainBytes, blockSize)
        progress.superBlock = superBlock
        progress.plainBytes = superBlock.plainBytes
        progress.position = 0
      }
      lastStoredBytes = superBlock.storedBytes
      if (counted) {
        const skip = index - progress.position
        output.put((count - 1) * 2 + (skip > 0 ? 1 : 0))
        if (skip !== 0) output.put(skip)
      }
      for (let i = start; i < end; i++) if (blocks[i]!.index !== index + i - start) throw unordered()
      progress.position = index + count
      output.putBytes(checksums.subarray(start * checksumSize, end * checksumSize))
      start = end
    }
    runStart = runEnd
  }
  return output.result()
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

function follows(superBlock: SuperBlock, before: SuperBlock): boolean {
  return superBlock.offset === before.offset + before.storedBytes && superBlock.bundleId === before.bundleId
}

function putPlainSize(output: VarintWriter, plainBytes: number, blockSize: number): void {
  const remainder = plainBytes % blockSize
  output.put(((plainBytes - remainder) / blockSize) * 2 + (remainder > 0 ? 1 : 0))
  if (remainder > 0) output.put(remainder)
}

function unordered(): PgtsError {
  return new PgtsError('assert', 'the blocks of a backup are not in the order in which a block map can list them')
}
