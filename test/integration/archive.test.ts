import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  dataChecksum,
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  SERVER_VERSIONS,
  startCluster,
  type ServerVersion,
} from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

/** Names of all files in the archive, relative to the archive id. */
function archived(site: Site, archiveId: string): string[] {
  const path = join(site.repo, 'archive', 'main', archiveId)
  if (!existsSync(path)) return []
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(history|backup)$|-[0-9a-f]{40}/.test(name))
    .sort()
}

/** A copy of the running cluster without its WAL, taken in backup mode. */
async function copyOnline(site: Site, version: ServerVersion): Promise<string> {
  const { cluster } = site
  const [start, stop] =
    version >= 15
      ? [`pg_backup_start('copy', true)`, 'pg_backup_stop(false)']
      : [`pg_start_backup('copy', true, false)`, 'pg_stop_backup(false, false)']
  await cluster.query(`select ${start}`)
  const dir = join(makeTestDir('copy'), 'data')
  cpSync(cluster.dataDir, dir, {
    recursive: true,
    filter: (source) => !/\/pg_wal\/.|\/postmaster\.(pid|opts)$/.test(source),
  })
  mkdirSync(join(dir, 'pg_wal', 'archive_status'), { recursive: true })
  const [row] = await cluster.query(`select labelfile from ${stop}`)
  writeFileSync(join(dir, 'backup_label'), String(row!['labelfile']))
  giveToTestUser(dir)
  return dir
}

test.each(SERVER_VERSIONS)('PostgreSQL %i archives through pgts, and a copy recovers from there', async (version) => {
  await using site = await aSite({ version, options: { 'compress-type': 'zst' } })
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('check')
  const dir = await copyOnline(site, version)
  await cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 20000) i')
  await cluster.query('select pg_switch_wal()')
  await cluster.query('insert into t values (0, $1)', ['after the switch'])
  const expected = await dataChecksum(cluster)
  const [row] = await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as last')
  const last = String(row!['last'])
  await cluster.query('select pg_switch_wal()')
  await until(`${last} in the archive`, () => archived(site, `${version}-1`).some((name) => name.includes(last)))
  await cluster.kill()

  // The copy has no WAL: it reads WAL with archive-get, and archives its new timeline with archive-push.
  const config = join(dir, '..', 'pgbackrest.conf')
  writeFileSync(config, readFileSync(site.config, 'utf8').replaceAll(cluster.dataDir, dir))
  const program = `'${pgtsProgram()}' --config=${config} --stanza=main`
  const recovery = { restore_command: `${program} archive-get %f "%p"` }
  if (version >= 12) appendFileSync(join(dir, 'recovery.signal'), '')
  else
    writeFileSync(join(dir, 'recovery.conf'), `restore_command = '${recovery.restore_command.replaceAll("'", "''")}'\n`)
  giveToTestUser(join(dir, '..'))
  await using copy = await startCluster({
    version,
    dir,
    conf: { ...(version >= 12 ? recovery : {}), archive_command: `${program} archive-push %p` },
  })
  await copy.untilPrimary()
  expect(await dataChecksum(copy)).toEqual(expected)
  await until('the timeline history', () => archived(site, `${version}-1`).includes('00000002.history'))
  const names = archived(site, `${version}-1`)
  expect(names.some((name) => /^0000000100000000\/[0-9A-F]{24}\.[0-9A-F]{8}\.backup$/.test(name))).toBe(true)
  expect(names.filter((name) => name.endsWith('.zst')).length).toBeGreaterThanOrEqual(3)
  expect(readdirSync(join(dir, 'pg_wal')).filter((name) => name.includes('.tmp'))).toEqual([])
})

test('a promoted server archives the unfinished segment of its old timeline', async () => {
  await using site = await aSite()
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await cluster.query('create table t (i int)')
  await cluster.stop()
  appendFileSync(join(cluster.dataDir, 'standby.signal'), '')
  giveToTestUser(join(cluster.dataDir, 'standby.signal'))
  await cluster.start()
  await cluster.query('select pg_promote()')
  await until('the partial segment', () => archived(site, '15-1').some((name) => /\.partial-[0-9a-f]{40}/.test(name)))
  expect(archived(site, '15-1')).toContain('00000002.history')
})

describe('archive-push', () => {
  test('writes one line and a hint to the log of the server', async () => {
    await using site = await aSite({ conf: { archive_command: 'false' } })
    const segment = '000000010000000000000001'
    const run = (...args: string[]) => site.pgts(['archive-push', ...args], { cwd: site.cluster.dataDir })

    expect(await run()).toMatchObject({ code: 43 })
    const missing = await run(`pg_wal/${segment}`)
    expect(missing).toMatchObject({ code: 55 })
    expect(missing.stdout + missing.stderr).toMatch(/ERROR: \[055\]: .*HINT: run stanza-create/s)

    await site.pgtsOk('stanza-create')
    const elsewhere = await site.pgts(['archive-push', `pg_wal/${segment}`], { cwd: site.dir })
    expect(elsewhere).toMatchObject({ code: 32 })
    expect(elsewhere.stdout + elsewhere.stderr).toMatch(/is not the data directory of pg1-path.*HINT: .*copy/s)
    const unfinished = await run(`pg_wal/${segment}`)
    expect(unfinished).toMatchObject({ code: 29 })
    expect(unfinished.stdout + unfinished.stderr).toMatch(/is not a complete WAL segment.*HINT: .*still writes to it/s)
    await site.cluster.query('select pg_switch_wal()')
    expect(await run(`pg_wal/${segment}`)).toMatchObject({ code: 0, stdout: '', stderr: '' })
    const again = await run(`pg_wal/${segment}`)
    expect(again.code).toBe(0)
    expect(again.stdout).toMatch(/WARN: .*same checksum/)

    writeFileSync(join(site.dir, 'lock', 'main.stop'), '')
    expect(await run(`pg_wal/${segment}`)).toMatchObject({ code: 62 })
  })

  test('drops WAL when the queue exceeds archive-push-queue-max', async () => {
    await using site = await aSite({ conf: { archive_command: 'false' } })
    await site.pgtsOk('stanza-create')
    await site.cluster.query('select txid_current()')
    await site.cluster.query('select pg_switch_wal()')
    await site.cluster.query('select txid_current()')
    await site.cluster.query('select pg_switch_wal()')
    // The first one: the last one may be in use.
    const [file] = readdirSync(join(site.cluster.dataDir, 'pg_wal'))
      .filter((name) => /^[0-9A-F]{24}$/.test(name))
      .sort()
    const run = (limit: string) =>
      site.pgts([`--archive-push-queue-max=${limit}`, 'archive-push', `pg_wal/${file}`], { cwd: site.cluster.dataDir })
    const dropped = await run('16MiB')
    expect(dropped.code).toBe(0)
    expect(dropped.stdout).toContain(`dropped WAL file '${file}' because archive queue exceeded 16MiB`)
    expect(archived(site, '15-1')).toEqual([])
    // After a promotion the first waiting file is a timeline history file, whose size is not that of the others.
    const history = join(site.cluster.dataDir, 'pg_wal/00000001.history')
    const mark = join(site.cluster.dataDir, 'pg_wal/archive_status/00000001.history.ready')
    writeFileSync(history, '1\t0/3000000\tno recovery target specified\n')
    writeFileSync(mark, '')
    expect((await run('16MiB')).stdout).toContain(`dropped WAL file '${file}' because archive queue exceeded 16MiB`)
    expect(archived(site, '15-1')).toEqual([])
    rmSync(mark)
    rmSync(history)
    expect(await run('32MiB')).toMatchObject({ code: 0, stdout: '' })
    expect(archived(site, '15-1')).toHaveLength(1)
  })
})

describe('archive-get', () => {
  test('exits with 1 for a missing segment, and returns no damaged segment', async () => {
    await using site = await aSite({ options: { 'compress-type': 'none' } })
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('check')
    const [name] = archived(site, '15-1')
    const segment = name!.slice(17, 41)
    const target = join(site.dir, 'segment')
    const get = (file: string) => site.pgts(['archive-get', file, target])

    expect(await get('000000010000000000000099')).toMatchObject({ code: 1, stdout: '', stderr: '' })
    expect(existsSync(target)).toBe(false)
    expect(await get(segment)).toMatchObject({ code: 0 })
    expect(readFileSync(target)).toHaveLength(16 * 1024 * 1024)

    const stored = join(site.repo, 'archive/main/15-1', name!)
    const bytes = readFileSync(stored)
    bytes[8_000_000]! ^= 1
    writeFileSync(stored, bytes)
    rmSync(target)
    const damaged = await get(segment)
    expect(damaged.code).toBe(26)
    expect(damaged.stdout).toContain('no usable copy')
    expect(existsSync(target)).toBe(false)
  })

  test('refuses a restored cluster whose backup_label is missing', async () => {
    await using site = await aSite()
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('backup')
    await site.cluster.stop()
    await site.pgtsOk('--delta', 'restore')
    rmSync(join(site.cluster.dataDir, 'backup_label'))
    const result = await site.pgts(['archive-get', '000000010000000000000001', join(site.dir, 'x')])
    // It would recover from the archive, so PostgreSQL must stop.
    expect(result.code).toBe(200)
    expect(result.stdout).toMatch(/\[029\] .*its backup_label is missing.*HINT: /s)
  })
})

describe('check', () => {
  test('logs where the segment is stored', async () => {
    await using site = await aSite()
    await site.pgtsOk('stanza-create')
    expect((await site.pgtsOk('check')).stdout).toBe('')
    const { stdout } = await site.pgtsOk('--log-level-console=info', 'check')
    expect(stdout).toContain('check repo1 configuration (primary)')
    expect(stdout).toContain('check repo1 archive for WAL (primary)')
    expect(stdout).toMatch(
      /WAL segment [0-9A-F]{24} successfully archived to '.*\/[0-9A-F]{24}-[0-9a-f]{40}\.gz' on repo1/,
    )
  })

  test.each([
    ['archive_mode off', { archive_mode: 'off' }, 87, 'archive_mode'],
    ['no archive_command', { archive_command: '' }, 68, 'archive_command is not set'],
    ['another archive_command', { archive_command: 'cp %p /tmp/%f' }, 68, 'cp %p /tmp/%f'],
    ['archive_mode always', { archive_mode: 'always' }, 67, 'always'],
  ] as const)('refuses %s', async (_, conf, code, words) => {
    await using site = await aSite({ conf })
    await site.pgtsOk('stanza-create')
    const result = await site.pgts(['check'])
    expect(result.code).toBe(code)
    expect(result.stdout).toContain(words)
    expect(result.stdout).toContain('HINT:')
    await site.pgtsOk('--no-archive-check', 'check')
  })

  test('refuses an archive_library', async () => {
    await using site = await aSite({ version: 17 })
    await site.pgtsOk('stanza-create')
    await site.cluster.stop()
    // From 16 on PostgreSQL refuses both settings, and without a library file the archiver only logs an error.
    appendFileSync(join(site.cluster.dataDir, 'postgresql.conf'), `archive_command = ''\narchive_library = 'nothing'\n`)
    await site.cluster.start()
    const result = await site.pgts(['check'])
    expect(result.code).toBe(68)
    expect(result.stdout).toContain(`archive_library is 'nothing'`)
  })

  test('detects a standby', async () => {
    await using site = await aSite()
    const { cluster } = site
    await site.pgtsOk('stanza-create')
    await cluster.stop()
    const dir = join(makeTestDir('standby'), 'data')
    cpSync(cluster.dataDir, dir, { recursive: true })
    giveToTestUser(dir)
    await cluster.start()
    writeFileSync(join(dir, 'standby.signal'), '')
    giveToTestUser(dir)
    await using standby = await startCluster({ dir, conf: { restore_command: 'false' } })
    const options = (key: number) =>
      Object.entries(standby.pgOptions()).map(([name, value]) => `--${name.replace('pg1', `pg${key}`)}=${value}`)

    const both = await site.pgtsOk('--log-level-console=info', ...options(2), 'check')
    expect(both.stdout).toContain('check repo1 (standby)')
    expect(both.stdout).toContain('successfully archived')
    const alone = await site.pgts([...options(1), 'check'])
    expect(alone.code).toBe(27)
    expect(alone.stdout).toContain('the primary was not found')
    expect(await site.pgts([...options(1), 'stanza-create'])).toMatchObject({ code: 56 })
    await standby.query('select pg_promote()')
    await standby.untilPrimary()
    const twins = await site.pgts([...options(2), 'check'])
    expect(twins.code).toBe(56)
    expect(twins.stdout).toContain('pg1 and pg2 are both primaries')
  })

  test('reports why no segment is archived', async () => {
    await using site = await aSite({ conf: { archive_command: 'false # pgts' } })
    await site.pgtsOk('stanza-create')
    await site.cluster.query('select pg_switch_wal()')
    const result = await site.pgts(['--archive-timeout=3s', 'check'])
    expect(result.code).toBe(82)
    expect(result.stdout).toMatch(/WAL segment [0-9A-F]{24} did not reach the archive of repo1/)
    expect(result.stdout).toMatch(/HINT: archive_command failed last for [0-9A-F]{24}.*&& false # pgts/)
  })

  test('fails without a stanza in the repository, or without a server', async () => {
    await using site = await aSite()
    const missing = await site.pgts(['check'])
    expect(missing.code).toBe(55)
    expect(missing.stdout).toContain('HINT: run stanza-create')
    await site.cluster.stop()
    const down = await site.pgts(['check'])
    expect(down.code).toBe(27)
    expect(down.stdout).toMatch(/WARN: unable to check pg1: \[056\].*ERROR: \[027\]/s)
  })
})

describe('stanza-create', () => {
  test('succeeds again for an existing stanza, and without a running server', async () => {
    await using site = await aSite()
    const first = await site.pgtsOk('--log-level-console=info', 'stanza-create')
    expect(first.stdout).toContain(`stanza-create for stanza 'main' on repo1`)
    const again = await site.pgtsOk('--log-level-console=info', 'stanza-create')
    expect(again.stdout).toContain(`stanza 'main' already exists on repo1 and is valid`)
    await site.cluster.stop()
    expect(await site.pgts(['stanza-create'])).toMatchObject({ code: 56 })
    await site.pgtsOk('--no-online', 'stanza-create')
    rmSync(join(site.repo, 'backup/main/backup.info'))
    expect((await site.pgtsOk('--no-online', 'stanza-create')).stdout).toContain('was rewritten')
    expect(existsSync(join(site.repo, 'backup/main/backup.info'))).toBe(true)
  })

  test('refuses the stanza of another cluster without waiting', async () => {
    await using site = await aSite()
    await site.pgtsOk('stanza-create')
    await using other = await aSite()
    const result = await other.pgts([`--repo1-path=${site.repo}`, 'stanza-create'])
    expect(result.code).toBe(28)
    expect(result.stdout).toContain('belongs to another cluster')
    writeFileSync(join(site.dir, 'lock', 'all.stop'), '')
    expect(await site.pgts(['stanza-create'])).toMatchObject({ code: 62 })
  })

  test('refuses a server of another data directory', async () => {
    await using site = await aSite()
    await using other = await startCluster({ start: false })
    const result = await site.pgts([
      `--pg1-path=${other.dataDir}`,
      `--pg1-socket-path=${site.cluster.socketDir}`,
      'stanza-create',
    ])
    expect(result.code).toBe(58)
    expect(result.stdout).toContain(other.dataDir)
    expect(result.stdout).toContain(site.cluster.dataDir)
  })
})
