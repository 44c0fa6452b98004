import { describe, expect, test } from 'vitest'
import { BLOCK_DEFAULTS, blockShapeOf } from '../../../../src/core/backup/block-policy.ts'
import type { PlannedFile } from '../../../../src/core/backup/increment.ts'
import { planCopyJobs, type CopyPolicy } from '../../../../src/core/backup/plan.ts'
import { SpareThreads } from '../../../../src/core/backup/spare-threads.ts'
import { aFile, OWNER } from '../../../support/builders/manifest.ts'

const LABEL = '20260101-000000F_20260102-000000I'
const START = 1_767_323_000
const backup = {
  repoKey: 1,
  stanza: 'main',
  label: LABEL,
  pgPath: '/pgdata',
  references: ['20260101-000000F', LABEL],
  timestampStart: START,
}
const policy: CopyPolicy = {
  compression: { type: 'zst', level: 3 },
  cipherPass: undefined,
  pages: undefined,
  bundleRaw: false,
}
const KIB = 1024
const MIB = 1024 * 1024

function planned(
  name: string,
  sizeBytes: number,
  more: Partial<PlannedFile> = {},
  timestamp = START - 60,
): PlannedFile {
  const file = { name, ...OWNER, mode: 0o600, sizeBytes, timestamp }
  return { index: 0, file: { ...file, pageChecksumApplies: true, sizeLimited: true }, action: 'copy', ...more }
}

const all = () => ({ includes: () => true, bundles: { last: 0 }, threads: new SpareThreads(1, 0) })
const jobs = (files: readonly PlannedFile[], more: Partial<CopyPolicy> = {}) => [
  ...planCopyJobs(files, backup, { ...policy, ...more }, all()),
]
const names = (files: readonly PlannedFile[], more: Partial<CopyPolicy> = {}) =>
  jobs(files, more).map((job) => [job.bundle?.id, ...job.files.map(({ name }) => name)])

test('parts of a backup share no file and no number of a bundle', () => {
  const files = ['a', 'b', 'c', 'd'].map((name) => planned(`pg_data/${name}`, 10))
  const bundled = { ...policy, bundle: { sizeBytes: 20 * MIB, limitBytes: 2 * MIB } }
  const bundles = { last: 0 }
  const part = (wanted: string) =>
    [
      ...planCopyJobs(files, backup, bundled, {
        bundles,
        includes: ({ name }) => wanted.includes(name.slice(-1)),
        threads: new SpareThreads(2, 0),
      }),
    ].map((job) => [job.bundle?.id, ...job.files.map(({ name }) => name)])
  expect(part('ac')).toEqual([[1, 'pg_data/a', 'pg_data/c']])
  expect(part('bd')).toEqual([[2, 'pg_data/b', 'pg_data/d']])
})

describe('copy jobs without bundles', () => {
  test('have the largest files first, small ones together, and only files to read', () => {
    const files = [
      planned('pg_data/a', 10),
      planned('pg_data/b', 3 * MIB),
      planned('pg_data/c', 20),
      planned('pg_data/d', 5 * MIB, { action: 'compare', priorEntry: aFile('pg_data/d') }),
      planned('pg_data/e', 30, { action: 'reference' }),
      planned('pg_data/f', 0, { action: 'empty' }),
    ]
    expect(names(files)).toEqual([
      [undefined, 'pg_data/d'],
      [undefined, 'pg_data/b'],
      [undefined, 'pg_data/c', 'pg_data/a'],
    ])
    expect(jobs(files)[0]!.files[0]).toMatchObject({
      repoName: `backup/main/${LABEL}/pg_data/d.zst`,
      priorContent: { first: true },
    })
  })
})

describe('threads of a job that compress one file', () => {
  const threadsOf = (workers: number, sizes: readonly number[], more: Partial<CopyPolicy> = {}) => {
    const total = sizes.reduce((sum, mib) => sum + mib * MIB, 0)
    return [
      ...planCopyJobs(
        sizes.map((mib, i) => ({ ...planned(`pg_data/${i}`, mib * MIB), index: i })),
        backup,
        { ...policy, ...more },
        { includes: () => true, bundles: { last: 0 }, threads: new SpareThreads(workers, total) },
      ),
    ].map(({ compressThreads }) => compressThreads ?? 1)
  }

  test.each([
    { what: 'one large file', workers: 2, sizes: [1024, 50, 40], threads: [2, 1, 1] },
    { what: 'one worker', workers: 1, sizes: [1024], threads: [1] },
    { what: 'a file for each worker', workers: 2, sizes: [1024, 1024], threads: [1, 1] },
    { what: 'another file in progress', workers: 2, sizes: [1024, 900], threads: [1, 1] },
    { what: 'the last of three', workers: 2, sizes: [1024, 1024, 1024], threads: [1, 1, 2] },
    { what: 'few files for many workers', workers: 8, sizes: [1024, 1024, 1024], threads: [3, 3, 3] },
    { what: 'many files', workers: 4, sizes: Array<number>(20).fill(100), threads: Array<number>(20).fill(1) },
    { what: 'small files', workers: 4, sizes: [31, 20], threads: [1, 1] },
  ])('$what', ({ workers, sizes, threads }) => expect(threadsOf(workers, sizes)).toEqual(threads))

  test('are one for a file in blocks, whose super blocks are compressed one by one', () => {
    const blocks = { ...BLOCK_DEFAULTS, superBytes: MIB }
    expect(threadsOf(2, [1024, 50], { blocks })).toEqual([1, 1])
  })
})

describe('copy jobs with bundles', () => {
  const bundle = { sizeBytes: 100, limitBytes: 60 }

  test('have files above the limit alone, the others by age until a bundle is full, separately for each target', () => {
    const files = [
      planned('pg_data/new', 50, {}, START - 1),
      planned('pg_data/old', 60, {}, START - 9),
      planned('pg_data/older', 50, {}, START - 99),
      planned('pg_data/large', 61),
      planned('pg_tblspc/7/PG_15_1/5/1', 10),
      planned('pg_tblspc/8/PG_15_1/5/1', 10),
    ]
    expect(names(files, { bundle })).toEqual([
      [undefined, 'pg_data/large'],
      [1, 'pg_data/older', 'pg_data/old'],
      [2, 'pg_data/new'],
      [3, 'pg_tblspc/7/PG_15_1/5/1'],
      [4, 'pg_tblspc/8/PG_15_1/5/1'],
    ])
    const bundled = jobs(files, { bundle, bundleRaw: true })
    expect(bundled[1]!.bundle).toEqual({ id: 1, repoName: `backup/main/${LABEL}/bundle/1`, raw: true })
    expect(bundled[0]!.bundle).toBeUndefined()
  })

  test('keep a file alone that an interrupted backup stored alone', () => {
    const resumed = aFile('pg_data/a', 'x', { repoSizeBytes: 9, repoChecksum: 'cd'.repeat(20) })
    const [job] = jobs([planned('pg_data/a', 1, { resumed })], { bundle })
    expect(job!.bundle).toBeUndefined()
    expect(job!.files[0]!.resumed).toEqual({
      checksum: resumed.checksum,
      repoSizeBytes: 9,
      repoChecksum: 'cd'.repeat(20),
    })
  })
})

describe('block sizes', () => {
  const blocks = { ...BLOCK_DEFAULTS, superBytes: 256 * KIB }
  const DAY = 86_400

  test.each([
    [8 * KIB, 0, undefined],
    [16 * KIB - 1, 0, undefined],
    [16 * KIB, 0, { blockSize: 8 * KIB, checksumSize: 6 }],
    [11 * MIB, 0, { blockSize: 16 * KIB, checksumSize: 6 }],
    [96 * MIB, 0, { blockSize: 32 * KIB, checksumSize: 7 }],
    [1024 * MIB, 0, { blockSize: 88 * KIB, checksumSize: 7 }],
    [1024 * MIB, 7 * DAY, { blockSize: 176 * KIB, checksumSize: 8 }],
    [1024 * MIB, 14 * DAY, { blockSize: 352 * KIB, checksumSize: 8 }],
    [1024 * MIB, 28 * DAY - 1, { blockSize: 352 * KIB, checksumSize: 8 }],
    [1024 * MIB, 28 * DAY, undefined],
    // One block would be all of the file.
    [32 * KIB, 14 * DAY, undefined],
    [1024 * MIB, -DAY, { blockSize: 88 * KIB, checksumSize: 7 }],
  ])('of a file with %i bytes that is %i seconds old', (size, age, shape) => {
    expect(blockShapeOf(blocks, size, age)).toEqual(shape)
  })

  test('are those of a continued map, bundled or not', () => {
    const priorBlocks = aFile('pg_data/base/5/1', 'x', {
      sizeBytes: 2 * MIB,
      repoSizeBytes: 5000,
      reference: '20260101-000000F',
      bundleId: 4,
      bundleOffset: 100,
      blockSize: 24 * KIB,
      blockChecksumSize: 9,
      blockMapSize: 321,
    })
    const [job] = jobs([planned('pg_data/base/5/1', 3 * MIB, { priorBlocks })], { blocks })
    expect(job!.superBlocks).toEqual({ sizeBytes: 256 * KIB, reference: 1 })
    expect(job!.files[0]).toMatchObject({
      repoName: `backup/main/${LABEL}/pg_data/base/5/1.pgbi`,
      blocks: {
        blockSize: 24 * KIB,
        checksumSize: 9,
        prior: {
          repoName: 'backup/main/20260101-000000F/bundle/4',
          offset: 100,
          repoSizeBytes: 5000,
          mapSizeBytes: 321,
          sizeBytes: 2 * MIB,
          referenceCount: 1,
        },
      },
    })
  })

  test('are absent without repo-block, even if the prior stored blocks', () => {
    const priorBlocks = aFile('pg_data/x', 'x', { reference: LABEL, blockSize: 8192, blockMapSize: 9 })
    const [job] = jobs([planned('pg_data/x', 3 * MIB, { priorBlocks })])
    expect(job!.files[0]!.blocks).toBeUndefined()
    expect(job!.files[0]!.repoName).toMatch(/pg_data\/x\.zst$/)
  })
})
