import { beforeEach, describe, expect, test } from 'vitest'
import { infoHints, renderInfo } from '../../../src/cli/render/info.ts'
import { buildInfo, type InfoRequest } from '../../../src/core/info/build.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { textToBytes } from '../../../src/util/byte-string.ts'
import { PgtsError } from '../../../src/util/error.ts'
import type { HeldLock } from '../../../src/util/lock.ts'
import { aFile, OWNER } from '../../support/builders/manifest.ts'
import {
  fillRepository,
  segment,
  segments,
  type TestRepository,
  repositoryWith,
} from '../../support/builders/repository.ts'

const F1 = '20260101-000000F'
const D1 = `${F1}_20260102-000000D`
const I1 = `${F1}_20260103-000000I`
const F2 = '20260201-000000F'

let repo1 = memoryStorage()
let repo2 = memoryStorage()
beforeEach(() => {
  repo1 = memoryStorage()
  repo2 = memoryStorage()
})

function ask(change: Partial<InfoRequest> = {}, ...storages: StorageDriver[]) {
  return buildInfo({
    repos: (storages.length === 0 ? [repo1] : storages).map((storage, index) =>
      repositoryWith(storage, { key: index + 1 }),
    ),
    detail: 'full',
    locksOf: () => [],
    signal: new AbortController().signal,
    ...change,
  })
}

const text = async (...args: Parameters<typeof ask>) => renderInfo(await ask(...args), 'text')
const json = async (...args: Parameters<typeof ask>) => renderInfo(await ask(...args), 'json')
const statusLines = async (...args: Parameters<typeof ask>) => (await text(...args)).split('\n    cipher')[0]
const small: TestRepository = { backups: [{ label: F1 }], wal: { '15-1': segments(1, 3) } }
const broken: StorageDriver = {
  ...memoryStorage(),
  async *list() {
    throw new PgtsError('path-open', 'cannot list /repo/backup', { hints: ['is it mounted?'] })
  },
}

describe('text', () => {
  test('of one stanza lists its backups from the oldest to the newest', async () => {
    await fillRepository(repo1, {
      backups: [
        { label: F1, stop: 1_767_323_057, wal: [segment(2), segment(3)] },
        { label: D1, stop: 1_767_423_057 },
        { label: I1, stop: 1_767_523_057, manifest: { files: [aFile('pg_data/x', 'x'.repeat(1023))] } },
        {
          label: F2,
          stop: 1_769_923_057,
          wal: null,
          manifest: { files: [aFile('pg_data/y', 'y', { checksumPage: false })] },
        },
      ],
      wal: { '15-1': [...segments(2, 3), ...segments(250, 300), `${segment(301)}.partial`, '00000002.history'] },
    })
    expect(await text()).toBe(`stanza: main
    status: ok
    cipher: none

    db (current)
        wal archive min/max (15): 000000010000000000000002/00000001000000010000002C

        full backup: ${F1}
            timestamp start/stop: ${time(1_767_323_047)} / ${time(1_767_323_057)}
            wal start/stop: 000000010000000000000002 / 000000010000000000000003
            database size: 3B, database backup size: 3B
            repo1: backup set size: 3B, backup size: 3B

        diff backup: ${D1}
            timestamp start/stop: ${time(1_767_423_047)} / ${time(1_767_423_057)}
            wal start/stop: 00000001000000000000000C / 00000001000000000000000D
            database size: 6B, database backup size: 3B
            repo1: backup set size: 6B, backup size: 3B
            backup reference total: 1 full

        incr backup: ${I1}
            timestamp start/stop: ${time(1_767_523_047)} / ${time(1_767_523_057)}
            wal start/stop: 000000010000000000000016 / 000000010000000000000017
            database size: 1023B, database backup size: 1023B
            repo1: backup set size: 1023B, backup size: 1023B
            backup reference total: 1 full, 1 diff

        full backup: ${F2}
            timestamp start/stop: ${time(1_769_923_047)} / ${time(1_769_923_057)}
            wal start/stop: n/a
            database size: 1B, database backup size: 1B
            repo1: backup set size: 1B, backup size: 1B
            error(s) detected during backup
`)
  })

  test('of one backup shows the details of its manifest', async () => {
    const manifest = {
      annotations: new Map([
        ['note', textToBytes('ünï')],
        ['who', 'me'],
      ]),
      databases: [
        { name: 'postgres', oid: 5, lastSystemOid: 16383 },
        { name: 'template1', oid: 1, lastSystemOid: 16383 },
        { name: textToBytes('größe'), oid: 16384, lastSystemOid: 16383 },
      ],
      targets: [
        { name: 'pg_data', type: 'path', path: '/pgdata' },
        { name: 'pg_data/pg_wal', type: 'link', path: '/wal' },
        { name: 'pg_data/postgresql.conf', type: 'link', path: '/etc/pg', file: 'postgresql.conf' },
        { name: 'pg_tblspc/16390', type: 'link', path: '/ts', tablespaceId: '16390', tablespaceName: 'side' },
      ] as const,
      links: [
        { name: 'pg_data/pg_tblspc/16390', destination: '/ts', ...OWNER },
        { name: 'pg_data/pg_wal', destination: '/wal', ...OWNER },
        { name: 'pg_data/postgresql.conf', destination: '/etc/pg/postgresql.conf', ...OWNER },
      ],
      files: [aFile('pg_data/base/1/1', 'x', { checksumPage: false, checksumPageErrors: [0] })],
      paths: ['', '/base', '/base/1', '/pg_tblspc', '/pg_wal'].map((name) => ({
        name: `pg_data${name}`,
        ...OWNER,
        mode: 0o700,
      })),
    }
    await fillRepository(repo1, { backups: [{ label: F1 }, { label: D1, stop: 1_767_423_057, manifest }] })
    expect(await text({ stanza: 'main', set: D1 })).toBe(`stanza: main
    status: ok
    cipher: none

    db (current)
        wal archive min/max (15): none present

        diff backup: ${D1}
            timestamp start/stop: ${time(1_767_423_047)} / ${time(1_767_423_057)}
            wal start/stop: 00000001000000000000000C / 00000001000000000000000D
            lsn start/stop: 0/2000028 / 0/3000050
            database size: 1B, database backup size: 1B
            repo1: backup set size: 1B, backup size: 1B
            backup reference list: ${F1}
            database list: größe (16384), postgres (5)
            symlinks:
                pg_wal => /wal
                postgresql.conf => /etc/pg/postgresql.conf
            tablespaces:
                side (16390) => /ts
            error list: base/1/1
            annotation(s)
                note: ünï
                who: me
`)
    const [stanza] = JSON.parse(await json({ stanza: 'main', set: D1 })) as [{ backup: Record<string, unknown>[] }]
    expect(stanza.backup).toHaveLength(1)
    expect(stanza.backup[0]).toMatchObject({
      'database-ref': [
        { name: 'größe', oid: 16384 },
        { name: 'postgres', oid: 5 },
      ],
      'error-list': ['base/1/1'],
      link: [
        { destination: '/wal', name: 'pg_wal' },
        { destination: '/etc/pg/postgresql.conf', name: 'postgresql.conf' },
      ],
      tablespace: [{ destination: '/ts', name: 'side', oid: 16390 }],
      annotation: { note: 'ünï', who: 'me' },
    })
  })

  test('of an empty repository says that no stanza exists; JSON is an empty list', async () => {
    expect(await text()).toBe('No stanzas exist in the repository.\n')
    expect(await json()).toBe('[]')
  })

  test('lists a cluster before an upgrade first, if it has backups or WAL', async () => {
    const clusters = [{ version: '14' }, { version: '15' }]
    await fillRepository(repo1, { clusters, backups: [{ label: F1, id: 1 }], wal: { '14-1': segments(1, 3) } })
    const shown = await text()
    expect(shown.match(/db \(.*\)\n.*\n/g)).toEqual([
      'db (prior)\n        wal archive min/max (14): 000000010000000000000001/000000010000000000000003\n',
      'db (current)\n        wal archive min/max (15): none present\n',
    ])
    expect(await text({ stanza: 'main', set: F1 })).not.toContain('db (current)')
  })

  test('shows no set size for block incremental backups', async () => {
    await fillRepository(repo1, { backups: [{ label: F1, manifest: { blockIncremental: true } }] })
    expect(await text()).toMatch(/repo1: backup size: 3B/)
    expect(await json()).toContain('"repository":{"delta":3,"delta-map":0,"size-map":0}')
  })
})

describe('json', () => {
  test('has members in byte order, no white space, and the system id to the last digit', async () => {
    await fillRepository(repo1, { backups: [{ label: F1, stop: 1_767_323_057 }], wal: { '15-1': segments(2, 9) } })
    expect(await json()).toBe(
      '[{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1","max":"000000010000000000000009","min":"000000010000000000000002"}],' +
        '"backup":[{"archive":{"start":"000000010000000000000002","stop":"000000010000000000000003"},' +
        '"backrest":{"format":5,"version":"2.59.1"},"database":{"id":1,"repo-key":1},"error":false,' +
        '"info":{"delta":3,"repository":{"delta":3,"size":3},"size":3},' +
        `"label":"${F1}","lsn":{"start":"0/2000028","stop":"0/3000050"},"prior":null,"reference":null,` +
        '"timestamp":{"start":1767323047,"stop":1767323057},"type":"full"}],"cipher":"none",' +
        '"db":[{"id":1,"repo-key":1,"system-id":6569239123849665679,"version":"15"}],"name":"main",' +
        '"repo":[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}}],' +
        '"status":{"code":0,"lock":{"backup":{"held":false},"restore":{"held":false}},"message":"ok"}}]',
    )
  })

  test('has only the backups of --type', async () => {
    await fillRepository(repo1, { backups: [{ label: F1 }, { label: D1 }, { label: I1 }] })
    const [stanza] = (await ask({ type: 'diff' })).stanzas
    expect(stanza?.backups.map(({ label }) => label)).toEqual([D1])
  })
})

describe('status', () => {
  test('is 0 for ok, 2 without a backup, 3 without backup.info, 1 for an unknown stanza', async () => {
    await fillRepository(repo1, small)
    expect(await statusLines()).toBe('stanza: main\n    status: ok')
    await fillRepository(repo1, { stanza: 'empty' })
    repo1.files.set('backup/bare/some.file', { bytes: Buffer.from(''), mtimeMs: 0 })
    expect((await ask()).stanzas.map(({ name, status }) => [name, status.code, status.message])).toEqual([
      ['bare', 3, 'missing stanza data'],
      ['empty', 2, 'no valid backups'],
      ['main', 0, 'ok'],
    ])
    expect(await text({ stanza: 'nowhere' })).toBe('stanza: nowhere\n    status: error (missing stanza path)\n')
  })

  test('is 6 for a backup that is in no repository', async () => {
    await fillRepository(repo1, small)
    const shown = await text({ stanza: 'main', set: F2 })
    expect(shown).toBe('stanza: main\n    status: error (requested backup not found)\n    cipher: none\n')
  })

  test('is 99 with the whole message for a damaged backup.info', async () => {
    await fillRepository(repo1, small)
    for (const name of ['backup/main/backup.info', 'backup/main/backup.info.copy']) {
      repo1.files.set(name, { bytes: Buffer.from('nonsense\n'), mtimeMs: 0 })
    }
    expect(await statusLines()).toMatch(
      /^stanza: main\n {4}status: error \(other\)\n {12}\[FormatError\] neither .*\n {12}backup.info .*/,
    )
    expect((await ask()).stanzas[0]).toMatchObject({ backups: [], archives: [], clusters: [], status: { code: 99 } })
  })

  test('is 99 for a repository that cannot be listed', async () => {
    expect(await text({}, broken)).toBe(
      'stanza: [invalid]\n    status: error (other)\n            [PathOpenError] cannot list /repo/backup\n            HINT: is it mounted?\n    cipher: none\n',
    )
    expect((await ask({ stanza: 'main' }, broken)).stanzas[0]?.name).toBe('main')
  })

  test('is 4 when one repository cannot be read, and the others are shown', async () => {
    await fillRepository(repo1, small)
    expect(await text({}, repo1, broken, repo2)).toMatch(
      /^stanza: main\n {4}status: mixed\n {8}repo1: ok\n {8}repo2: error \(other\)\n {15}\[PathOpenError\] cannot list \/repo\/backup\n {15}HINT: is it mounted\?\n {8}repo3: error \(missing stanza path\)\n {4}cipher: none\n\n {4}db \(current\)\n[\s\S]*full backup: /,
    )
  })

  test('is 5 for repositories of different clusters', async () => {
    await fillRepository(repo1, small)
    await fillRepository(repo2, { clusters: [{ systemId: 5n }], backups: [{ label: F2 }] })
    expect(await statusLines({}, repo1, repo2)).toBe(
      'stanza: main\n    status: error (database mismatch across repos)\n        repo1: ok\n        repo2: ok',
    )
  })

  test('is 99 without clusters when archive.info is missing', async () => {
    await fillRepository(repo1, small)
    repo1.files.delete('archive/main/archive.info')
    repo1.files.delete('archive/main/archive.info.copy')
    expect((await ask()).stanzas[0]).toMatchObject({ clusters: [], status: { code: 99 } })
    expect(await text()).toContain('[FileMissingError] unable to open missing file')
  })
})

describe('hints about stanzas', () => {
  const hints = async (stanza: string | undefined, configHints: string[], ...storages: StorageDriver[]) =>
    infoHints(await ask({ stanza }, ...storages), configHints)

  test('list the stanzas that exist when the requested one is in no repository', async () => {
    await fillRepository(repo1, { ...small, stanza: textToBytes('größe') })
    await fillRepository(repo2, { ...small, stanza: 'other' })
    const existing = 'stanzas in the repositories: größe, other'
    expect(await hints('mian', ['no file'], repo1, repo2)).toEqual([existing, 'no file'])
    expect(await hints('main', [], repo1, repo2)).toEqual(['run stanza-create if this stanza is new', existing])
  })

  test('are those of the configuration when no repository has a stanza', async () => {
    expect(await hints(undefined, ['no file'])).toEqual(['no file'])
    expect(await hints('mian', ['no file'])).toEqual(['no file'])
  })

  test('are absent when one repository has the stanza, or cannot be read', async () => {
    await fillRepository(repo1, small)
    expect(await hints('main', ['no file'], repo1, repo2)).toEqual([])
    expect(await hints(undefined, ['no file'], repo1)).toEqual([])
    expect(await hints('mian', ['no file'], repo1, broken)).toEqual([])
  })
})

test('backups of several repositories are listed together in the order of their stop times', async () => {
  await fillRepository(repo1, {
    backups: [
      { label: F1, stop: 100 },
      { label: F2, stop: 300 },
    ],
  })
  await fillRepository(repo2, { backups: [{ label: '20260115-000000F', stop: 200 }] })
  const [stanza] = (await ask({}, repo1, repo2)).stanzas
  expect(stanza?.backups.map(({ repoKey }) => repoKey)).toEqual([1, 2, 1])
})

test('info lists only the first and the last directory of the archive', async () => {
  await fillRepository(repo1, {
    backups: [{ label: F1 }],
    wal: { '15-1': [...segments(1, 3), ...segments(300, 303), ...segments(600, 601)] },
  })
  const listed: string[] = []
  const watched: StorageDriver = {
    ...repo1,
    list: (prefix, options) => {
      listed.push(prefix)
      return repo1.list(prefix, options)
    },
  }
  const [stanza] = (await ask({}, watched)).stanzas
  expect(stanza?.archives[0]).toMatchObject({ min: segment(1), max: segment(601) })
  expect(listed.filter((name) => name.startsWith('archive/'))).toEqual([
    'archive/main/15-1',
    'archive/main/15-1/0000000100000000',
    'archive/main/15-1/0000000100000002',
  ])
})

describe('locks in info', () => {
  const running = (...locks: HeldLock[]) => ({ locksOf: () => locks })
  beforeEach(async () => {
    await fillRepository(repo1, small)
    await fillRepository(repo2, small)
  })

  test('show a running backup with its progress', async () => {
    const lock = { type: 'backup', repoKey: 1, sz: 3_159_000, szCplt: 1_754_830 } as const
    expect(await statusLines(running(lock, { type: 'backup' }))).toBe(
      'stanza: main\n    status: ok (backup/expire running - 55.55% complete)',
    )
    expect(await json(running(lock, { type: 'backup' }))).toContain(
      '"lock":{"backup":{"held":true,"repo":[{"key":1,"size":3159000,"size-cplt":1754830}],"size":3159000,"size-cplt":1754830},"restore":{"held":false}}',
    )
  })

  test('show two backups and a restore', async () => {
    const locks = [
      { type: 'backup', repoKey: 1, sz: 100, szCplt: 50 },
      { type: 'backup', repoKey: 2, sz: 300, szCplt: 300 },
      { type: 'restore', repoKey: 2, sz: 1000, szCplt: 1 },
    ] as const
    expect(await statusLines(running(...locks), repo1, repo2)).toBe(
      'stanza: main\n    status: ok (backup/expire running - 87.50% complete, restore running - 0.10% complete)\n' +
        '        repo1 backup: 50.00% complete\n        repo2 backup: 100.00% complete',
    )
  })

  test('show a backup of pgbackrest 2.45, which has no repository number, and an expire, which has no progress', async () => {
    expect(await statusLines(running({ type: 'backup' }))).toBe('stanza: main\n    status: ok (backup/expire running)')
    expect(await statusLines(running({ type: 'backup', pctCplt: 6892 }))).toBe(
      'stanza: main\n    status: ok (backup/expire running - 68.92% complete)',
    )
    expect(await json(running({ type: 'backup', pctCplt: 6892 }))).toContain('"lock":{"backup":{"held":true},')
  })

  test('of other types and other repositories are ignored', async () => {
    const locks = [{ type: 'archive' }, { type: 'backup', repoKey: 7 }] as const
    expect(await statusLines(running(...locks))).toBe('stanza: main\n    status: ok')
  })

  test('are shown by --detail-level=progress without reading the repository', async () => {
    repo1.files.set('backup/main/backup.info', { bytes: Buffer.from('nonsense'), mtimeMs: 0 })
    repo1.files.delete('backup/main/backup.info.copy')
    const request = { detail: 'progress', ...running({ type: 'restore', repoKey: 1 }) } as const
    expect(await text(request)).toBe('stanza: main\n    status: ok (restore running)\n')
    expect(await json(request)).toBe(
      '[{"name":"main","status":{"code":0,"lock":{"backup":{"held":false},"restore":{"held":true}},"message":"ok"}}]',
    )
  })
})

/** As `date` shows it, in the local time of the test. */
function time(epochSeconds: number): string {
  const date = new Date(epochSeconds * 1000)
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString()
  const zone = /GMT([+-]\d\d)(\d\d)/.exec(date.toString())!
  return `${local.slice(0, 10)} ${local.slice(11, 19)}${zone[1]}${zone[2] === '00' ? '' : `:${zone[2]}`}`
}
