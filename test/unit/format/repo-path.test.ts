import { expect, test } from 'vitest'
import * as path from '../../../src/format/repo-path.ts'

const label = '20261122-062513F_20261123-062513D'

test('paths of info files and manifests', () => {
  expect(path.archiveInfoName('demo')).toBe('archive/demo/archive.info')
  expect(path.copyName(path.backupInfoName('demo'))).toBe('backup/demo/backup.info.copy')
  expect(path.manifestName('demo', label)).toBe(`backup/demo/${label}/backup.manifest`)
  expect(path.manifestHistoryName('demo', label)).toBe(`backup/demo/backup.history/2026/${label}.manifest.gz`)
  expect(path.labelOfHistoryManifest(`${label}.manifest.gz`)).toBe(label)
  expect(path.labelOfHistoryManifest(`${label}.manifest`)).toBeUndefined()
  expect(path.latestLinkName('demo')).toBe('backup/demo/latest')
})

test.each([
  [{ name: 'pg_data/base/5/1259' }, `${label}/pg_data/base/5/1259.zst`],
  [{ name: 'pg_data/base/5/1259', reference: '20261122-062513F' }, '20261122-062513F/pg_data/base/5/1259.zst'],
  [{ name: 'pg_data/base/5/1259', blockMapSize: 99 }, `${label}/pg_data/base/5/1259.pgbi`],
  [
    { name: 'pg_data/PG_VERSION', bundleId: 2, blockMapSize: 99, reference: '20261122-062513F' },
    '20261122-062513F/bundle/2',
  ],
])('%o is stored in %s', (file, expected) => {
  expect(path.fileRepoName('demo', file, label, 'zst')).toBe(`backup/demo/${expected}`)
})

test('a stored file has no extension without compression', () => {
  expect(path.fileRepoName('demo', { name: 'pg_data/x' }, label, 'none')).toBe(`backup/demo/${label}/pg_data/x`)
})

test.each([
  [`000000010000000000000012-${'a'.repeat(40)}.gz`, `0000000100000000/000000010000000000000012-${'a'.repeat(40)}.gz`],
  ['000000010000000000000012.00000028.backup', '0000000100000000/000000010000000000000012.00000028.backup'],
  ['00000002.history', '00000002.history'],
])('%s in the archive', (name, expected) => {
  expect(path.archiveFileName('demo', '15-1', name)).toBe(`archive/demo/15-1/${expected}`)
})

test('archive ids, WAL directories and history years are recognised by their names', () => {
  expect(['15-1', '9.6-12', '15', 'x15-1', '15-1x'].map(path.isArchiveId)).toEqual([true, true, false, false, false])
  expect(['0000000100000000', '000000010000000', 'archive.info'].map(path.isWalDirectory)).toEqual([true, false, false])
  expect(['2026', '1999', '20261'].map(path.isHistoryYear)).toEqual([true, false, false])
})
