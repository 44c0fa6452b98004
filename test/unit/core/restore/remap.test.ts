import { describe, expect, test } from 'vitest'
import { layOut } from '../../../../src/core/restore/layout.ts'
import { remap, type RemapPolicy } from '../../../../src/core/restore/remap.ts'
import type { Manifest } from '../../../../src/format/manifest.ts'
import { isPgtsError, PgtsError } from '../../../../src/util/error.ts'
import { aFile, aManifest, OWNER } from '../../../support/builders/manifest.ts'

const PG = 'PG_15_202209061'
/** Two tablespaces, pg_wal elsewhere, and a linked postgresql.conf. */
const manifest: Manifest = aManifest(
  [
    aFile('pg_data/PG_VERSION'),
    aFile('pg_data/postgresql.conf'),
    aFile('pg_data/pg_hba.conf'),
    aFile('pg_data/pg_wal/archive_status/x', ''),
    aFile(`pg_tblspc/16384/${PG}/5/1`),
    aFile(`pg_tblspc/16385/${PG}/5/2`),
  ],
  {
    targets: [
      { name: 'pg_data', type: 'path', path: '/old' },
      { name: 'pg_data/pg_wal', type: 'link', path: '../wal' },
      { name: 'pg_data/postgresql.conf', type: 'link', path: '/etc/pg', file: 'main.conf' },
      { name: 'pg_tblspc/16384', type: 'link', path: '/ts/one', tablespaceId: '16384', tablespaceName: 'one' },
      { name: 'pg_tblspc/16385', type: 'link', path: '/ts/two', tablespaceId: '16385', tablespaceName: 'two' },
    ],
    links: [
      { name: 'pg_data/pg_tblspc/16384', destination: '/ts/one', ...OWNER },
      { name: 'pg_data/pg_tblspc/16385', destination: '/ts/two', ...OWNER },
      { name: 'pg_data/pg_wal', destination: '../wal', ...OWNER },
      { name: 'pg_data/postgresql.conf', destination: '/etc/pg/main.conf', ...OWNER },
    ],
  },
)
const policy = (more: Partial<RemapPolicy> = {}): RemapPolicy => ({
  pgPath: '/new/data',
  tablespaceMap: new Map(),
  linkAll: false,
  linkMap: new Map(),
  ...more,
})

function mapped(more: Partial<RemapPolicy> = {}) {
  const { manifest: result, notes } = remap(manifest, policy(more))
  const layout = layOut(result)
  return { manifest: result, layout, notes: notes.map(({ level, message }) => `${level}: ${message}`) }
}
function refusal(run: () => unknown): PgtsError {
  try {
    run()
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('no error was thrown')
}

test('without maps data moves to pg1-path, tablespaces keep their paths, links become plain entries with a warning each', () => {
  const { manifest: result, layout, notes } = mapped()
  expect(layout.physicalPath('pg_data/PG_VERSION')).toBe('/new/data/PG_VERSION')
  expect(layout.physicalPath('pg_data/pg_wal/archive_status/x')).toBe('/new/data/pg_wal/archive_status/x')
  expect(layout.physicalPath(`pg_tblspc/16384/${PG}/5/1`)).toBe(`/ts/one/${PG}/5/1`)
  expect(layout.linkPath('pg_data/pg_tblspc/16384')).toBe('/new/data/pg_tblspc/16384')
  expect(result.links.map(({ name }) => name)).toEqual(['pg_data/pg_tblspc/16384', 'pg_data/pg_tblspc/16385'])
  expect(layout.places.map(({ path, kind }) => `${kind} ${path}`)).toEqual([
    'data /new/data',
    `tablespace /ts/one/${PG}`,
    `tablespace /ts/two/${PG}`,
  ])
  expect(notes).toEqual([
    "info: remap data directory to '/new/data'",
    expect.stringMatching(/^warn: contents of directory link 'pg_wal' .*directory at the same location/),
    expect.stringMatching(/^warn: file link 'postgresql.conf' .*file at the same location/),
  ])
})

test('link-all keeps links; relative destinations are relative to the link', () => {
  const { layout, manifest: result } = mapped({ linkAll: true })
  expect(layout.physicalPath('pg_data/pg_wal/archive_status/x')).toBe('/new/wal/archive_status/x')
  expect(layout.physicalPath('pg_data/postgresql.conf')).toBe('/etc/pg/main.conf')
  expect(layout.linkPath('pg_data/pg_wal')).toBe('/new/data/pg_wal')
  expect(result.links).toEqual(manifest.links)
})

test('link-map changes the destination of a link, and makes a plain directory or file a link', () => {
  const {
    layout,
    manifest: result,
    notes,
  } = mapped({
    linkMap: new Map([
      ['pg_wal', '/fast/wal'],
      ['pg_hba.conf', '/etc/pg/hba.conf'],
      ['postgresql.conf', '../conf/x.conf'],
    ]),
  })
  expect(layout.physicalPath('pg_data/pg_wal/archive_status/x')).toBe('/fast/wal/archive_status/x')
  expect(layout.physicalPath('pg_data/pg_hba.conf')).toBe('/etc/pg/hba.conf')
  expect(layout.physicalPath('pg_data/postgresql.conf')).toBe('/new/conf/x.conf')
  expect(result.links.find(({ name }) => name === 'pg_data/pg_hba.conf')).toEqual({
    name: 'pg_data/pg_hba.conf',
    destination: '/etc/pg/hba.conf',
    ...OWNER,
  })
  expect(notes).toContain("info: link 'pg_hba.conf' to '/etc/pg/hba.conf'")
  expect(notes).toContain("info: map link 'pg_wal' to '/fast/wal'")
})

test('tablespaces are mapped by name, by oid, and all together; the map of one tablespace has precedence', () => {
  const { layout, manifest: result } = mapped({
    tablespaceMap: new Map([['16385', '/b']]),
    tablespaceMapAll: '/all',
  })
  expect(layout.physicalPath(`pg_tblspc/16384/${PG}/5/1`)).toBe(`/all/one/${PG}/5/1`)
  expect(layout.physicalPath(`pg_tblspc/16385/${PG}/5/2`)).toBe(`/b/${PG}/5/2`)
  expect(result.links.map(({ destination }) => destination)).toEqual(['/all/one', '/b'])
  expect(
    mapped({
      tablespaceMap: new Map([
        ['one', '/a'],
        ['16384', '/a'],
      ]),
    }).layout.places[1]?.path,
  ).toBe(`/a/${PG}`)
})

describe('an invalid map is refused', () => {
  test.each([
    [
      'two paths for one tablespace',
      {
        tablespaceMap: new Map([
          ['one', '/a'],
          ['16384', '/b'],
        ]),
      },
      'tablespace-map',
      /'\/a'.*16384.*'\/b'/,
    ],
    [
      'an unknown tablespace',
      { tablespaceMap: new Map([['three', '/a']]) },
      'tablespace-map',
      /invalid tablespace 'three'/,
    ],
    ['a relative path', { tablespaceMap: new Map([['one', 'a']]) }, 'tablespace-map', /relative path 'a'/],
    ['an unknown link', { linkMap: new Map([['nothing', '/a']]) }, 'link-map', /unable to map link 'nothing'/],
    [
      'a tablespace as a link',
      { linkMap: new Map([['pg_tblspc/16384', '/a']]) },
      'link-map',
      /tablespace 'pg_tblspc\/16384'/,
    ],
    [
      'a file link without a directory',
      { linkMap: new Map([['pg_hba.conf', 'hba']]) },
      'link-map',
      /'hba' is not long enough/,
    ],
    ['a file link to ..', { linkMap: new Map([['pg_hba.conf', '../..']]) }, 'link-map', /not long enough/],
    [
      'two tablespaces in one directory',
      {
        tablespaceMap: new Map([
          ['one', '/a'],
          ['two', '/a/'],
        ]),
      },
      'link-destination',
      /same destination/,
    ],
    [
      'a tablespace in the data directory',
      { tablespaceMap: new Map([['one', '/new/data/ts']]) },
      'link-destination',
      /is in the data directory/,
    ],
    [
      'a link into the data directory',
      { linkMap: new Map([['pg_wal', 'wal2']]) },
      'link-destination',
      /is in the data directory/,
    ],
    [
      'a link to a parent of the data directory',
      { linkMap: new Map([['pg_wal', '/new']]) },
      'link-destination',
      /contains the data directory/,
    ],
  ] as [string, Partial<RemapPolicy>, string, RegExp][])('%s', (_, more, code, words) => {
    const error = refusal(() => mapped(more))
    expect(error.code).toBe(code)
    expect(error.message).toMatch(words)
    expect(error.hints.length).toBeGreaterThan(0)
  })

  test('a map into the data directory through a symbolic link is refused', () => {
    const { manifest: result } = remap(manifest, policy({ tablespaceMap: new Map([['one', '/way/to/data/ts']]) }))
    expect(refusal(() => layOut(result, (path) => path.replace('/way/to', '/new'))).code).toBe('link-destination')
  })
})
