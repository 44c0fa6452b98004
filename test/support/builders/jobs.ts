import fc from 'fast-check'
import type { CopiedFile, CopyFileJob, CopyFilesJob, StoredContent } from '../../../src/core/backup/copy-job.ts'
import { asBytes } from '../../../src/util/byte-string.ts'

// Any job and result that the types allow, for tests of their form on the wire.

const count = fc.maxSafeNat()
const byteString = fc.uint8Array({ minLength: 1, maxLength: 60 }).map((b) => asBytes(Buffer.from(b).toString('latin1')))
const hex = fc.stringMatching(/^[0-9a-f]{40}$/)
const shape = { blockSize: count, checksumSize: count }
/** Required members, and others that may be absent. */
const withMaybe = <A, B>(
  required: { [K in keyof A]: fc.Arbitrary<A[K]> },
  maybe: { [K in keyof B]: fc.Arbitrary<B[K]> },
) =>
  fc.record({ ...required, ...maybe } as never, { requiredKeys: Object.keys(required) as never }) as fc.Arbitrary<
    A & Partial<B>
  >

const prior = withMaybe(
  {
    ...shape,
    repoName: byteString,
    offset: count,
    repoSizeBytes: count,
    mapSizeBytes: count,
    sizeBytes: count,
    referenceCount: count,
  },
  { cipherPass: byteString },
)

const copyFileJob: fc.Arbitrary<CopyFileJob> = withMaybe(
  {
    index: count,
    name: byteString,
    pgName: byteString,
    sizeBytes: count,
    sizeLimited: fc.boolean(),
    control: fc.boolean(),
  },
  {
    repoName: byteString,
    firstBlock: count,
    blocks: withMaybe(shape, { prior }),
    priorContent: fc.record({ checksum: hex, first: fc.boolean() }),
    resumed: fc.record({ checksum: hex, repoSizeBytes: count, repoChecksum: hex }),
  },
)

export const copyFilesJobs: fc.Arbitrary<CopyFilesJob> = withMaybe(
  {
    repoKey: count,
    files: fc.array(copyFileJob, { maxLength: 5 }),
    compression: fc.record({ type: fc.constantFrom('none', 'gz', 'lz4', 'zst', 'bz2'), level: fc.integer() }),
    pages: fc.record({ size: count, headerCheck: fc.boolean() }),
  },
  {
    bundle: fc.record({ id: count, repoName: byteString, raw: fc.boolean() }),
    cipherPass: byteString,
    superBlocks: fc.record({ sizeBytes: count, reference: count }),
    compressThreads: fc.integer({ min: 1, max: 1024 }),
  },
)

/** Single blocks and ranges; a range has at least two blocks. */
const pageErrors = fc.array(
  fc.oneof(
    count,
    fc.tuple(count, count).filter(([first, last]) => first !== last),
  ),
  { maxLength: 5 },
)

const storedContent: fc.Arbitrary<StoredContent> = withMaybe(
  { sizeBytes: count, checksum: hex, repoSizeBytes: count },
  {
    repoChecksum: hex,
    bundle: fc.record({ id: count, offset: count }),
    blocks: fc.record({ ...shape, mapSizeBytes: count }),
    pages: withMaybe({ valid: fc.boolean() }, { errors: pageErrors }),
    warning: fc.string({ unit: 'grapheme' }),
  },
)

export const copiedFileLists: fc.Arbitrary<CopiedFile[]> = fc.array(
  fc.oneof(
    fc.record({ outcome: fc.constantFrom('vanished', 'unchanged', 'emptied', 'resumed') }),
    storedContent.map((content) => ({ outcome: 'copied' as const, ...content })),
  ),
  { maxLength: 5 },
)
