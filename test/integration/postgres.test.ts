import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  beginBackup,
  checkControlReached,
  currentWalSegment,
  listDatabases,
  listTablespaces,
  serverTimeMs,
  switchWal,
} from '../../src/postgres/backup-session.ts'
import {
  archiveLibraryHint,
  checkServerMatches,
  connectServer,
  type ServerConnection,
} from '../../src/postgres/client.ts'
import {
  CONTROL_FILE_NAME,
  invalidateCheckpoint,
  isCheckpointInvalidated,
  readControlFile,
  zeroTailed,
} from '../../src/postgres/control-file.ts'
import { listDataDirectory, type DataDirectoryListing } from '../../src/postgres/data-directory.ts'
import { localFiles } from '../../src/postgres/local-files.ts'
import { parseLsn } from '../../src/util/lsn.ts'
import { postgresVersion, tablespaceDirectory } from '../../src/postgres/versions.ts'
import { parseWalHeader } from '../../src/postgres/wal-header.ts'
import { isPgtsError, type PgtsError } from '../../src/util/error.ts'
import { silentLogger } from '../../src/util/log.ts'
import {
  giveToTestUser,
  makeTestDir,
  SERVER_VERSIONS,
  startCluster,
  type Cluster,
} from '../support/postgres/postgres.ts'
import { until } from '../support/until.ts'

function connect(
  cluster: Cluster,
  options: Partial<Parameters<typeof connectServer>[0]> = {},
): Promise<ServerConnection> {
  return connectServer({
    socketPath: cluster.socketDir,
    port: cluster.port,
    database: 'postgres',
    user: cluster.user,
    dataDirectory: cluster.dataDir,
    command: 'backup',
    timeoutMs: 20_000,
    env: {},
    ...options,
  })
}

async function failure(work: Promise<unknown>): Promise<PgtsError> {
  const error = await work.then(
    () => new Error('nothing failed'),
    (error: unknown) => error,
  )
  if (!isPgtsError(error)) throw error
  return error
}

const files = localFiles()

describe.each(SERVER_VERSIONS)('PostgreSQL %i', (version) => {
  let cluster: Cluster
  let tablespaceDir: string
  const postgres = postgresVersion(String(version))

  beforeAll(async () => {
    cluster = await startCluster({
      version,
      walSegsizeMb: version === 14 ? 1 : 16,
      dataChecksums: version !== 16,
      conf: { archive_mode: 'on', archive_command: `test -n "it's %p"`, archive_timeout: '77s', log_statement: 'all' },
    })
    tablespaceDir = makeTestDir('tablespace')
    await cluster.query(`create tablespace "space äöü" location '${tablespaceDir}'`)
    await cluster.query('create database "123"')
    await cluster.query('create database "größe"')
    await cluster.query('create table moved (id int primary key) tablespace "space äöü"')
    await cluster.query('create unlogged table lost (id int primary key, v text)')
    await cluster.query(`insert into lost select i, repeat('x', 3000) from generate_series(1, 10) i`)
    await cluster.query('vacuum lost')
    await cluster.query('create table kept (id int primary key, v text)')
    await cluster.query('insert into kept select i from generate_series(1, 1000) i')
  })
  afterAll(() => cluster?.stop('immediate'))

  test('readControlFile() returns the values of the server', async () => {
    await cluster.query('checkpoint')
    const control = await readControlFile(files, cluster.dataDir)
    const [row] = await cluster.query(
      `select s.system_identifier::text as system, s.pg_control_version as control, s.catalog_version_no as catalog,
         c.checkpoint_lsn::text as checkpoint, c.redo_lsn::text as redo, c.timeline_id as timeline,
         i.database_block_size as page, i.blocks_per_segment as blocks, i.bytes_per_wal_segment as wal,
         i.data_page_checksum_version as checksums
       from pg_control_system() s, pg_control_checkpoint() c, pg_control_init() i`,
    )
    expect(control).toMatchObject({
      version: String(version),
      state: 'in-production',
      systemId: BigInt(row!['system'] as string),
      controlVersion: row!['control'],
      catalogVersion: row!['catalog'],
      checkpointLsn: parseLsn(row!['checkpoint'] as string),
      redoLsn: parseLsn(row!['redo'] as string),
      timeline: row!['timeline'],
      pageSize: row!['page'],
      segmentBlocks: row!['blocks'],
      walSegmentSize: row!['wal'],
      dataChecksumVersion: row!['checksums'],
    })
    expect(control.dataChecksumVersion).toBe(version === 16 ? 0 : 1)
  })

  test('connectServer() reads the facts of the server in a session with safe settings', async () => {
    await cluster.query(`alter role postgres set search_path = public`)
    await using server = await connect(cluster)
    expect(server.facts).toMatchObject({
      postgres: { version: String(version) },
      dataDirectory: cluster.dataDir,
      archiveMode: 'on',
      archiveCommand: `test -n "it's %p"`,
      archiveLibrary: '',
      archiveTimeoutMs: 77_000,
      checkpointTimeoutMs: 300_000,
      walSegmentSize: version === 14 ? 1024 * 1024 : 16 * 1024 * 1024,
      inRecovery: false,
    })
    const [row] = await server.query<Record<string, string>>(
      `select current_setting('application_name') as name, current_setting('search_path') as path,
         current_setting('max_parallel_workers_per_gather') as workers, current_setting('statement_timeout') as timeout`,
    )
    expect(row).toEqual({ name: 'pgts [backup]', path: 'pg_catalog', workers: '0', timeout: '20s' })
    await server.ping()
    expect(Math.abs((await serverTimeMs(server)) - Date.now())).toBeLessThan(5_000)
  })

  test('timeouts of the role and of the database do not apply to the session', async () => {
    const known = await cluster.query(`select name from pg_settings where name like '%\\_timeout' and context = 'user'`)
    const names = known.map(({ name }) => String(name)).filter((name) => !/^(tcp|wal)_/.test(name))
    await cluster.query('create role hurried superuser login')
    for (const name of names) {
      await cluster.query(`alter role hurried set ${name} = '900ms'`)
      await cluster.query(`alter role hurried in database postgres set ${name} = '800ms'`)
    }
    await using server = await connect(cluster, { user: 'hurried' })
    const settings = await server.query<{ name: string; setting: string }>(
      `select name, setting from pg_settings where name = any($1) order by name`,
      [names],
    )
    expect(settings).toEqual(
      [...names].sort().map((name) => ({ name, setting: name === 'statement_timeout' ? '20000' : '0' })),
    )
    expect(names.includes('transaction_timeout')).toBe(version >= 17)
    // Longer than all timeouts, in a transaction and between two.
    expect(await server.query('select pg_sleep(1)::text')).toHaveLength(1)
    await sleep(1000)
    await server.ping()
  })

  test('databases and tablespaces are listed with the bytes of their names', async () => {
    await using server = await connect(cluster)
    const databases = await listDatabases(server)
    expect(databases.map((database) => database.name)).toEqual([
      '123',
      'gr\xc3\xb6\xc3\x9fe',
      'postgres',
      'template0',
      'template1',
    ])
    const template0 = databases.find((database) => database.name === 'template0')!
    expect(databases.every((database) => database.lastSystemOid === template0.oid)).toBe(true)
    const tablespaces = await listTablespaces(server)
    expect([...tablespaces.values()]).toEqual(
      expect.arrayContaining(['pg_default', 'pg_global', 'space \xc3\xa4\xc3\xb6\xc3\xbc']),
    )
  })

  test('a backup session begins and finishes', async () => {
    await using server = await connect(cluster)
    await using session = await beginBackup(server, { startFast: true })
    expect(session.start.walFile).toMatch(/^00000001[0-9A-F]{16}$/)
    const control = await readControlFile(files, cluster.dataDir)
    checkControlReached(control, session.start)
    expect(() => checkControlReached({ ...control, checkpointLsn: 1n }, session.start)).toThrow(/before the start/)
    expect(() => checkControlReached({ ...control, timeline: 7 }, session.start)).toThrow(/timeline/)
    await cluster.query('insert into kept select i from generate_series(2001, 3000) i')
    const stop = await session.finish()
    expect(parseLsn(stop.lsn)).toBeGreaterThan(parseLsn(session.start.lsn))
    expect(stop.walFile >= session.start.walFile).toBe(true)
    const label = stop.backupLabel.split('\n')
    expect(label[0]).toBe(`START WAL LOCATION: ${session.start.lsn} (file ${session.start.walFile})`)
    expect(stop.backupLabel).toMatch(/^LABEL: pgts backup started at \d{4}-/m)
    expect(stop.tablespaceMap).toMatch(new RegExp(`^\\d+ ${tablespaceDir}\n$`))
    // The end of the backup switched to a new segment, and the header of the old one is valid.
    expect((await currentWalSegment(server)) > stop.walFile).toBe(true)
    const header = parseWalHeader(readFileSync(join(cluster.dataDir, 'pg_wal', stop.walFile)).subarray(0, 512))
    expect(header).toMatchObject({
      version: String(version),
      systemId: control.systemId,
      timeline: 1,
      segmentSize: control.walSegmentSize,
    })
  })

  test('a WAL switch returns the name of the segment that it closed', async () => {
    await using server = await connect(cluster)
    const before = await currentWalSegment(server)
    expect(await switchWal(server)).toBe(before)
    const log = cluster.log()
    expect(log).toContain('pgts archive check')
  })

  test('backup mode ends when the block of a backup session is left, by success or error', async () => {
    // The server detects a closed connection a moment later; a statement that is not cancelled takes 30 s.
    const untilEnded = () => {
      const sql = `select pid from pg_stat_activity where application_name = 'pgts [backup]'`
      return until('the end of the sessions', async () => (await cluster.query(sql)).length === 0, {
        deadlineMs: 20_000,
      })
    }
    {
      await using server = await connect(cluster)
      await using _session = await beginBackup(server, { startFast: true })
    }
    await untilEnded()

    // Terminated by the administrator: the next statement reports it.
    const server = await connect(cluster)
    const session = await beginBackup(server, { startFast: true })
    await cluster.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgts [backup]'`,
    )
    const error = await failure(session.finish())
    expect(error.code).toBe('db-query')
    expect(error.hints.length).toBeGreaterThan(0)
    await session[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
    await untilEnded()

    // Aborted while the server performs a slow checkpoint.
    const controller = new AbortController()
    const interrupted = await connect(cluster, { signal: controller.signal })
    const sleeping = interrupted.query('select pg_sleep(30)')
    const reason = new Error('^C')
    setTimeout(() => controller.abort(reason), 50)
    await expect(sleeping).rejects.toBe(reason)
    await interrupted[Symbol.asyncDispose]()
    await untilEnded()
    await using again = await connect(cluster)
    await using begun = await beginBackup(again, { startFast: true })
    expect((await begun.finish()).backupLabel).toContain('START WAL LOCATION')
  })

  test('the list of a running data directory has the files that a restore needs, and no others', async () => {
    await using server = await connect(cluster)
    const temporary = await cluster.client()
    await temporary.query('create temporary table gone as select i from generate_series(1, 1000) i')
    const relationPath = async (name: string) =>
      (await temporary.query(`select pg_relation_filepath('${name}') as p`)).rows[0].p as string
    const [unlogged, unloggedIndex, kept, gone, moved] = [
      await relationPath('lost'),
      await relationPath('lost_pkey'),
      await relationPath('kept'),
      await relationPath('gone'),
      await relationPath('moved'),
    ]
    const outside = makeTestDir('outside')
    writeFileSync(join(outside, 'extra.conf'), '')
    symlinkSync(join(outside, 'extra.conf'), join(cluster.dataDir, 'extra.conf'))
    mkdirSync(join(cluster.dataDir, 'base', 'pgsql_tmp'), { recursive: true })
    writeFileSync(join(cluster.dataDir, 'base', 'pgsql_tmp', 'pgsql_tmp1.0'), 'x')
    writeFileSync(join(cluster.dataDir, 'pg_stat_tmp', 'x'), 'x')
    writeFileSync(join(cluster.dataDir, 'postgresql.auto.conf.tmp'), 'x')
    writeFileSync(Buffer.from(join(cluster.dataDir, 'custom\xff.txt'), 'latin1'), 'x')
    giveToTestUser(cluster.dataDir)
    await cluster.query('checkpoint')
    // The files that are excluded below exist.
    for (const name of [unlogged, `${unlogged}_fsm`, `${unlogged}_vm`, gone, 'global/pg_internal.init']) {
      expect(existsSync(join(cluster.dataDir, name)), name).toBe(true)
    }

    const list = async (online: boolean): Promise<DataDirectoryListing> =>
      listDataDirectory(files, cluster.dataDir, {
        postgres,
        online,
        tablespaces: await listTablespaces(server),
        log: silentLogger,
      })
    const listing = await list(true)
    const byName = new Map([...listing.files].map((file) => [file.name, file]))
    const has = (relation: string) => byName.has(`pg_data/${relation}`)

    expect(has(kept)).toBe(true)
    expect([has(unlogged), has(`${unlogged}_fsm`), has(`${unlogged}_vm`), has(`${unlogged}_init`)]).toEqual([
      false,
      false,
      false,
      true,
    ])
    expect([has(unloggedIndex), has(`${unloggedIndex}_init`)]).toEqual([false, true])
    expect(gone).toMatch(/\/t\d+_\d+$/)
    expect(has(gone)).toBe(false)
    expect(byName.get(moved)).toMatchObject({ sizeLimited: true, pageChecksumApplies: true })
    expect(byName.get('pg_data/global/pg_control')).toMatchObject({
      sizeBytes: 8192,
      sizeLimited: false,
      pageChecksumApplies: false,
    })
    expect(byName.get(`pg_data/${kept}`)).toMatchObject({ sizeLimited: true, pageChecksumApplies: true })
    expect(byName.get('pg_data/postgresql.conf')).toMatchObject({ sizeLimited: false, pageChecksumApplies: false })
    expect(byName.get('pg_data/custom\xff.txt')).toMatchObject({ sizeBytes: 1 })
    expect(byName.get('pg_data/extra.conf')).toMatchObject({ sizeBytes: 0 })
    for (const name of byName.keys()) {
      expect(name).not.toMatch(
        /pgsql_tmp|pg_internal\.init|postmaster|auto\.conf\.tmp|pg_wal\/0|pg_stat_tmp\/|archive_status\//,
      )
    }
    const paths = listing.paths.map((path) => path.name)
    const space = `pg_tblspc/${moved.split('/')[1]}`
    expect(paths).toEqual(
      expect.arrayContaining([
        'pg_data',
        'pg_data/pg_wal',
        'pg_data/pg_wal/archive_status',
        'pg_data/pg_stat_tmp',
        'pg_data/pg_replslot',
        'pg_data/pg_tblspc',
        'pg_tblspc',
        space,
        `${space}/${tablespaceDirectory(postgres)}`,
      ]),
    )
    if (version >= 17) expect(paths).toContain('pg_data/pg_wal/summaries')
    expect(listing.links).toEqual([
      expect.objectContaining({ name: 'pg_data/extra.conf', destination: join(outside, 'extra.conf') }),
      expect.objectContaining({ name: `pg_data/${space}`, destination: tablespaceDir }),
    ])
    expect(listing.targets).toEqual([
      { name: 'pg_data', type: 'path', path: cluster.dataDir },
      { name: 'pg_data/extra.conf', type: 'link', path: outside, file: 'extra.conf' },
      {
        name: space,
        type: 'link',
        path: tablespaceDir,
        tablespaceId: space.slice(10),
        tablespaceName: 'space \xc3\xa4\xc3\xb6\xc3\xbc',
      },
    ])
    for (const names of [[...listing.files], listing.paths, listing.links, listing.targets]) {
      const sorted = names.map((entry) => Buffer.from(entry.name, 'latin1'))
      expect([...sorted].sort(Buffer.compare)).toEqual(sorted)
    }
    const offline = [...(await list(false)).files].map((file) => file.name)
    expect(offline.some((name) => /^pg_data\/pg_wal\/[0-9A-F]{24}$/.test(name))).toBe(true)
    await temporary.end()
  })

  test('a server does not start from an invalidated pg_control', async () => {
    await cluster.stop()
    const path = join(cluster.dataDir, CONTROL_FILE_NAME)
    const stored = readFileSync(path)
    const control = await readControlFile(files, cluster.dataDir)
    expect(control.state).toBe('shut-down')
    expect(zeroTailed(control.bytes).equals(stored)).toBe(true)
    writeFileSync(path, invalidateCheckpoint(stored))
    expect(isCheckpointInvalidated(await readControlFile(files, cluster.dataDir))).toBe(true)
    await expect(cluster.start()).rejects.toThrow(/checkpoint/)
    writeFileSync(path, stored)
    await cluster.start()
  })
})

describe('an error of a connection has a hint:', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster({ version: 15 })
    await cluster.query('create role limited login')
    await cluster.query('create role operator login in role pg_read_all_settings')
  })
  afterAll(() => cluster?.stop('immediate'))

  test('a stopped server, a wrong port, an unknown role, an unknown database', async () => {
    const none = await failure(connect(cluster, { socketPath: makeTestDir('empty'), dataDirectory: '/nowhere' }))
    expect(none).toMatchObject({ code: 'db-connect', exitCode: 56 })
    expect(none.hints).toContain('check that PostgreSQL is running')
    const port = await failure(connect(cluster, { port: 5999 }))
    expect(port.hints.join()).toContain('contains port 5432')
    expect((await failure(connect(cluster, { user: 'nobody_here' }))).message).toMatch(
      /role "nobody_here" does not exist/,
    )
    const database = await failure(connect(cluster, { database: 'nowhere' }))
    expect(database.hints.join()).toContain('pg1-database')
  })

  test('the socket directory is found in postmaster.pid', async () => {
    const { socketPath: _, ...withoutSocket } = {
      socketPath: undefined,
      port: cluster.port,
      database: 'postgres',
      user: 'postgres',
      dataDirectory: cluster.dataDir,
      command: 'check',
      timeoutMs: 10_000,
      env: {},
    }
    await using server = await connectServer(withoutSocket)
    expect(server.facts.dataDirectory).toBe(cluster.dataDir)
  })

  test('a server of another data directory', async () => {
    await using server = await connect(cluster)
    checkServerMatches(server.facts, { dataDirectory: cluster.dataDir, version: '15' })
    for (const other of [
      { dataDirectory: '/elsewhere', version: '15' },
      { dataDirectory: cluster.dataDir, version: '16' },
    ]) {
      expect(() => checkServerMatches(server.facts, other)).toThrow(
        expect.objectContaining({ code: 'db-mismatch', exitCode: 58 }),
      )
    }
  })

  test('an archive_library that replaces archive_command', async () => {
    await cluster.query(`alter system set archive_library = 'basic_archive'`)
    await cluster.query('select pg_reload_conf()')
    await using server = await connect(cluster)
    expect(server.facts).toMatchObject({ archiveLibrary: 'basic_archive', archiveMode: 'off', archiveCommand: '' })
    expect(archiveLibraryHint(server.facts)).toContain('basic_archive')
    await cluster.query('alter system reset archive_library')
  })

  test('an invalid socket path', async () => {
    expect(await failure(connect(cluster, { socketPath: '@abstract' }))).toMatchObject({ code: 'option-invalid-value' })
  })

  test('a role without privileges', async () => {
    const settings = await failure(connect(cluster, { user: 'limited' }))
    expect(settings).toMatchObject({ code: 'db-query', exitCode: 57 })
    expect(settings.hints.join()).toContain('pg_read_all_settings')
    await using server = await connect(cluster, { user: 'operator' })
    const begin = await failure(beginBackup(server, { startFast: true }))
    expect(begin).toMatchObject({ code: 'db-query' })
    expect(begin.message).toContain('permission denied for function pg_backup_start')
    expect(begin.hints.join()).toContain('execute')
  })

  test('a statement timeout', async () => {
    // Long enough for the statements that read the facts of the server.
    await using server = await connect(cluster, { timeoutMs: 2_000 })
    const late = await failure(server.query('select pg_sleep(20)'))
    expect(late.code).toBe('db-query')
    expect(late.hints.join()).toContain('db-timeout')
    // The connection is still usable, and one statement may have a longer timeout.
    expect(await server.query('select pg_sleep(2.5)::text', [], { timeoutMs: 20_000 })).toHaveLength(1)
    expect((await failure(server.query('select pg_sleep(20)'))).hints.join()).toContain('db-timeout')
  })

  test('a server that stops', async () => {
    await using server = await connect(cluster)
    await cluster.restart('immediate')
    const gone = await failure(server.query('select 1'))
    expect(gone.code).toBe('db-query')
    await using again = await connect(cluster)
    await again.ping()
    await cluster.stop()
    const down = await failure(connect(cluster))
    expect(down).toMatchObject({ code: 'db-connect' })
  })
})
