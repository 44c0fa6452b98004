import { describe, expect, test } from 'vitest'
import { checkManifest } from '../../../src/format/manifest-check.ts'
import { isSafeManifestName } from '../../../src/format/manifest-names.ts'
import { parseManifest } from '../../../src/format/manifest-parse.ts'
import { serialiseManifest } from '../../../src/format/manifest-serialise.ts'
import { type Manifest, type ManifestTarget } from '../../../src/format/manifest.ts'
import { isPgtsError } from '../../../src/util/error.ts'
import { aFile, aManifest, LABEL, OWNER } from '../../support/builders/manifest.ts'

const PG = 'PG_15_202209061'
const data: ManifestTarget = { name: 'pg_data', type: 'path', path: '/old' }
const tablespace: ManifestTarget = {
  name: 'pg_tblspc/16384',
  type: 'link',
  path: '/ts/one',
  tablespaceId: '16384',
  tablespaceName: 'one',
}
const tablespaceLink = { name: 'pg_data/pg_tblspc/16384', destination: '/ts/one', ...OWNER }

/** A backup with one tablespace, one linked directory and one linked file, as pgbackrest writes it. */
function linked(names: readonly string[] = [], more: Partial<Manifest> = {}): Manifest {
  const files = ['pg_data/postgresql.conf', 'pg_data/pg_wal/archive_status/x', `pg_tblspc/16384/${PG}/5/1`, ...names]
  return aManifest(
    files.map((name) => aFile(name)),
    {
      targets: [
        data,
        { name: 'pg_data/pg_wal', type: 'link', path: '../wal' },
        { name: 'pg_data/postgresql.conf', type: 'link', path: '../etc', file: 'main.conf' },
        tablespace,
      ],
      links: [
        tablespaceLink,
        { name: 'pg_data/pg_wal', destination: '../wal', ...OWNER },
        { name: 'pg_data/postgresql.conf', destination: '../etc/main.conf', ...OWNER },
      ],
      ...more,
    },
  )
}

function withTarget(name: string, change: Partial<ManifestTarget>): Manifest {
  const manifest = linked()
  const targets = manifest.targets.map((target) => (target.name === name ? { ...target, ...change } : target))
  return { ...manifest, targets }
}

function withDestination(name: string, destination: string): Manifest {
  const manifest = linked()
  return { ...manifest, links: manifest.links.map((link) => (link.name === name ? { ...link, destination } : link)) }
}

function withPath(name: string): Manifest {
  const manifest = linked()
  return { ...manifest, paths: [...manifest.paths, { name, ...OWNER, mode: 0o700 }] }
}

function refusal(manifest: Manifest): { exitCode: number; message: string } {
  try {
    checkManifest(parseManifest(serialiseManifest(manifest)), LABEL)
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('this manifest was accepted')
}

describe('a manifest is refused [029] when its names do not form one tree inside its targets', () => {
  test.each([
    [
      'a file beside the version directory of a tablespace',
      linked(['pg_tblspc/16384/authorized_keys']),
      'outside PG_15',
    ],
    ['a file in the directory of another version', linked(['pg_tblspc/16384/PG_14_202107181/5/1']), 'outside PG_15'],
    ['a file with a longer version', linked([`pg_tblspc/16384/${PG}1/x`]), 'outside PG_15'],
    ['a file for the version directory', linked([], { files: [aFile(`pg_tblspc/16384/${PG}`)] }), 'of the directory'],
    ['a file for a tablespace', aManifest([aFile('pg_tblspc/16384')]), 'is in no tablespace'],
    ['a file in a tablespace that is no target', linked([`pg_tblspc/7/${PG}/5/1`]), 'is in no tablespace'],
    ['a file through the link to a tablespace', linked(['pg_data/pg_tblspc/16384/x']), 'not a link to a tablespace'],
    ['a file beside the links to tablespaces', linked(['pg_data/pg_tblspc/x']), 'not a link to a tablespace'],
    ['a directory beside them', withPath('pg_data/pg_tblspc/1'), 'not a link to a tablespace'],
    ['a file below a linked file', linked(['pg_data/postgresql.conf/x']), 'is a file and a directory'],
    ['a file that is also a directory', withPath('pg_data/pg_wal/archive_status/x'), 'is a file and a directory'],
    ['a file that is also a link to a directory', linked(['pg_data/pg_wal']), 'is a file and a'],
    ['a file in no directory of the backup', linked([], { paths: linked().paths.slice(0, 1) }), 'is in no directory'],
    ['no data directory', aManifest([], { targets: [tablespace] }), 'target pg_data is missing'],
    ['a name of the restore itself', linked(['pg_data/global/pg_control.pgbackrest.tmp']), 'restore uses itself'],
    ['a directory with a name of the restore', withPath('pg_data/backup.manifest'), 'restore uses itself'],
    ['a link that leads elsewhere than its target', withDestination('pg_data/pg_wal', '/etc'), "points to '/etc', but"],
    ['a linked file that leads to another one', withDestination('pg_data/postgresql.conf', '../etc/x'), "'../etc/main"],
    ['a link to a tablespace that leads elsewhere', withDestination('pg_data/pg_tblspc/16384', '/x'), "'/ts/one'"],
    ['an empty destination', withDestination('pg_data/pg_wal', ''), 'no usable destination'],
    ['a link without a target', linked([], { targets: [data, tablespace] }), 'has no target'],
    ['a target without a link', linked([], { links: [] }), 'has no link'],
    [
      'a linked directory that the backup does not have',
      linked([], { paths: linked().paths.filter(({ name }) => name !== 'pg_data/pg_wal') }),
      'is not a directory of the backup',
    ],
    [
      'a target of type path beside the data directory',
      withTarget('pg_data/pg_wal', { type: 'path' }),
      'the type path',
    ],
    ['the data directory as a link', withTarget('pg_data', { type: 'link' }), 'has the type link'],
    ['a tablespace without an id', linked([], { targets: [data, { name: 'pg_tblspc/16384', type: 'link', path: '/x' }] }), 'has no tablespace-id'], // prettier-ignore
    [
      'a tablespace under another id',
      withTarget('pg_tblspc/16384', { tablespaceId: '16385' }),
      "tablespace id '16385'",
    ],
    ['a relative tablespace', withTarget('pg_tblspc/16384', { path: 'ts/one' }), 'relative location'],
    ['a tablespace that is a file', withTarget('pg_tblspc/16384', { file: 'x' }), 'is a tablespace and a file'],
    ['a tablespace without a name', withTarget('pg_tblspc/16384', { tablespaceName: '' }), 'no usable name'],
    ['a linked file whose file is a path', withTarget('pg_data/postgresql.conf', { file: '../x' }), "file name '../x'"],
    ['a path that is too long', withTarget('pg_tblspc/16384', { path: `/${'x/'.repeat(2048)}` }), 'no usable path'],
    ['a name that is too long', linked([`pg_data/${'x'.repeat(256)}`]), 'is outside'],
  ])('%s', (_, manifest, words) => {
    const error = refusal(manifest)
    expect(error.exitCode).toBe(29)
    expect(error.message).toContain(words)
  })

  test.each([['../x'], ['1/x'], ['15\n'], ['15.'], ['']])('a version that is a path: %j', (version) => {
    const { db } = linked()
    expect(refusal({ ...linked(), db: { ...db, version } })).toMatchObject({ exitCode: 29 })
  })

  test('when a name contains NUL', () => {
    expect(isSafeManifestName('pg_data/a\0b')).toBe(false)
  })
})

describe('a manifest is accepted', () => {
  test('with links as pgbackrest records them, also relative ones to files', () => {
    expect(() => checkManifest(parseManifest(serialiseManifest(linked())), LABEL)).not.toThrow()
  })

  test('when destination and target differ only in slashes', () => {
    const manifest = withDestination('pg_data/pg_wal', '..//wal/')
    expect(() => checkManifest(manifest, LABEL)).not.toThrow()
  })

  test('with a link to a special file, which has no file in the backup', () => {
    const manifest = linked([], { files: [aFile('pg_data/PG_VERSION'), aFile('pg_data/pg_wal/archive_status/x')] })
    expect(() => checkManifest(manifest, LABEL)).not.toThrow()
  })

  test('with file names of any bytes but NUL and slash', () => {
    const manifest = linked(['pg_data/\xff\x01 =\u0085', `pg_data/${'x'.repeat(255)}`])
    expect(() => checkManifest(parseManifest(serialiseManifest(manifest)), LABEL)).not.toThrow()
  })
})

test('reading a manifest drops setuid, setgid and sticky bits', () => {
  const manifest = aManifest([aFile('pg_data/x', 'x', { mode: 0o4755 })], {
    paths: [{ name: 'pg_data', ...OWNER, mode: 0o3700 }],
  })
  const { files, paths } = parseManifest(serialiseManifest(manifest))
  expect([files.at(0)?.mode, paths[0]?.mode]).toEqual([0o755, 0o700])
})
