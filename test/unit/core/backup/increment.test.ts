import { describe, expect, test } from 'vitest'
import { planIncrement, type IncrementOptions } from '../../../../src/core/backup/increment.ts'
import type { Manifest, ManifestFile } from '../../../../src/format/manifest.ts'
import type { ListedFile } from '../../../../src/postgres/data-directory.ts'
import { aFile, aManifest, LABEL, OWNER } from '../../../support/builders/manifest.ts'

const NAME = 'pg_data/base/5/16384'
const TIME = 1_767_323_000
const FULL = '20260101-000000F'

function listed(more: Partial<ListedFile> = {}): ListedFile {
  const name = more.name ?? NAME
  return {
    name,
    ...OWNER,
    mode: 0o600,
    sizeBytes: 32768,
    timestamp: TIME,
    pageChecksumApplies: true,
    sizeLimited: true,
    ...more,
  }
}

function stored(more: Partial<ManifestFile> = {}): ManifestFile {
  return aFile(more.name ?? NAME, 'x', { sizeBytes: 32768, repoSizeBytes: 100, timestamp: TIME, ...more })
}

const BLOCKS = { blockSize: 8192, blockChecksumSize: 6, blockMapSize: 40 }
const ONLINE: IncrementOptions = {
  pgPath: '/pgdata',
  delta: false,
  online: true,
  bundle: false,
  archiveStart: '000000010000000000000009',
  timestampListed: TIME + 1000,
}

function planOne(file: ListedFile, known: ManifestFile | undefined, options: Partial<IncrementOptions> = {}) {
  const prior = aManifest(known === undefined ? [] : [known])
  const { files, delta } = planIncrement([file], prior, { ...ONLINE, ...options })
  const { action, priorEntry, priorBlocks } = files.at(0)!
  return { action, priorEntry, priorBlocks, delta }
}

describe('the action for a file', () => {
  test.each<[string, Partial<ListedFile>, Partial<ManifestFile> | undefined, Partial<IncrementOptions>, string]>([
    ['a file that the prior does not have', {}, undefined, {}, 'copy'],
    ['the same size and time', {}, {}, {}, 'reference'],
    ['a later time', { timestamp: TIME + 1 }, {}, {}, 'copy'],
    ['another size', { sizeBytes: 40960, timestamp: TIME + 1 }, {}, {}, 'copy'],
    ['the same size and time, by checksum', {}, {}, { delta: true }, 'compare'],
    ['a later time, by checksum', { timestamp: TIME + 1 }, {}, { delta: true }, 'compare'],
    ['another size, by checksum', { sizeBytes: 40960, timestamp: TIME + 1 }, {}, { delta: true }, 'copy'],
    ['empty in both', { sizeBytes: 0, timestamp: TIME + 1 }, { sizeBytes: 0 }, {}, 'reference'],
    [
      'empty in both, by checksum',
      { sizeBytes: 0, timestamp: TIME + 1 },
      { sizeBytes: 0 },
      { delta: true },
      'reference',
    ],
    ['empty now', { sizeBytes: 0, timestamp: TIME + 1 }, {}, {}, 'copy'],
    ['empty now, and empty files are not stored', { sizeBytes: 0, timestamp: TIME + 1 }, {}, { bundle: true }, 'empty'],
    ['empty before', { timestamp: TIME + 1 }, { sizeBytes: 0 }, { bundle: true }, 'copy'],
    ['pg_control of a running cluster', { name: 'pg_data/global/pg_control' }, {}, {}, 'copy'],
  ])('%s', (_, file, known, options, action) => {
    const name = file.name ?? NAME
    expect(planOne(listed(file), known && stored({ name, ...known }), options).action).toBe(action)
  })

  test.each([
    ['written before it began', TIME + 1, {}, 'reference'],
    ['written after it began: the standby may lack the change', TIME, {}, 'compare'],
    ['of the primary, written after it began', TIME, { sizeLimited: false }, 'reference'],
    ['with a later time now', TIME, { timestamp: TIME + 1 }, 'copy'],
  ] as const)('after a backup from a standby, a file %s', (_, timestampStart, file, action) => {
    const options = { ...aManifest([]).options, backupStandby: true }
    const prior = aManifest([stored()], { options, timestampStart })
    expect(planIncrement([listed(file)], prior, ONLINE).files.at(0)!.action).toBe(action)
  })

  test('pg_control of a stopped cluster is referenced like any other file', () => {
    const name = 'pg_data/global/pg_control'
    const prior = aManifest([stored({ name })], { options: { ...aManifest([]).options, online: false } })
    const { files } = planIncrement([listed({ name })], prior, { ...ONLINE, online: false })
    expect(files.at(0)!.action).toBe('reference')
  })

  test('a full backup copies every file, except empty ones when small files are bundled', () => {
    const files = [listed(), listed({ name: 'pg_data/base/5/1', sizeBytes: 0 })]
    const actions = (bundle: boolean) =>
      [...planIncrement(files, undefined, { ...ONLINE, bundle }).files].map((f) => f.action)
    expect(actions(false)).toEqual(['copy', 'copy'])
    expect(actions(true)).toEqual(['copy', 'empty'])
  })
})

describe('a reference', () => {
  const known = stored({
    checksum: 'ab'.repeat(20),
    repoChecksum: 'cd'.repeat(20),
    bundleId: 3,
    bundleOffset: 77,
    checksumPage: false,
    checksumPageErrors: [4],
    sizeOriginalBytes: 24576,
    mode: 0o640,
    user: 'other',
  })

  test('has storage and page check results of the prior, and owner, mode and time of the cluster', () => {
    const { priorEntry } = planOne(listed({ timestamp: TIME + 5 }), known)
    const { sizeOriginalBytes: _, ...rest } = known
    expect(priorEntry).toEqual({ ...rest, ...OWNER, mode: 0o600, timestamp: TIME + 5, reference: LABEL })
  })

  test('names the backup that stores the bytes, not the one between', () => {
    expect(planOne(listed(), { ...known, reference: FULL }).priorEntry?.reference).toBe(FULL)
  })

  test.each([
    ['the same size', 32768, {}, true],
    ['grown', 65536, {}, true],
    ['shrunk to a block', 8192, {}, true],
    ['shrunk below a block', 8191, {}, false],
    ['no blocks before', 32768, { blockMapSize: undefined }, false],
  ])('a block map of the prior is continued or not: %s', (_, sizeBytes, more, continued) => {
    const { blockMapSize, ...shape } = { ...BLOCKS, ...more }
    const before = stored({ ...shape, blockMapSize })
    const { priorBlocks, priorEntry } = planOne(listed({ sizeBytes, timestamp: TIME + 1 }), before)
    expect(priorBlocks).toEqual(continued ? { ...before, reference: LABEL } : undefined)
    expect(priorEntry === undefined).toBe(sizeBytes !== 32768)
  })
})

describe('delta is enabled by doubtful file times', () => {
  const unlike = (more: Partial<Manifest>) => aManifest([stored()], more)
  const offline = { ...aManifest([]).options, online: false }
  test.each<[string, ListedFile, Manifest | undefined, RegExp | undefined]>([
    ['not for usual times', listed(), unlike({}), undefined],
    ['a file of the future', listed({ timestamp: TIME + 1001 }), unlike({}), /in the future/],
    ['a file of the future in a full', listed({ timestamp: TIME + 1001 }), undefined, /in the future/],
    ['a file of this very second', listed({ timestamp: TIME + 1000 }), unlike({}), undefined],
    ['another timeline', listed(), unlike({ archiveStop: '000000020000000000000009' }), /timeline/],
    ['a prior that was made offline', listed(), unlike({ options: offline }), /offline/],
    ['a file older than before', listed({ timestamp: TIME - 1 }), unlike({}), /is older/],
    [
      'a file of the same time with another size',
      listed({ sizeBytes: 8192 }),
      unlike({}),
      /8192 bytes instead of 32768/,
    ],
  ])('%s', (_, file, prior, reason) => {
    const { delta, deltaReason } = planIncrement([file], prior, ONLINE)
    expect(delta).toBe(reason !== undefined)
    if (reason === undefined) expect(deltaReason).toBeUndefined()
    else expect(deltaReason).toMatch(reason)
  })

  test('a file that grew during the prior backup is compared with its size in the list of that backup', () => {
    const prior = aManifest([stored({ sizeBytes: 40960, sizeOriginalBytes: 32768 })])
    expect(planIncrement([listed()], prior, ONLINE).delta).toBe(false)
    expect(planIncrement([listed({ sizeBytes: 40960 })], prior, ONLINE).deltaReason).toMatch(/instead of 32768/)
  })

  test('one doubtful file enables delta for all files, and the option delta needs no reason', () => {
    const other = 'pg_data/base/5/16385'
    const prior = aManifest([stored(), stored({ name: other })])
    const files = [listed(), listed({ name: other, timestamp: TIME - 1 })]
    expect([...planIncrement(files, prior, ONLINE).files].map(({ action }) => action)).toEqual(['compare', 'compare'])
    expect(planIncrement(files, prior, { ...ONLINE, delta: true }).deltaReason).toBeUndefined()
  })
})
