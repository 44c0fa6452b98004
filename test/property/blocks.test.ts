import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { digest } from '../../src/codec/digest.ts'
import { pump } from '../../src/codec/pump.ts'
import { loadCodec } from '../../src/codec/registry.ts'
import { fetchBlocks } from '../../src/core/block/fetch.ts'
import { planReads } from '../../src/core/block/plan-reads.ts'
import { loadBlockMap, type StoredBlocks } from '../../src/core/block/read.ts'
import { blockWriter } from '../../src/core/block/block-writer.ts'
import { parseBlockMap, serialiseBlockMap, type BlockMap, type BlockPlace } from '../../src/format/block-map.ts'
import type { SuperBlock } from '../../src/format/block-map.ts'
import { memoryStorage } from '../../src/storage/memory.ts'
import { putFile } from '../../src/storage/whole-file.ts'
import { sourceOf } from '../../src/util/bytes.ts'
import { COMPRESS_TYPES, type CompressType } from '../../src/util/compress-type.ts'
import { isPgtsError } from '../../src/util/error.ts'

const { signal } = new AbortController()
const BLOCK = 8192

/** One decision for each block of a file: how its backup continues. */
interface Step {
  readonly reference: number
  /** Begin another super block although this one has more. */
  readonly fresh: boolean
  readonly skip: number
  readonly gap: number
  readonly storedBytes: number
  readonly plainBytes: number
}

const steps = fc.array(
  fc.record<Step>({
    reference: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(1), fc.constant(70_000)),
    fresh: fc.boolean(),
    skip: fc.integer({ min: 0, max: 3 }),
    gap: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** 44 })),
    storedBytes: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 2 ** 40 })),
    plainBytes: fc.oneof(
      fc.integer({ min: 1, max: 9 }).map((n) => n * BLOCK),
      fc.integer({ min: 1, max: 80_000 }),
    ),
  }),
  { minLength: 1, maxLength: 60 },
)

/** A map that the decisions describe and that the format can express. */
function mapOf(decisions: readonly Step[], checksumSize: number): BlockMap {
  const blocks: BlockPlace[] = []
  const progress = new Map<number, { superBlock: SuperBlock; next: number }>()
  for (const step of decisions) {
    const { reference, storedBytes, plainBytes } = step
    const own = progress.get(reference)
    const inRun = blocks.at(-1)?.superBlock.reference === reference
    const index = own === undefined ? 0 : own.next + (inRun ? 0 : step.skip)
    if (own !== undefined && !step.fresh && index * BLOCK < own.superBlock.plainBytes) {
      blocks.push({ superBlock: own.superBlock, index })
      own.next = index + 1
      continue
    }
    const gap = inRun ? 0 : step.gap
    const bundleId = own?.superBlock.bundleId ?? gap % 5
    const offset = own === undefined ? gap : own.superBlock.offset + own.superBlock.storedBytes + gap
    const superBlock = { reference, bundleId, offset, storedBytes, plainBytes }
    // The first block of a super block may have been replaced by a later backup already.
    const first = step.skip * BLOCK < plainBytes ? step.skip : 0
    blocks.push({ superBlock, index: first })
    progress.set(reference, { superBlock, next: first + 1 })
  }
  const checksums = createHash('shake256', { outputLength: blocks.length * checksumSize })
  return { blockSize: BLOCK, checksumSize, blocks, checksums: checksums.update(String(blocks.length)).digest() }
}

describe('a block map', () => {
  test('a parsed block map serialises to the same bytes', () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 6, max: 16 }), (decisions, checksumSize) => {
        const map = mapOf(decisions, checksumSize)
        const bytes = serialiseBlockMap(map)
        const shape = { blockSize: BLOCK, checksumSize, blockCount: map.blocks.length }
        const again = parseBlockMap(bytes, shape)
        expect(again).toEqual(map)
        expect(serialiseBlockMap(again).equals(bytes)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('parsing a damaged block map returns another map or a format error', () => {
    fc.assert(
      fc.property(steps, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (decisions, where, bits, cut) => {
        const map = mapOf(decisions, 6)
        const shape = { blockSize: BLOCK, checksumSize: 6, blockCount: map.blocks.length }
        let bytes = Buffer.from(serialiseBlockMap(map))
        const at = where % bytes.length
        if (cut) bytes = bytes.subarray(0, at)
        else bytes[at]! ^= bits
        try {
          const { blocks } = parseBlockMap(bytes, shape)
          expect(blocks.length).toBe(shape.blockCount)
          for (const { superBlock, index } of blocks) expect(index * BLOCK).toBeLessThan(superBlock.plainBytes)
        } catch (error) {
          if (!isPgtsError(error, 'format')) throw error
        }
      }),
      { numRuns: 3000 },
    )
  })
})

/** How a file changes between two backups. */
const edits = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('write' as const),
      at: fc.nat({ max: 400_000 }),
      length: fc.integer({ min: 1, max: 30_000 }),
    }),
    fc.record({ kind: fc.constant('resize' as const), length: fc.integer({ min: 1, max: 400_000 }) }),
  ),
  { maxLength: 4 },
)

const versions = fc.record({
  start: fc.integer({ min: 1, max: 300_000 }),
  edits: fc.array(edits, { minLength: 1, maxLength: 5 }),
  type: fc.constantFrom(...COMPRESS_TYPES),
  cipherPass: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  blockSize: fc.constantFrom(8192, 16384, 24576),
  superBlockSize: fc.constantFrom(8192, 32768, 100_000, 1_048_576),
  checksumSize: fc.integer({ min: 6, max: 16 }),
  chunkBytes: fc.integer({ min: 1000, max: 200_000 }),
  bundled: fc.boolean(),
})

let seed = 0
function filled(length: number): Buffer {
  const line = createHash('sha1').update(String(seed++)).digest()
  return Buffer.alloc(length, line)
}

function edited(
  content: Buffer,
  changes: readonly ({ kind: 'write'; at: number; length: number } | { kind: 'resize'; length: number })[],
): Buffer {
  let now = Buffer.from(content)
  for (const change of changes) {
    if (change.kind === 'write') filled(change.length).copy(now, change.at % now.length)
    else now = Buffer.concat([now.subarray(0, change.length), filled(Math.max(0, change.length - now.length))])
  }
  return now
}

interface Stored {
  readonly content: Buffer
  readonly where: StoredBlocks
}

describe('block incremental files', () => {
  beforeAll(async () => {
    for (const type of COMPRESS_TYPES) await loadCodec(type)
  })

  test('are restored from every backup of a chain, into an empty directory and over other content', async () => {
    await fc.assert(
      fc.asyncProperty(versions, async (choice) => {
        const storage = memoryStorage()
        const chain: Stored[] = []
        let content = filled(choice.start)
        for (const [reference, changes] of [[], ...choice.edits].entries()) {
          content = edited(content, changes)
          const before = chain.at(-1)
          const usable = before !== undefined && content.length >= choice.blockSize
          const prior = usable ? await loadBlockMap(storage, before.where) : undefined
          const offset = choice.bundled ? 1000 + reference : 0
          const writer = blockWriter({
            ...choice,
            prior,
            reference,
            bundleId: choice.bundled ? 7 : 0,
            offset,
            compression: { type: choice.type, level: choice.type === 'zst' ? 3 : 1 },
            ...(choice.cipherPass === undefined ? {} : { cipherPass: choice.cipherPass }),
          } as Parameters<typeof blockWriter>[0])
          const parts: Buffer[] = [Buffer.alloc(offset)]
          const stored = digest('sha1')
          const chunks: Buffer[] = []
          for (let at = 0; at < content.length; at += choice.chunkBytes) {
            chunks.push(content.subarray(at, at + choice.chunkBytes))
          }
          const sink = { write: (chunk: Uint8Array) => void parts.push(Buffer.from(chunk)) }
          await pump(sourceOf(...chunks), [writer, stored], sink, signal)
          const { unchanged, repoSizeBytes, mapSizeBytes } = writer.result()
          expect(repoSizeBytes).toBe(stored.bytes)
          if (unchanged) {
            expect(repoSizeBytes).toBe(0)
            expect(content.equals(before!.content)).toBe(true)
            chain.push(before!)
            continue
          }
          expect(before?.content.equals(content) === true && usable).toBe(false)
          const repoName = `backup/${reference}`
          await putFile(storage, repoName, Buffer.concat([...parts, Buffer.from('behind')]))
          const { blockSize, checksumSize, cipherPass } = choice
          chain.push({
            content,
            where: {
              repoName,
              offset,
              repoSizeBytes,
              mapSizeBytes,
              sizeBytes: content.length,
              blockSize,
              checksumSize,
              referenceCount: reference + 1,
              cipherPass,
            },
          })
        }

        for (const { content: wanted, where } of chain) {
          const map = await loadBlockMap(storage, where)
          for (const { content: there } of [{ content: Buffer.alloc(0) }, ...chain]) {
            const target = Buffer.alloc(wanted.length)
            there.copy(target)
            const same = (block: number) =>
              (block + 1) * map.blockSize <= there.length &&
              there
                .subarray(block * map.blockSize, (block + 1) * map.blockSize)
                .equals(wanted.subarray(block * map.blockSize, (block + 1) * map.blockSize))
            let written = 0
            for (const range of planReads(map, (block) => !same(block))) {
              await fetchBlocks(storage, range, {
                repoName: `backup/${range.reference}`,
                compressType: choice.type,
                cipherPass: choice.cipherPass,
                write: (bytes, position) => {
                  target.set(bytes, position)
                  written += bytes.length
                },
                signal,
              })
            }
            expect(target.equals(wanted)).toBe(true)
            const needed = map.blocks.filter((_, block) => !same(block)).length
            expect(Math.ceil(written / map.blockSize)).toBe(needed)
          }
        }
      }),
      { numRuns: 60 },
    )
  }, 60_000)

  test.each<CompressType>(['none', 'zst'])('are not stored when nothing changed, with %s', async (type) => {
    const content = filled(100_000)
    const options = { blockSize: BLOCK, checksumSize: 6, superBlockSize: 65_536, reference: 0, bundleId: 0, offset: 0 }
    const codec = { type, level: 1 }
    const first: Buffer[] = []
    const writer = blockWriter({ ...options, compression: codec })
    await pump(sourceOf(content), [writer], { write: (chunk) => void first.push(Buffer.from(chunk)) })
    const map = Buffer.concat(first).subarray(-writer.result().mapSizeBytes)
    const prior = parseBlockMap(map, { blockSize: BLOCK, checksumSize: 6, blockCount: 13 })
    const again = blockWriter({ ...options, compression: codec, prior, reference: 1 })
    await pump(sourceOf(content), [again], { write: () => expect.unreachable() })
    expect(again.result()).toEqual({ unchanged: true, repoSizeBytes: 0, mapSizeBytes: 0 })
  })
})
