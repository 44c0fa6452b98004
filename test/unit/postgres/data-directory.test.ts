import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ClusterFiles } from '../../../src/postgres/cluster-access.ts'
import {
  clusterPath,
  listDataDirectory,
  type DataDirectoryListing,
  type ListOptions,
} from '../../../src/postgres/data-directory.ts'
import { localFiles } from '../../../src/postgres/local-files.ts'
import { postgresVersion } from '../../../src/postgres/versions.ts'
import { silentLogger } from '../../../src/util/log.ts'

let base: string
let data: string
let outside: string

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'pgts-list-'))
  data = join(base, 'data')
  outside = join(base, 'outside')
  mkdirSync(outside)
  put('PG_VERSION', 'global/pg_control', 'global/1260', 'base/5/PG_VERSION', 'base/5/1259', 'pg_wal/archive_status/')
})
afterEach(() => rmSync(base, { recursive: true }))

/** Files by name, directories by a slash at the end, below the data directory. */
function put(...names: string[]): void {
  for (const name of names) {
    const path = Buffer.from(join(data, name), 'latin1')
    mkdirSync(Buffer.from(name.endsWith('/') ? join(data, name) : dirname(join(data, name)), 'latin1'), {
      recursive: true,
    })
    if (!name.endsWith('/')) writeFileSync(path, 'x')
  }
}

function list(
  options: Partial<ListOptions> & { version?: string; files?: ClusterFiles } = {},
): Promise<DataDirectoryListing> {
  const { version = '15', files = localFiles(), ...rest } = options
  return listDataDirectory(files, data, {
    postgres: postgresVersion(version),
    online: true,
    log: silentLogger,
    ...rest,
  })
}

async function names(options: Parameters<typeof list>[0] = {}): Promise<string[]> {
  return [...(await list(options)).files].map((file) => file.name.replace(/^pg_data\//, ''))
}

const STANDARD = ['PG_VERSION', 'base/5/1259', 'base/5/PG_VERSION', 'global/1260', 'global/pg_control']

test('listing a data directory returns names as bytes, in byte order', async () => {
  put('\xff', '\xc3\xa4', 'b', 'B', 'a/z', 'a-')
  expect(await names()).toEqual(['B', 'PG_VERSION', 'a-', 'a/z', 'b', ...STANDARD.slice(1), '\xc3\xa4', '\xff'])
})

test('listing skips root files of a running or restored server, by version', async () => {
  const always = ['postmaster.pid', 'postmaster.opts', 'postgresql.auto.conf.tmp', 'backup_label', 'backup_label.old']
  const manifests = ['backup_manifest', 'backup_manifest.tmp']
  const signals = ['recovery.signal', 'standby.signal']
  const old = ['recovery.conf', 'recovery.done']
  put(...always, ...manifests, ...signals, ...old)
  const kept = async (version: string) => (await names({ version })).filter((name) => !STANDARD.includes(name))
  expect(await kept('15')).toEqual(old)
  expect(await kept('12')).toEqual([...manifests, ...old].sort())
  expect(await kept('11')).toEqual([...manifests, ...signals].sort())
})

test('listing keeps files with the same names below the root', async () => {
  put('sub/postmaster.pid', 'sub/backup_label', 'sub/pg_notify/x')
  expect(await names()).toEqual(expect.arrayContaining(['sub/postmaster.pid', 'sub/backup_label', 'sub/pg_notify/x']))
})

test('listing keeps directories without content when PostgreSQL recreates it', async () => {
  const emptied = ['pg_dynshmem', 'pg_notify', 'pg_replslot', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans']
  put(...emptied.map((name) => `${name}/deep/x`), 'pg_stat/x')
  const listing = await list()
  expect(await names()).toEqual([...STANDARD, 'pg_stat/x'])
  const paths = listing.paths.map((path) => path.name)
  for (const name of emptied) expect(paths).toContain(`pg_data/${name}`)
  expect(paths.filter((name) => name.endsWith('/deep'))).toEqual([])
})

test('listing skips temporary files of any type everywhere', async () => {
  put('pgsql_tmp1.0', 'base/pgsql_tmp/x', 'sub/pgsql_tmp_y/z', 'sub/not_pgsql_tmp')
  symlinkSync('/nowhere', join(data, 'pgsql_tmp_link'))
  expect(await names()).toEqual([...STANDARD, 'sub/not_pgsql_tmp'])
})

test('listing skips WAL online and includes it offline', async () => {
  put(
    'pg_wal/000000010000000000000001',
    'pg_wal/archive_status/x.done',
    'pg_wal/summaries/s',
    'pg_wal/00000002.history',
  )
  expect(await names()).toEqual([...STANDARD, 'pg_wal/summaries/s'])
  expect((await list()).paths.map((path) => path.name)).toContain('pg_data/pg_wal/archive_status')
  expect(await names({ online: false })).toEqual([
    ...STANDARD,
    'pg_wal/000000010000000000000001',
    'pg_wal/00000002.history',
    'pg_wal/archive_status/x.done',
    'pg_wal/summaries/s',
  ])
  put('pg_xlog/000000010000000000000001')
  expect(await names({ version: '9.6' })).not.toContain('pg_xlog/000000010000000000000001')
})

test('listing skips caches, temporary and unlogged relations of databases', async () => {
  const lost = [
    'pg_internal.init',
    'pg_internal.init.123',
    't3_16450',
    't3_16450_fsm',
    't12_1_vm.3',
    '16384',
    '16384_fsm',
    '16384_vm',
    '16384.1',
    '16384_fsm.2',
  ]
  const kept = [
    'pg_internal.initial',
    'pg_internal.init.x',
    't3_16450_init',
    't3',
    '16384_init',
    '163840',
    '1638',
    '16385',
    '16385_fsm',
    'pg_filenode.map',
  ]
  put(...[...lost, ...kept].map((name) => `base/16/${name}`))
  put(...[...lost, ...kept].map((name) => `elsewhere/${name}`))
  const found = await names()
  expect(found.filter((name) => name.startsWith('base/16/'))).toEqual(kept.map((name) => `base/16/${name}`).sort())
  expect(found.filter((name) => name.startsWith('elsewhere/'))).toHaveLength(lost.length + kept.length)
  // A relation of the same number in another database is another relation.
  put('base/17/16384')
  expect(await names()).toContain('base/17/16384')
})

test('only data files have page checksums, and only files that WAL repairs are read to their listed size', async () => {
  put(
    'base/5/pg_filenode.map',
    'pg_xact/0000',
    'pg_multixact/offsets/0000',
    'pg_logical/x',
    'base/5/1259.1',
    'base/5/1259_fsm',
    'base/pg_control',
  )
  const flags = Object.fromEntries(
    [...(await list()).files].map((file) => [
      file.name.slice('pg_data/'.length),
      [file.pageChecksumApplies, file.sizeLimited],
    ]),
  )
  expect(flags).toEqual({
    PG_VERSION: [false, false],
    'base/5/1259': [true, true],
    'base/5/1259.1': [true, true],
    'base/5/1259_fsm': [true, true],
    'base/5/PG_VERSION': [false, true],
    'base/5/pg_filenode.map': [false, true],
    'base/pg_control': [false, true],
    'global/1260': [true, true],
    'global/pg_control': [false, false],
    'pg_logical/x': [false, false],
    'pg_multixact/offsets/0000': [false, true],
    'pg_xact/0000': [false, true],
  })
})

test('listing skips and logs paths of the option exclude', async () => {
  put('log/today', 'log/old/x', 'junk', 'keep/junk', 'cache/a')
  const told: string[] = []
  const log = { ...silentLogger, info: (message: unknown) => void told.push(String(message)) }
  expect(await names({ exclude: ['log/', 'junk', 'cache', 'base/5/1259'], log })).toEqual([
    'PG_VERSION',
    'base/5/PG_VERSION',
    'global/1260',
    'global/pg_control',
    'keep/junk',
  ])
  expect(told).toHaveLength(4)
  const paths = (await list({ exclude: ['log/', 'cache'] })).paths.map((path) => path.name)
  expect(paths).toContain('pg_data/log')
  expect(paths).not.toContain('pg_data/cache')
})

test('listing follows and records links', async () => {
  mkdirSync(join(outside, 'wal', 'archive_status'), { recursive: true })
  writeFileSync(join(outside, 'wal', '000000010000000000000001'), 'x')
  writeFileSync(join(outside, 'postgresql.conf'), 'conf!')
  rmSync(join(data, 'pg_wal'), { recursive: true })
  symlinkSync(join(outside, 'wal'), join(data, 'pg_wal'))
  symlinkSync('../outside/postgresql.conf', join(data, 'postgresql.conf'))
  const listing = await list()
  expect(listing.links.map(({ name, destination }) => [name, destination])).toEqual([
    ['pg_data/pg_wal', join(outside, 'wal')],
    ['pg_data/postgresql.conf', '../outside/postgresql.conf'],
  ])
  expect(listing.targets).toEqual([
    { name: 'pg_data', type: 'path', path: data },
    { name: 'pg_data/pg_wal', type: 'link', path: join(outside, 'wal') },
    { name: 'pg_data/postgresql.conf', type: 'link', path: '../outside', file: 'postgresql.conf' },
  ])
  expect([...listing.files].find((file) => file.name === 'pg_data/postgresql.conf')).toMatchObject({ sizeBytes: 5 })
  for (const { name } of listing.files) expect(statSync(clusterPath(data, name)).isFile()).toBe(true)
  expect(listing.paths.map((path) => path.name)).toEqual([
    'pg_data',
    'pg_data/base',
    'pg_data/base/5',
    'pg_data/global',
    'pg_data/pg_wal',
    'pg_data/pg_wal/archive_status',
  ])
  expect([...listing.files].some((file) => file.name.startsWith('pg_data/pg_wal/'))).toBe(false)
})

test('listing a tablespace reads only the directory of this cluster', async () => {
  const ours = 'PG_15_202209061'
  mkdirSync(join(outside, ours, '5', 'deep'), { recursive: true })
  mkdirSync(join(outside, ours, 'pgsql_tmp'))
  mkdirSync(join(outside, 'PG_14_202107181', '5'), { recursive: true })
  for (const name of [
    `${ours}/5/16390`,
    `${ours}/5/16391`,
    `${ours}/5/16391_init`,
    `${ours}/pgsql_tmp/x`,
    'PG_14_202107181/5/1',
    'stray',
  ]) {
    writeFileSync(join(outside, name), '')
  }
  put('pg_tblspc/')
  chmodSync(join(data, 'pg_tblspc'), 0o750)
  symlinkSync(outside, join(data, 'pg_tblspc', '16384'))
  const listing = await list({ tablespaces: new Map([[16384, 'ts=one']]) })
  expect([...listing.files].filter((file) => file.name.startsWith('pg_tblspc/'))).toEqual([
    expect.objectContaining({
      name: `pg_tblspc/16384/${ours}/5/16390`,
      pageChecksumApplies: true,
      sizeLimited: true,
    }),
    expect.objectContaining({ name: `pg_tblspc/16384/${ours}/5/16391_init` }),
  ])
  for (const { name } of listing.files) expect(statSync(clusterPath(data, name)).isFile()).toBe(true)
  const paths = new Map(listing.paths.map((path) => [path.name, path.mode]))
  expect([...paths.keys()].filter((name) => name.includes('pg_tblspc'))).toEqual([
    'pg_data/pg_tblspc',
    'pg_tblspc',
    'pg_tblspc/16384',
    `pg_tblspc/16384/${ours}`,
    `pg_tblspc/16384/${ours}/5`,
    `pg_tblspc/16384/${ours}/5/deep`,
  ])
  expect(paths.get('pg_tblspc')).toBe(paths.get('pg_data'))
  expect(paths.get('pg_tblspc/16384')).toBe(0o750)
  expect(listing.links).toEqual([expect.objectContaining({ name: 'pg_data/pg_tblspc/16384', destination: outside })])
  expect(listing.targets[1]).toEqual({
    name: 'pg_tblspc/16384',
    type: 'link',
    path: outside,
    tablespaceId: '16384',
    tablespaceName: 'ts=one',
  })
  expect((await list()).targets[1]).toMatchObject({ tablespaceName: 'ts16384' })
  // The catalog version of the cluster is used, for a server built with another one.
  await expect(list({ catalogVersion: 202209062 })).rejects.toMatchObject({ code: 'file-open' })
})

test.each([
  [
    'a link to a link',
    () => (symlinkSync(outside, join(base, 'hop')), symlinkSync(join(base, 'hop'), join(data, 'x'))),
    'link-destination',
    /another link/,
  ],
  [
    'a link into the data directory',
    () => symlinkSync('base', join(data, 'x')),
    'link-destination',
    /in the data directory/,
  ],
  [
    'a link around into the data directory',
    () => symlinkSync('../outside/../data/base', join(data, 'x')),
    'link-destination',
    /in the data directory/,
  ],
  [
    'two links to one directory',
    () => ['x', 'y'].forEach((name) => symlinkSync(outside, join(data, name))),
    'link-destination',
    /same directory/,
  ],
  [
    'a link into the destination of another',
    () => (
      mkdirSync(join(outside, 'in')),
      symlinkSync(outside, join(data, 'x')),
      symlinkSync(join(outside, 'in'), join(data, 'y'))
    ),
    'link-destination',
    /subdirectory/,
  ],
  [
    'a link around the destination of another',
    () => (
      mkdirSync(join(outside, 'in')),
      symlinkSync(join(outside, 'in'), join(data, 'x')),
      symlinkSync(outside, join(data, 'y'))
    ),
    'link-destination',
    /subdirectory/,
  ],
  [
    'two links to one file',
    () => (
      writeFileSync(join(outside, 'f'), ''),
      ['x', 'y'].forEach((name) => symlinkSync(join(outside, 'f'), join(data, name)))
    ),
    'link-destination',
    /same file/,
  ],
  ['a link to nothing', () => symlinkSync('/nowhere/at/all', join(data, 'x')), 'file-open', /does not exist/],
  ['a directory in pg_tblspc', () => put('pg_tblspc/16384/'), 'link-expected', /pg_tblspc/],
  ['a file in pg_tblspc', () => put('pg_tblspc/x'), 'link-expected', /pg_tblspc/],
] as const)('%s is refused', async (_, prepare, code, message) => {
  prepare()
  await expect(list()).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string })
})

test('accepts links to two files of one directory and names with a common prefix', async () => {
  mkdirSync(join(base, 'outside2'))
  mkdirSync(join(base, 'data2'))
  for (const name of ['a', 'b']) writeFileSync(join(outside, name), '')
  symlinkSync(join(outside, 'a'), join(data, 'a.conf'))
  symlinkSync(join(outside, 'b'), join(data, 'b.conf'))
  symlinkSync(join(base, 'outside2'), join(data, 'x'))
  symlinkSync(join(base, 'data2'), join(data, 'y'))
  expect((await list()).targets).toHaveLength(5)
})

test('a missing data directory is reported with a hint about the path', async () => {
  rmSync(data, { recursive: true })
  await expect(list()).rejects.toMatchObject({ code: 'path-missing', hints: [expect.stringContaining('pg1-path')] })
})

test('listing skips special files with a warning', async () => {
  execFileSync('mkfifo', [join(data, 'pipe')])
  const warnings: string[] = []
  expect(
    await names({ log: { ...silentLogger, warn: (message: unknown) => void warnings.push(String(message)) } }),
  ).toEqual(STANDARD)
  expect(warnings).toEqual([expect.stringContaining('/pipe')])
})

test('listing skips files that are removed while it runs', async () => {
  put('base/6/1', 'base/7/1', 'pg_tblspc/')
  mkdirSync(join(outside, 'PG_15_202209061'))
  symlinkSync(outside, join(data, 'pg_tblspc', '16384'))
  const real = localFiles()
  const files: ClusterFiles = {
    ...real,
    display: real.display,
    list: async (path) => {
      if (path.endsWith('/base/6')) rmSync(path, { recursive: true })
      const entries = await real.list(path)
      // DROP TABLESPACE removes the link after it was listed.
      if (path.endsWith('/pg_tblspc')) unlinkSync(join(path, '16384'))
      return entries
    },
    stat: (path, options) => real.stat(path, options),
    open: (path, options) => real.open(path, options),
  }
  const listing = await list({ files })
  expect(listing.paths.map((path) => path.name)).toEqual(expect.arrayContaining(['pg_data/base', 'pg_data/base/7']))
  expect(listing.paths.map((path) => path.name)).not.toContain('pg_data/base/6')
  expect(listing.targets).toHaveLength(1)
  expect(listing.links).toEqual([])
})

test('listing stops when the signal is aborted', async () => {
  await expect(list({ signal: AbortSignal.abort(new Error('^C')) })).rejects.toThrow('^C')
})
