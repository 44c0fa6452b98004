import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { giveToTestUser, isInstalled, pgtsProgram, runAs, runOk, testUser } from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import { objectStores } from '../support/stores/object-stores.ts'
import { until } from '../support/until.ts'

const SMALL = { walSegsizeMb: 1, conf: { min_wal_size: '2MB', max_wal_size: '64MB', track_commit_timestamp: 'on' } }
/** More than a file of commit times has. */
const SEGMENTS = 300

/** The recorded rows by segment, and the index, as JSON. */
interface Recorded {
  readonly rows: Readonly<Record<string, unknown>>
  readonly index: string | undefined
}

async function recordedIn(config: string): Promise<Recorded> {
  const pgts = (...args: string[]) => runOk(pgtsProgram(), [`--config=${config}`, '--stanza=main', ...args])
  const listed = JSON.parse(
    (await pgts('repo-ls', '--recurse', '--output=json', 'pgts/main/wal-times')).stdout,
  ) as Record<string, { type: string }>
  const rows: Record<string, unknown> = {}
  let index: string | undefined
  for (const [name, { type }] of Object.entries(listed)) {
    // A writer that is running replaces a file through a temporary one.
    if (type !== 'file' || name.endsWith('.tmp')) continue
    const { stdout } = await pgts('repo-get', `pgts/main/wal-times/${name}`)
    if (name.endsWith('index.json')) index = stdout
    else {
      const { segments } = JSON.parse(stdout) as { segments: Record<string, unknown> }
      for (const [last, row] of Object.entries(segments)) rows[`${name.slice(-27, -5)}${last}`] = row
    }
  }
  return { rows, index }
}

describe.skipIf(!isInstalled(PGBACKREST))('commit times of WAL that pgbackrest archived', () => {
  let site: Site
  let collected: Recorded
  let finished: string[]

  beforeAll(async () => {
    site = await aSite({
      ...SMALL,
      conf: { ...SMALL.conf, wal_keep_size: '512MB' },
      options: { 'archive-async': 'y', 'process-max': '2' },
    })
    const { cluster } = site
    await site.pgtsOk('stanza-create')
    await cluster.query('create table t (i int)')
    for (let i = 0; i < SEGMENTS; i++) {
      // Also segments without a commit, and records that continue in the next one.
      if (i % 5 === 0) await cluster.query("select pg_logical_emit_message(false, 'x', repeat('y', 900000))")
      else await cluster.query(`insert into t select ${i} from generate_series(1, ${(i % 7) * 100})`)
      if (i % 3 === 0) await cluster.query(`select pg_create_restore_point('point ${i}')`)
      await cluster.query('select pg_switch_wal()')
    }
    await cluster.query('insert into t values (0)')
    const [row] = await cluster.query('select pg_walfile_name(pg_switch_wal()) as name')
    const last = String(row!['name'])
    finished = readdirSync(join(cluster.dataDir, 'pg_wal')).filter(
      (name) => /^[0-9A-F]{24}$/.test(name) && name <= last,
    )
    finished.sort()
    // Records that cross two files and the index are written after the segments.
    const isComplete = async () => {
      if (!existsSync(join(site.repo, 'pgts/main/wal-times'))) return false
      const before = collected
      collected = await recordedIn(site.config)
      return finished.every((name) => name in collected.rows) && isDeepStrictEqual(before, collected)
    }
    await until('every segment is recorded', isComplete, { deadlineMs: 180_000, everyMs: 250 })
  }, 300_000)
  afterAll(() => site?.[Symbol.asyncDispose]())

  /** A second repository, into which pgbackrest pushes the same segments. */
  async function pushedByPgbackrest(name: string, segments: readonly string[], options: Record<string, string>) {
    const own: Record<string, string> = {
      'repo1-path': join(site.dir, name),
      'archive-async': 'n',
      'lock-path': join(site.dir, `lock-${name}`),
      ...options,
    }
    const kept = readFileSync(site.config, 'utf8')
      .split('\n')
      .filter((line) => !Object.keys(own).includes(line.split('=')[0]!))
    const config = join(site.dir, `${name}.conf`)
    const lines = Object.entries(own).map((entry) => entry.join('='))
    writeFileSync(config, kept.join('\n').replace('[global]', ['[global]', ...lines].join('\n')))
    if (own['repo1-type'] === undefined) mkdirSync(own['repo1-path']!)
    mkdirSync(own['lock-path']!)
    giveToTestUser(site.dir)
    const pgbackrest = (...args: string[]) => runOk(PGBACKREST, [`--config=${config}`, '--stanza=main', ...args])
    await pgbackrest('stanza-create')
    for (const segment of segments) await pgbackrest('archive-push', join(site.cluster.dataDir, 'pg_wal', segment))
    return config
  }

  const store = objectStores.find(({ name, missing }) => name === 's3' && missing === undefined)
  const CASES: readonly (readonly [string, string, Record<string, string>])[] = [
    ['gz', 'verify', {}],
    ['lz4', 'verify', {}],
    ['bz2', 'expire', {}],
    ['none', 'expire', {}],
    ['zst', 'verify', { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'secret' }],
    ...(store === undefined ? [] : ([['zst', 'expire', { 'repo1-type': 's3' }]] as const)),
  ]

  test.each(CASES)(
    'are those that a push collects: %s, by %s, %o',
    { timeout: 180_000 },
    async (type, command, more) => {
      const some = finished.slice(0, 12)
      const isRemote = more['repo1-type'] === 's3'
      // pgbackrest 2.45 checks only names of a certificate, no addresses.
      const bucket = isRemote
        ? { ...(await store!.bucket()).options(), 'repo1-s3-endpoint': 'localhost', 'repo1-storage-host': 'localhost' }
        : {}
      const config = await pushedByPgbackrest(`${type}-${command}`, some, { 'compress-type': type, ...more, ...bucket })
      await runOk(pgtsProgram(), [`--config=${config}`, '--stanza=main', command])
      const { rows } = await recordedIn(config)
      // What follows the last one is not in this repository, so a record that continues there is still in two parts.
      const [last, ...others] = some.toReversed()
      expect(Object.keys(rows).sort()).toEqual(some)
      for (const name of others) expect(rows[name], name).toEqual(collected.rows[name])
      expect(rows[last!]).toMatchObject({ commits: (collected.rows[last!] as { commits: number }).commits })
    },
  )

  test('are recorded by runs of expire, 256 newest segments first, until all are', { timeout: 600_000 }, async () => {
    const config = await pushedByPgbackrest('all', finished, { 'compress-type': 'zst' })
    const pgts = (...args: string[]) => runAs(testUser, pgtsProgram(), [`--config=${config}`, '--stanza=main', ...args])
    expect(await pgts('--dry-run', 'expire')).toMatchObject({ code: 0 })
    expect(existsSync(join(site.dir, 'all/pgts'))).toBe(false)
    expect(await pgts('expire')).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(Object.keys((await recordedIn(config)).rows).sort()).toEqual(finished.slice(-256))
    expect(await pgts('expire')).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(await recordedIn(config)).toEqual(collected)
    // Nothing is left to do.
    const times = join(site.dir, 'all/pgts/main/wal-times')
    const before = readdirSync(times, { recursive: true, encoding: 'utf8' }).map(
      (name) => statSync(join(times, name)).mtimeMs,
    )
    expect(await pgts('verify')).toMatchObject({ code: 0 })
    expect(
      readdirSync(times, { recursive: true, encoding: 'utf8' }).map((name) => statSync(join(times, name)).mtimeMs),
    ).toEqual(before)
  })

  test('a corrupt segment is not recorded, and no error of expire', { timeout: 60_000 }, async () => {
    const [first = '', second = '', third = ''] = finished
    const config = await pushedByPgbackrest('damaged', [first, second, third], { 'compress-type': 'none' })
    const archive = join(site.dir, 'damaged/archive/main')
    const name = readdirSync(archive, { recursive: true, encoding: 'utf8' }).find((path) => path.includes(second))!
    const content = readFileSync(join(archive, name))
    content[5000]! ^= 1
    writeFileSync(join(archive, name), content)
    const args = [`--config=${config}`, '--stanza=main', 'expire']
    expect(await runAs(testUser, pgtsProgram(), args)).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(Object.keys((await recordedIn(config)).rows).sort()).toEqual([first, third])
  })

  test('a repository that cannot be written to is no error', { timeout: 60_000 }, async () => {
    const config = await pushedByPgbackrest('closed', finished.slice(0, 3), {})
    await runOk('chmod', ['-R', 'a-w', join(site.dir, 'closed')])
    const args = [`--config=${config}`, '--stanza=main', '--log-level-console=warn', 'verify']
    const { code, stdout, stderr } = await runAs(testUser, pgtsProgram(), args)
    chmodSync(join(site.dir, 'closed'), 0o750)
    expect(code, stdout + stderr).toBe(0)
    expect(stdout + stderr).not.toContain('commit times')
  })
})

test.skipIf(!isInstalled(PGBACKREST))(
  'the window of an archive by pgbackrest is known after a backup of pgts, and in metrics',
  { timeout: 60_000 },
  async () => {
    await using site = await aSite({ ...SMALL, archiver: 'pgbackrest' })
    const { cluster } = site
    await site.pgbackrestOk('stanza-create')
    await cluster.query('create table t (i int)')
    await site.pgtsOk('backup')
    await sleep(1100)
    await cluster.query('insert into t values (1)')
    const [row] = await cluster.query(
      `select to_char(pg_xact_commit_timestamp(xmin) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00' as at,
         extract(epoch from pg_xact_commit_timestamp(xmin)) as seconds,
         pg_walfile_name(pg_current_wal_lsn()) as segment from t`,
    )
    const { at, seconds, segment } = row as { at: string; seconds: string; segment: string }
    await cluster.query('select pg_switch_wal()')
    await until('the segment is archived', () =>
      existsSync(join(cluster.dataDir, 'pg_wal/archive_status', `${segment}.done`)),
    )
    const windowOf = async () => {
      const { stdout } = await site.pgtsOk('info', '--output=json')
      return (JSON.parse(stdout) as { archive: { window?: { to: string | null; unscanned: number } }[] }[])[0]!
        .archive[0]!.window
    }
    expect((await windowOf())?.unscanned).toBeGreaterThan(0)
    expect((await windowOf())?.to).toBeNull()
    await site.pgtsOk('expire')
    expect(await windowOf()).toMatchObject({ to: at, unscanned: 0 })

    const { stdout } = await site.pgtsOk('metrics')
    expect(stdout).toContain(`pgts_window_end_timestamp_seconds{repo_key="1",stanza="main"} ${Number(seconds)}\n`)
    expect(stdout).toContain('pgts_window_gaps{repo_key="1",stanza="main"} 0\n')
    expect(stdout).toContain('pgts_window_unscanned_segments{repo_key="1",stanza="main"} 0\n')
  },
)
