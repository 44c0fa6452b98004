import { describe, expect, test } from 'vitest'
import { layOut } from '../../../../src/core/restore/layout.ts'
import { planRestore, type ExistingFiles } from '../../../../src/core/restore/plan.ts'
import type { FoundEntry } from '../../../../src/core/restore/file-system.ts'
import { aFile, aManifest, OWNER } from '../../../support/builders/manifest.ts'

const manifest = aManifest(
  [
    aFile('pg_data/PG_VERSION', '15\n', { timestamp: 1000 }),
    aFile('pg_data/base/1/1', 'x'.repeat(100), { timestamp: 1000 }),
    aFile('pg_data/base/1/2', '', { timestamp: 1000 }),
    aFile('pg_data/global/pg_control', 'c'.repeat(50), { timestamp: 1000 }),
    aFile('pg_tblspc/16384/PG_15_202209061/5/1', 'yy', { timestamp: 1000 }),
  ],
  {
    timestampCopyStart: 2000,
    targets: [
      { name: 'pg_data', type: 'path', path: '/d' },
      { name: 'pg_tblspc/16384', type: 'link', path: '/ts', tablespaceId: '16384', tablespaceName: 'one' },
    ],
    links: [{ name: 'pg_data/pg_tblspc/16384', destination: '/ts', ...OWNER }],
  },
)
const layout = layOut(manifest)
const entry = (kind: FoundEntry['kind'], more: Partial<FoundEntry> = {}): FoundEntry => ({
  kind,
  sizeBytes: 0,
  mtime: 1000,
  mode: 0o600,
  uid: 1,
  gid: 1,
  ...more,
})
const plan = (found: Record<string, FoundEntry>, existing: Partial<ExistingFiles> = {}) =>
  planRestore(manifest, layout, new Map(Object.entries(found)), { delta: false, force: false, ...existing })
const action = (found: FoundEntry | undefined, existing: Partial<ExistingFiles>) =>
  [...plan(found === undefined ? {} : { '/d/base/1/1': found }, existing).files].find(
    ({ path }) => path === '/d/base/1/1',
  )?.action

describe('the action for a file', () => {
  test.each([
    ['missing', undefined, { delta: true }, 'create'],
    ['delta', entry('file', { sizeBytes: 100 }), { delta: true }, 'check'],
    ['force', entry('file', { sizeBytes: 100 }), { force: true }, 'rewrite'],
    ['delta and force: same size and time', entry('file', { sizeBytes: 100 }), { delta: true, force: true }, 'keep'],
    ['delta and force: other size', entry('file', { sizeBytes: 101 }), { delta: true, force: true }, 'rewrite'],
    [
      'delta and force: other time',
      entry('file', { sizeBytes: 100, mtime: 999 }),
      { delta: true, force: true },
      'rewrite',
    ],
    ['a link in its place', entry('link', { destination: '/etc/passwd' }), { delta: true }, 'create'],
    ['a directory in its place', entry('path'), { delta: true }, 'create'],
  ] as [string, FoundEntry | undefined, Partial<ExistingFiles>, string][])('%s: %s', (_, found, existing, expected) => {
    expect(action(found, existing)).toBe(expected)
  })

  test('delta and force: a file with a time after the start of the copy is rewritten', () => {
    const late = { ...manifest, files: [...manifest.files].map((file) => ({ ...file, timestamp: 2000 })) }
    const found = new Map([['/d/base/1/1', entry('file', { sizeBytes: 100, mtime: 2000 })]])
    const files = planRestore(late, layout, found, { delta: true, force: true }).files
    expect([...files].find(({ path }) => path === '/d/base/1/1')?.action).toBe('rewrite')
  })
})

test('files are planned largest first; pg_control always under its temporary name', () => {
  const { files, sizeBytes } = plan({ '/d/global/pg_control': entry('file', { sizeBytes: 50 }) }, { delta: true })
  expect([...files].map(({ path, action }) => `${action} ${path}`)).toEqual([
    'create /d/base/1/1',
    'create /d/global/pg_control.pgbackrest.tmp',
    'create /d/PG_VERSION',
    'create /ts/PG_15_202209061/5/1',
    'create /d/base/1/2',
  ])
  expect(sizeBytes).toBe(155)
})

test('entries that the backup does not have, or has as another type, are removed; a directory as a whole', () => {
  const { remove } = plan(
    {
      '/d': entry('path'),
      '/d/PG_VERSION': entry('file'),
      '/d/base': entry('path'),
      '/d/base/1': entry('file'),
      '/d/base/2': entry('path'),
      '/d/base/2/9': entry('file'),
      '/d/base/20': entry('file'),
      '/d/global': entry('link', { destination: '/elsewhere' }),
      '/d/pg_tblspc': entry('path'),
      '/d/pg_tblspc/16384': entry('link', { destination: '/other' }),
      '/d/pg_tblspc/999': entry('link', { destination: '/ts' }),
      '/d/socket': entry('special'),
      '/ts': entry('path'),
      '/ts/PG_15_202209061': entry('path'),
      '/ts/PG_15_202209061/5': entry('path'),
      '/ts/PG_15_202209061/5/2': entry('file'),
    },
    { delta: true },
  )
  expect(remove.map(({ path, kind }) => `${kind} ${path}`)).toEqual([
    'file /d/base/1',
    'path /d/base/2',
    'file /d/base/20',
    'link /d/global',
    'link /d/pg_tblspc/16384',
    'link /d/pg_tblspc/999',
    'special /d/socket',
    'file /ts/PG_15_202209061/5/2',
  ])
})

test('directories are planned parents first, without the pseudo entry; links with the existing entry', () => {
  const { paths, links } = plan({ '/d/pg_tblspc/16384': entry('link', { destination: '/ts' }) })
  expect(paths.map(({ path }) => path)).toEqual([
    '/d',
    '/d/base',
    '/d/base/1',
    '/d/global',
    '/d/pg_tblspc',
    '/ts',
    '/ts/PG_15_202209061',
    '/ts/PG_15_202209061/5',
  ])
  expect(links).toMatchObject([{ path: '/d/pg_tblspc/16384', found: { kind: 'link' } }])
})
