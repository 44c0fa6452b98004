import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  giveToTestUser,
  isInstalled,
  makeTestDir,
  type RunResult,
  serverBinaries,
} from '../support/postgres/postgres.ts'
import { aSite, type Site, type SiteOptions } from '../support/sites/site.ts'
import { objectStores } from '../support/stores/object-stores.ts'
import { until } from '../support/until.ts'

/** Members of the report that a test looks at. */
interface Report {
  readonly result: string
  readonly label: string
  readonly postgres?: string
  readonly replayLsn?: string
  readonly lastCommitMs?: number
  readonly kept?: string
  readonly problem?: { readonly code: number; readonly message: string }
  readonly durations: { readonly restoreMs: number; readonly recoveryMs: number; readonly totalMs: number }
  readonly checks: readonly { readonly name: string; readonly result: string; readonly detail?: string }[]
}

/** A site whose drills restore to a directory of their own. */
class DrillSite {
  readonly scratch = join(makeTestDir('drill'), 'd')
  private constructor(readonly site: Site) {}

  static async create(options: SiteOptions = {}): Promise<DrillSite> {
    const drills = new DrillSite(await aSite({ walSegsizeMb: 1, ...options }))
    await drills.site.pgtsOk('stanza-create')
    return drills
  }

  get directory(): string {
    return join(this.scratch, 'main')
  }

  run(...args: string[]): Promise<RunResult> {
    return this.site.pgts([`--drill-path=${this.scratch}`, ...args, 'drill'])
  }

  /** @returns the report, and the exit code */
  async report(...args: string[]): Promise<Report & { readonly code: number | null }> {
    const { code, stdout, stderr } = await this.run('--output=json', ...args)
    if (stdout === '') throw new Error(`no report: ${stderr}`)
    return { ...(JSON.parse(stdout) as Report), code }
  }

  /** The records in the repository, oldest first. */
  records(): readonly (Report & { readonly version: number })[] {
    const directory = join(this.site.repo, 'pgts/main/drill')
    const names = existsSync(directory) ? readdirSync(directory).sort() : []
    return names.map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as Report & { version: number })
  }

  /** Writes a file for --sql. */
  sql(text: string): string {
    const path = join(makeTestDir('sql'), 'checks.sql')
    writeFileSync(path, text)
    return path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.site[Symbol.asyncDispose]()
  }
}

const DEBIAN = '/usr/lib/postgresql/15/bin'
const hasPrograms = isInstalled(`${DEBIAN}/pg_amcheck`)
const resultsOf = ({ checks }: Report) => Object.fromEntries(checks.map(({ name, result }) => [name, result]))

describe('a drill of PostgreSQL 15', () => {
  let drills: DrillSite
  let lsn: string
  beforeAll(async () => {
    drills = await DrillSite.create()
    const { cluster } = drills.site
    await cluster.query('create extension amcheck')
    await cluster.query('create table orders as select i as id from generate_series(1, 10000) i')
    await cluster.query('alter table orders add primary key (id)')
    await drills.site.pgtsOk('--type=full', 'backup')
    await cluster.query('insert into orders values (0)')
    lsn = String((await cluster.query('select pg_current_wal_insert_lsn()::text as lsn'))[0]?.['lsn'])
    await cluster.query('delete from orders')
    await drills.site.pgtsOk('check')
  }, 120_000)
  afterAll(() => drills?.[Symbol.asyncDispose]())

  test('restores, recovers, checks, records and leaves nothing', { timeout: 120_000 }, async () => {
    const spool = join(drills.site.dir, 'spool')
    const before = [readdirSync(spool), archived(drills.site)]
    const sql = drills.sql('-- orders are there\nselect count(*) = 10000 from orders;\nselect pg_is_in_recovery();\n')
    const report = await drills.report(`--sql=${sql}`, `--binaries=${hasPrograms ? DEBIAN : serverBinaries(15)}`)
    expect(report).toMatchObject({ code: 0, result: 'passed' })
    expect(report.checks.map(({ name, result, detail }) => ({ name, result, detail }))).toEqual([
      { name: 'databases', result: 'passed', detail: 'postgres, template1' },
      hasPrograms
        ? { name: 'amcheck', result: 'passed', detail: 'postgres' }
        : { name: 'amcheck', result: 'skipped', detail: expect.stringContaining('pg_amcheck') as string },
      { name: 'sql', result: 'passed', detail: 'orders are there' },
      { name: 'sql', result: 'passed', detail: 'select pg_is_in_recovery()' },
      { name: 'pages', result: 'passed', detail: hasPrograms ? 'pg_checksums' : expect.any(String) },
    ])
    expect(report.postgres).toMatch(/^15\.\d+$/)
    expect(existsSync(drills.directory)).toBe(false)
    // Nothing was archived, and the spool of production was not used.
    expect([readdirSync(spool), archived(drills.site)]).toEqual(before)
    const { code: _, ...shown } = report
    expect(drills.records().at(-1)).toMatchObject({ version: 1, label: shown.label, checks: shown.checks })
  })

  test('recovers to a target, and reports the last commit that was replayed', { timeout: 120_000 }, async () => {
    const sql = drills.sql('select count(*) = 10001 from orders')
    const report = await drills.report('--type=lsn', `--target=${lsn}`, `--sql=${sql}`)
    expect(report).toMatchObject({ code: 0, result: 'passed', type: 'lsn', target: lsn })
    expect(report.lastCommitMs).toBeGreaterThan(Date.now() - 600_000)
  })

  test('fails with 81 and names the statement, when a statement is not true', { timeout: 120_000 }, async () => {
    const sql = drills.sql(
      '-- enough orders\nselect count(*) > 1000000 from orders;\nselect true, false;\nselect true where false;\ndrop table orders;\n\\c nowhere\nselect true;',
    )
    const { code, stdout } = await drills.run(`--sql=${sql}`)
    expect(code).toBe(81)
    expect(stdout).toContain('[081]: backup ')
    for (const line of [
      'sql: enough orders (line 2): it returned false',
      'sql: select true, false (line 3): it returned false',
      'sql: select true where false (line 4): it returned no value',
      'read-only transaction',
      'database "nowhere" does not exist',
    ])
      expect(stdout).toContain(line)
    expect(drills.records().at(-1)).toMatchObject({ result: 'failed' })
  })

  test('shows the last drill in info and metrics, which pgbackrest does not notice', { timeout: 120_000 }, async () => {
    await drills.report()
    const { stdout } = await drills.site.pgtsOk('info')
    expect(stdout).toMatch(
      /^ {4}last drill: passed \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00, restore [\d.]+s, recovery [\d.]+s$/m,
    )
    const [stanza] = JSON.parse((await drills.site.pgtsOk('--output=json', 'info')).stdout) as [{ drill: unknown }]
    expect(stanza.drill).toMatchObject({ result: 'passed', type: 'immediate', target: null, 'repo-key': 1 })
    const metrics = (await drills.site.pgtsOk('metrics')).stdout
    expect(metrics).toContain('pgts_drill_last_passed{repo_key="1",stanza="main"} 1\n')
    expect(metrics).toMatch(/^pgts_drill_restore_seconds\{repo_key="1",stanza="main"\} [\d.]+$/m)

    expect((await drills.site.pgbackrestOk('info')).stdout).not.toContain('drill')
    await drills.site.pgbackrestOk('--repo1-retention-full=9', 'expire')
    expect(drills.records().length).toBeGreaterThan(0)
  })

  test('refuses a directory with other files, and one that overlaps with cluster or repository', async () => {
    const { cluster, repo } = drills.site
    for (const [path, says] of [
      [cluster.dataDir, 'overlaps with'],
      [join(repo, 'drills'), 'overlaps with'],
    ] as const) {
      const refused = await drills.site.pgts([`--drill-path=${path}`, 'drill'])
      expect(refused).toMatchObject({ code: 31, stdout: expect.stringContaining(says) as string })
    }
    mkdirSync(drills.directory, { recursive: true })
    writeFileSync(join(drills.directory, 'mine'), '')
    giveToTestUser(drills.scratch)
    const refused = await drills.run()
    expect(refused).toMatchObject({
      code: 40,
      stdout: expect.stringContaining('files that are not of a drill') as string,
    })
    rmSync(drills.directory, { recursive: true })
  })

  test('keeps the cluster with --keep, and the next drill refuses its directory', { timeout: 120_000 }, async () => {
    const { kept = '', code } = await drills.report('--keep', '--random')
    expect([code, kept]).toEqual([0, join(drills.directory, 'data')])
    expect(readFileSync(join(kept, 'PG_VERSION'), 'utf8')).toBe('15\n')
    expect(existsSync(join(kept, 'postmaster.pid'))).toBe(false)
    expect(await drills.run()).toMatchObject({ code: 40 })
    rmSync(drills.directory, { recursive: true })
  })

  test('ends with another code than 81 when it cannot run, and records that', { timeout: 60_000 }, async () => {
    const refused = await drills.run('--binaries=/nowhere')
    expect(refused).toMatchObject({ code: 55, stdout: expect.stringContaining('no server of PostgreSQL 15') as string })
    expect(drills.records().at(-1)).toMatchObject({ result: 'error', problem: { code: 55 } })
    expect(existsSync(drills.directory)).toBe(false)
  })

  test('does not take a restore_command that fails for a fault of the backup', { timeout: 60_000 }, async () => {
    const refused = await drills.run('--recovery-option=restore_command=/no/such/command')
    expect(refused).toMatchObject({ code: 200, stdout: expect.stringContaining('could not restore file') as string })
    expect(drills.records().at(-1)).toMatchObject({ result: 'error', problem: { code: 200 } })
    expect(existsSync(drills.directory)).toBe(false)
  })

  // After this the backups of the site are corrupt.
  test('fails with 81 when a page of the backup is corrupt', { timeout: 240_000 }, async () => {
    const { cluster } = drills.site
    await cluster.query('create table torn as select i as id from generate_series(1, 5000) i')
    await cluster.query('checkpoint')
    const [{ path } = { path: '' }] = await cluster.query("select pg_relation_filepath('torn') as path")
    await cluster.stop()
    const file = join(cluster.dataDir, String(path))
    const bytes = readFileSync(file)
    bytes[8192 + 4000]! ^= 0xff
    writeFileSync(file, bytes)
    await cluster.start()
    await drills.site.pgtsOk('--type=full', 'backup')
    // By pg_checksums and by pgts.
    for (const binaries of new Set([hasPrograms ? DEBIAN : serverBinaries(15), serverBinaries(15)])) {
      const report = await drills.report(`--binaries=${binaries}`)
      expect(report).toMatchObject({ code: 81, result: 'failed' })
      expect(resultsOf(report)['pages']).toBe('failed')
      expect(report.checks.at(-1)?.detail).toContain('1 pages')
    }
  })

  test('fails with 81 when a file of the backup is corrupt or missing', { timeout: 240_000 }, async () => {
    const base = join(drills.site.repo, 'backup/main/latest/pg_data/base')
    const files = readdirSync(base, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.gz'))
    const file = join(base, files[0]!)
    const bytes = readFileSync(file)
    writeFileSync(file, bytes.subarray(0, bytes.length - 9))
    const corrupt = await drills.report()
    expect(corrupt).toMatchObject({
      code: 81,
      result: 'failed',
      problem: { message: expect.stringContaining(files[0]!) as string },
    })
    rmSync(file)
    expect(await drills.report()).toMatchObject({ code: 81, result: 'failed', problem: { code: 55 } })
    writeFileSync(file, bytes)
    giveToTestUser(base)
  })

  test('fails with 81 when WAL of the backup is missing', { timeout: 60_000 }, async () => {
    const info = JSON.parse((await drills.site.pgtsOk('--output=json', 'info')).stdout) as [
      { backup: { archive: { start: string } }[] },
    ]
    const { start } = info[0].backup.at(-1)!.archive
    const id = join(drills.site.repo, 'archive/main/15-1', start.slice(0, 16))
    for (const name of readdirSync(id)) if (name.startsWith(start)) rmSync(join(id, name))
    expect(await drills.report()).toMatchObject({ code: 81, result: 'failed', problem: { code: 75 } })
  })
})

/** What the tests of kills wait for. */
class Held {
  constructor(
    readonly drills: DrillSite,
    readonly pid: number,
    readonly ended: Promise<RunResult>,
  ) {}

  /** Starts a drill and waits until `reached`. */
  static async begin(drills: DrillSite, args: readonly string[], reached: () => boolean): Promise<Held> {
    const started = withResolvers<number>()
    const ended = drills.site.pgts([`--drill-path=${drills.scratch}`, ...args, 'drill'], { onStart: started.resolve })
    const held = new Held(drills, await started.promise, ended)
    await until('the drill', reached)
    return held
  }

  /** Of pgts, its launcher and its children, but not of the server. */
  async end(signal: NodeJS.Signals): Promise<RunResult> {
    process.kill(-this.pid, signal)
    return this.ended
  }
}

function withResolvers<T>() {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((fulfil) => (resolve = fulfil))
  return { promise, resolve }
}

/** Process id of the server in this directory, if it runs. */
function serverIn(directory: string): number | undefined {
  const path = join(directory, 'data/postmaster.pid')
  if (!existsSync(path)) return undefined
  const pid = Number(readFileSync(path, 'utf8').split('\n')[0])
  return Number.isInteger(pid) && pid > 0 && isRunning(pid) ? pid : undefined
}

function isRunning(pid: number): boolean {
  const path = `/proc/${pid}/stat`
  return existsSync(path) && !/\) Z /.test(readFileSync(path, 'latin1'))
}

const ENCRYPTED = { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'only in tests' }

describe('a drill of PostgreSQL 17, encrypted, with a tablespace and a subscription', () => {
  let drills: DrillSite
  let publisher: Server
  let connections = 0
  const location = makeTestDir('tablespace')
  beforeAll(async () => {
    drills = await DrillSite.create({
      version: 17,
      options: { ...ENCRYPTED, 'archive-async': 'y' },
      conf: {
        max_logical_replication_workers: '0',
        // More than the defaults: a server with less does not accept connections during recovery.
        max_connections: '130',
        max_worker_processes: '21',
        max_prepared_transactions: '7',
        max_locks_per_transaction: '99',
      },
    })
    const { cluster } = drills.site
    const directory = makeTestDir('publisher')
    publisher = createServer((socket) => {
      connections++
      socket.destroy()
    }).listen(join(directory, '.s.PGSQL.5999'))
    await cluster.query(`create tablespace far location '${location}'`)
    await cluster.query('create table t tablespace far as select i as id from generate_series(1, 5000) i')
    await cluster.query(
      `create subscription s connection 'host=${directory} port=5999' publication p with (connect = false, slot_name = 'x')`,
    )
    await cluster.query('alter subscription s enable')
    await cluster.query('create database other')
    await cluster.query("alter database other set session_preload_libraries = 'no_such_library'")
    // Not of the drill: its server would not start with this library.
    await cluster.query("alter system set shared_preload_libraries = 'no_such_library'")
    await drills.site.pgtsOk('backup')
  }, 120_000)
  afterAll(async () => {
    publisher?.close()
    await drills?.[Symbol.asyncDispose]()
  })

  test('restores the tablespace below its directory, and starts no subscription', { timeout: 120_000 }, async () => {
    const before = treeOf(location)
    const sql = drills.sql(`
      select count(*) = 5000 from t;
      -- its location
      select pg_tablespace_location(oid) = '${drills.directory}/tablespaces/far' from pg_tablespace where spcname = 'far';
      select subenabled from pg_subscription;
      select count(*) = 0 from pg_stat_activity where backend_type like 'logical%';
      select setting = 'off' from pg_settings where name in ('archive_mode', 'autovacuum');
      select setting = '' from pg_settings where name in ('listen_addresses', 'shared_preload_libraries', 'primary_conninfo');
    `)
    const report = await drills.report(`--sql=${sql}`)
    expect(report.checks.filter(({ result }) => result === 'failed')).toEqual([])
    expect(report).toMatchObject({ code: 0, result: 'passed', postgres: expect.stringMatching(/^17\./) as string })
    expect(report.checks.filter(({ name }) => name === 'sql')).toHaveLength(6)
    // A library that this host does not have is no fault of the backup.
    expect(report.checks[0]).toMatchObject({ name: 'databases', result: 'warning' })
    expect(report.checks[0]?.detail).toContain('other: ')
    expect(connections).toBe(0)
    // Although archive-async is on, WAL is not fetched through the spool of production.
    const queue = join(drills.site.dir, 'spool/archive/main/in')
    expect(existsSync(queue) ? readdirSync(queue) : []).toEqual([])
    expect(treeOf(location)).toEqual(before)
    // The record is encrypted, as everything in the repository.
    const [name = ''] = readdirSync(join(drills.site.repo, 'pgts/main/drill'))
    expect(
      readFileSync(join(drills.site.repo, 'pgts/main/drill', name))
        .subarray(0, 8)
        .toString(),
    ).toBe('Salted__')
  })

  test('stops the server and removes everything after Ctrl-C', { timeout: 120_000 }, async () => {
    const sql = drills.sql("select pg_sleep(600)::text = ''")
    const ready = () => isReady(drills.directory)
    const held = await Held.begin(drills, [`--sql=${sql}`], ready)
    const pid = serverIn(drills.directory)!
    const records = recordNames(drills)
    expect(await held.end('SIGINT')).toMatchObject({ code: 63 })
    expect([existsSync(drills.directory), isRunning(pid)]).toEqual([false, false])
    expect(recordNames(drills)).toEqual(records)
  })

  test('ends its server when it is killed, and the next drill removes the files', { timeout: 240_000 }, async () => {
    const sql = drills.sql("select pg_sleep(600)::text = ''")
    const held = await Held.begin(drills, [`--sql=${sql}`], () => isReady(drills.directory))
    const pid = serverIn(drills.directory)!
    // Another drill does not touch the directory of one that runs.
    expect(await drills.run()).toMatchObject({ code: 50, stdout: expect.stringContaining('another drill') as string })
    await held.end('SIGKILL')
    await until('the end of the server', () => !isRunning(pid))
    expect(existsSync(join(drills.directory, 'data/PG_VERSION'))).toBe(true)
    expect(await drills.report()).toMatchObject({ code: 0, result: 'passed' })
    expect(existsSync(drills.directory)).toBe(false)
  })

  test('can be repeated after it was killed while it restored', { timeout: 120_000 }, async () => {
    const held = await Held.begin(drills, [], () => existsSync(join(drills.directory, 'data/backup.manifest')))
    await held.end('SIGKILL')
    expect(await drills.report()).toMatchObject({ code: 0, result: 'passed' })
    expect(existsSync(drills.directory)).toBe(false)
  })
})

const s3 = objectStores.find(({ name }) => name === 's3')!

describe.skipIf(s3.missing !== undefined)('a drill of PostgreSQL 18 from S3', () => {
  test('restores, recovers to a time, and checks pages without programs', { timeout: 240_000 }, async () => {
    const bucket = await s3.bucket()
    await using drills = await DrillSite.create({ version: 18, options: { ...ENCRYPTED, ...bucket.options() } })
    const { cluster } = drills.site
    const location = makeTestDir('tablespace')
    await cluster.query(`create tablespace far location '${location}'`)
    await cluster.query('create table t tablespace far as select i as id from generate_series(1, 5000) i')
    await drills.site.pgtsOk('backup')
    await cluster.query('insert into t values (0)')
    const [{ at } = { at: '' }] = await cluster.query("select (clock_timestamp() + interval '1 second')::text as at")
    await cluster.query('select pg_sleep(2)')
    await cluster.query('delete from t')
    await drills.site.pgtsOk('check')
    const sql = drills.sql('select count(*) = 5001 from t')
    const report = await drills.report('--type=time', `--target=${String(at)}`, `--sql=${sql}`)
    expect(report.checks.filter(({ result }) => result === 'failed')).toEqual([])
    expect(report).toMatchObject({ code: 0, result: 'passed', postgres: expect.stringMatching(/^18\./) as string })
    expect(report.checks.at(-1)).toMatchObject({
      name: 'pages',
      result: 'passed',
      detail: expect.stringMatching(/^\d+ files$/) as string,
    })
    const names = [...(await bucket.objects()).keys()].filter((name) => name.includes('/pgts/main/drill/'))
    expect(names).toHaveLength(1)
  })
})

/** The server accepts connections. */
function isReady(directory: string): boolean {
  const path = join(directory, 'data/postmaster.pid')
  return existsSync(path) && (readFileSync(path, 'utf8').split('\n')[7] ?? '').startsWith('ready')
}

function recordNames(drills: DrillSite): string[] {
  return readdirSync(join(drills.site.repo, 'pgts/main/drill')).sort()
}

function treeOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'latin1' }).sort()
}

/** All names in the archive. */
function archived(site: Site): string[] {
  return readdirSync(join(site.repo, 'archive/main'), { recursive: true, encoding: 'latin1' }).sort()
}
