import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseArchiveInfo, serialiseArchiveInfo } from '../../../src/format/archive-info.ts'
import { parseBackupInfo, serialiseBackupInfo } from '../../../src/format/backup-info.ts'
import { backupEntryOf } from '../../../src/format/manifest-totals.ts'
import { checkManifest, manifestDefaults } from '../../../src/format/manifest-check.ts'
import { parseManifest } from '../../../src/format/manifest-parse.ts'
import { serialiseManifest } from '../../../src/format/manifest-serialise.ts'
import { type Manifest } from '../../../src/format/manifest.ts'

/** Files that the real pgbackrest wrote: test/vectors/README.md says which and how. */
const root = join(import.meta.dirname, '../../vectors/pgbackrest')
const vectors = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()
const manifests = vectors.filter((name) => name.endsWith('.manifest'))
const load = (name: string) => readFileSync(join(root, name))
const manifestOf = (name: string) => parseManifest(load(name))
const backupInfoOf = (set: string) => parseBackupInfo(load(`${set}/backup.info`))

test('the vectors contain both releases in every state', () => {
  expect(manifests.length).toBeGreaterThanOrEqual(15)
  expect(new Set(manifests.map((name) => manifestOf(name).backrestVersion))).toEqual(new Set(['2.45', '2.59.1']))
})

describe('typed values serialise to the bytes of the vector', () => {
  test.each(vectors.filter((name) => name.endsWith('archive.info')))('%s', (name) => {
    const bytes = load(name)
    const info = parseArchiveInfo(bytes)
    expect(info.extra).toBeUndefined()
    expect(serialiseArchiveInfo(info, info.backrestVersion).toString('latin1')).toBe(bytes.toString('latin1'))
  })
  test.each(vectors.filter((name) => name.endsWith('backup.info')))('%s', (name) => {
    const bytes = load(name)
    const info = parseBackupInfo(bytes)
    expect(info.extra).toBeUndefined()
    expect(info.backups.filter(({ extra }) => extra !== undefined)).toEqual([])
    expect(serialiseBackupInfo(info, info.backrestVersion).toString('latin1')).toBe(bytes.toString('latin1'))
  })
  test.each(manifests)('%s', (name) => {
    const bytes = load(name)
    const manifest = parseManifest(bytes)
    expect(manifest.extra).toBeUndefined()
    expect([...manifest.files].filter(({ extra }) => extra !== undefined)).toEqual([])
    expect(serialiseManifest(manifest).toString('latin1')).toBe(bytes.toString('latin1'))
  })
})

test.each(manifests)('defaults are computed from the data directory: %s', (name) => {
  const { defaults, links, paths } = manifestOf(name)
  const pgData = paths.find((path) => path.name === 'pg_data')!
  expect(manifestDefaults(pgData, links.length > 0)).toEqual(defaults)
})

const complete = manifests.filter((name) => /^2\./.test(name))
test.each(complete)('the entry of backup.info is computed from the manifest: %s', (name) => {
  const [set, file] = name.split('/') as [string, string]
  const label = file.replace('.manifest', '')
  const manifest = manifestOf(name)
  expect(() => checkManifest(manifest, label)).not.toThrow()
  expect(backupEntryOf(manifest)).toEqual(backupInfoOf(set).backups.find((entry) => entry.label === label))
})

describe('values of the vectors', () => {
  const find = (set: string, ending: string): Manifest =>
    manifestOf(manifests.filter((name) => name.startsWith(set) && name.endsWith(`${ending}.manifest`)).at(-1)!)
  const fileOf = (manifest: Manifest, name: string) => [...manifest.files].find((file) => file.name === name)

  test('tablespace, links and odd database names', () => {
    const manifest = find('2.45-gz', 'F')
    expect(manifest.targets.map(({ name }) => name)).toEqual([
      'pg_data',
      'pg_data/pg_ident.conf',
      'pg_data/pg_logical',
      'pg_tblspc/16384',
    ])
    expect(manifest.targets[3]).toMatchObject({ tablespaceId: '16384', tablespaceName: 'ts=one', type: 'link' })
    expect(manifest.targets[1]).toMatchObject({ file: 'pg_ident.conf', path: '../ext' })
    expect(manifest.databases.map(({ name }) => Buffer.from(name, 'latin1').toString())).toEqual([
      '123',
      'd=b "q" ü',
      'postgres',
      'template0',
      'template1',
    ])
    expect([...manifest.annotations].map(([key, value]) => [key, Buffer.from(value, 'latin1').toString()])).toEqual([
      ['key one', 'ünï'],
      ['source', 'demo "x"'],
    ])
    expect(manifest.db.systemId).toBeGreaterThan(2n ** 53n)
  })

  test('page errors, and the reference to the backup that has the file', () => {
    const diff = find('2.45-gz', 'D')
    const broken = [...diff.files].filter(({ checksumPage }) => checksumPage === false)
    expect(broken.map(({ checksumPageErrors }) => checksumPageErrors)).toEqual([[3, [5, 6], 9]])
    const incr = find('2.45-gz', 'I')
    expect(fileOf(incr, broken[0]!.name)?.reference).toBe(diff.label)
    expect(incr.references).toEqual([diff.prior, diff.label, incr.label])
  })

  test('bundles and block incremental', () => {
    const full = find('2.59.1-block', 'F')
    expect(full).toMatchObject({ bundle: true, bundleRaw: true, blockIncremental: true })
    expect(full.cipherPass).toMatch(/^[A-Za-z0-9+/]{64}$/)
    const blocks = [...full.files].filter(({ blockMapSize }) => blockMapSize !== undefined)
    expect(blocks.length).toBeGreaterThan(5)
    for (const file of blocks) expect(file).toMatchObject({ blockSize: 8192, blockChecksumSize: 6 })
    expect([...full.files].filter(({ bundleId }) => bundleId !== undefined).length).toBeGreaterThan(20)
  })

  test('names of any bytes', () => {
    const names = [...find('2.59.1-lz4', 'I').files].map(({ name }) => name)
    for (const name of [
      'a=b',
      'c={"size":1}',
      'quote"back\\slash',
      'raw\xff\xfebytes',
      '[bracket]',
      'tab\there',
      '#hash',
    ]) {
      expect(names).toContain(`pg_data/odd/${name}`)
    }
  })

  test('owners without a name are read', () => {
    for (const name of manifests.filter((vector) => vector.startsWith('owner'))) {
      const { defaults, files, paths } = manifestOf(name)
      expect(defaults.file).toMatchObject({ user: false, group: false })
      expect(paths.find((path) => path.name === 'pg_data/base')).toMatchObject({ user: false, group: 'root' })
      expect([...files].some(({ user }) => user === 'postgres')).toBe(true)
    }
  })

  test('a partial manifest is read but not accepted as complete', () => {
    for (const name of manifests.filter((vector) => vector.startsWith('partial'))) {
      const manifest = manifestOf(name)
      expect(manifest.timestampStop).toBe(0)
      expect(manifest.db.historyId).toBe(0)
      expect(() => checkManifest(manifest, manifest.label)).toThrow(/has no checksum/)
    }
  })

  test('a stanza that was upgraded', () => {
    const info = backupInfoOf('2.59.1-lz4-upgraded')
    expect(info.currentId).toBe(2)
    expect(info.history.map(({ id }) => id)).toEqual([1, 2])
    expect(info.backups.map(({ historyId }) => historyId)).toEqual([1, 2, 2])
    expect(info.backups[1]).toMatchObject({ archiveStart: null, archiveStop: null })
  })

  test('an encrypted file is recognised', () => {
    expect(() => parseBackupInfo(load('2.45-encrypted-decoded/backup.info.encrypted'))).toThrow(
      expect.objectContaining({ code: 'crypto', message: expect.stringMatching(/encrypted/) }),
    )
  })
})
