import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import {
  dataChecksum,
  type DataChecksum,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  startCluster,
} from '../support/postgres/postgres.ts'
import { aSite, askBoth, asWritten, PGBACKREST, type Site } from '../support/sites/site.ts'

type Program = 'pgts' | 'pgbackrest'

const CIPHERS = { none: 'aes-256-cbc', gz: 'none', lz4: 'none', zst: 'aes-256-cbc' } as const
const rows = (['none', 'gz', 'lz4', 'zst'] as const).flatMap((codec) =>
  (['pgts', 'pgbackrest'] as const).map(
    (writer) => ({ codec, cipher: CIPHERS[codec], writer, reader: writer === 'pgts' ? 'pgbackrest' : 'pgts' }) as const,
  ),
)

const CELLS_A_ROW = 14
const present = isInstalled(PGBACKREST)
const cell = countCells('both ways', rows.length * CELLS_A_ROW)

/** One chain, made by both programs, on two timelines, with a tablespace; everything is restored by both. */
describe.skipIf(!present).each(rows)('$writer writes $codec, cipher $cipher, $reader continues', (row) => {
  const { codec, cipher, writer, reader } = row
  test('both programs use one stanza: WAL, full, incr, two timelines, restore, expire', async () => {
    await using site = await aSite({
      version: 15,
      walSegsizeMb: 1,
      archiver: writer,
      options: {
        'compress-type': codec,
        'process-max': '2',
        'repo1-cipher-type': cipher,
        ...(cipher === 'none' ? {} : { 'repo1-cipher-pass': 'both know this one' }),
      },
    })
    const { cluster } = site
    const run = (who: Program, ...args: string[]) =>
      who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args)
    const tested = (what: string) => cell(`${writer}/${codec}/${what}`)

    const tablespace = join(site.dir, 'tablespace')
    mkdirSync(tablespace, { mode: 0o700 })
    giveToTestUser(tablespace)
    await cluster.query(`create tablespace ts location '${tablespace}'`)
    await cluster.query('create table t (id serial primary key, v text) tablespace ts')
    await cluster.query('create table d as select i, md5(i::text) as v from generate_series(1, 20000) i')

    await run(writer, 'stanza-create')
    await run(reader, 'stanza-create')
    tested('stanza-create finds a valid stanza')
    await run(reader, 'check')
    tested('check')

    await run(writer, '--type=full', 'backup')
    await cluster.query("insert into t (v) select 'between ' || i from generate_series(1, 300) i")
    await cluster.query('update d set v = v where i % 1000 = 0')
    await site.verifiedByPgbackrest()
    tested('verify after the full')
    expect(labelsOf(site)).toHaveLength(1)
    const [ours, theirs] = await askBoth((who) => infoOf(site, who))
    expect(ours).toEqual(theirs)
    tested('info agrees')

    // Based on a full of the other program.
    await run(reader, '--type=incr', 'backup')
    await cluster.query("insert into t (v) select 'late ' || i from generate_series(1, 300) i")
    const before = await dataChecksum(cluster)
    const lsn = String((await cluster.query('select pg_current_wal_insert_lsn()::text as lsn'))[0]?.['lsn'])
    await cluster.query('drop table d')
    const switched = String((await cluster.query('select pg_walfile_name(pg_switch_wal()) as segment'))[0]?.['segment'])
    await site.pgtsOk('check')

    for (const who of ['pgts', 'pgbackrest'] as const) {
      expect(await restoredElsewhere(site, who, [`--type=lsn`, `--target=${lsn}`, '--target-action=promote'])).toEqual(
        before,
      )
      tested(`restore of the incr to an LSN by ${who}`)
    }
    for (const who of ['pgts', 'pgbackrest'] as const) {
      const destination = join(makeTestDir('segment'), 'segment')
      await run(who, 'archive-get', switched, destination)
      expect(readFileSync(destination).length).toBe(1024 * 1024)
      tested(`archive-get by ${who}`)
    }

    // After a recovery to a point in time the second timeline archives into the same stanza.
    await cluster.stop()
    await run(reader, '--delta', '--type=lsn', `--target=${lsn}`, '--target-action=promote', 'restore')
    await cluster.start()
    await cluster.untilPrimary()
    expect(await dataChecksum(cluster)).toEqual(before)
    await cluster.query("insert into t (v) select 'second timeline ' || i from generate_series(1, 300) i")
    await run(reader, 'check')
    expect(existsSync(join(site.repo, 'archive/main/15-1/00000002.history'))).toBe(true)
    tested('second timeline')

    await run(reader, '--type=full', 'backup')
    await site.pgbackrestOk('--type=diff', 'backup')
    await cluster.query("insert into t (v) select 'the end ' || i from generate_series(1, 300) i")
    const end = await dataChecksum(cluster)
    await run(writer, 'check')
    for (const who of ['pgts', 'pgbackrest'] as const) {
      expect(await restoredElsewhere(site, who, [])).toEqual(end)
      tested(`restore of the second timeline by ${who}`)
    }
    await site.verifiedByPgbackrest()
    tested('verify of everything')

    // The same retention on the same repository keeps the same files.
    const trees = []
    for (const who of ['pgts', 'pgbackrest'] as const) trees.push(await expiredCopy(site, who))
    expect(trees[0]).toEqual(trees[1])
    tested('expire leaves the same')
    await run(writer, '--repo1-retention-full=1', 'expire')
    await site.verifiedByPgbackrest()
    expect(labelsOf(site)).toHaveLength(2)
    tested('expire and verify')
  }, 300_000)
})

async function restoredElsewhere(site: Site, who: Program, args: readonly string[]): Promise<DataChecksum> {
  const dir = makeTestDir('restored')
  const target = join(dir, 'data')
  const tablespaces = join(dir, 'ts')
  mkdirSync(target, { mode: 0o700 })
  mkdirSync(tablespaces, { mode: 0o700 })
  giveToTestUser(dir)
  const all = [`--pg1-path=${target}`, `--tablespace-map=ts=${tablespaces}`, ...args, 'restore']
  await (who === 'pgts' ? site.pgtsOk(...all) : site.pgbackrestOk(...all))
  // A copy must not archive into the stanza of the original.
  await using restored = await startCluster({ version: 15, dir: target, conf: { archive_mode: 'off' } })
  await restored.untilPrimary()
  return await dataChecksum(restored)
}

async function infoOf(site: Site, who: Program): Promise<unknown> {
  const { stdout } = await (who === 'pgts'
    ? site.pgtsOk('--output=json', 'info')
    : site.pgbackrestOk('--output=json', 'info'))
  // 2.45 has fewer members in `status.lock`; everything else must be the same.
  return JSON.parse(
    stdout.replace(/"lock":\{.*?\}\}/, '"lock":{}').replace(/"lock":\{\}\}?/, '"lock":{}'),
    (key, value: unknown) => (key === 'lock' ? undefined : asWritten(key, value)),
  )
}

function labelsOf(site: Site): string[] {
  return readdirSync(join(site.repo, 'backup/main')).filter((name) => /^\d{8}-\d{6}F/.test(name))
}

/** Names of all files after `who` has expired a copy of the repository down to one full. */
async function expiredCopy(site: Site, who: Program): Promise<string[]> {
  const dir = makeTestDir('expire')
  cpSync(site.repo, join(dir, 'repo'), { recursive: true, verbatimSymlinks: true })
  const config = join(dir, 'pgbackrest.conf')
  writeFileSync(config, readFileSync(site.config, 'utf8').replace(`repo1-path=${site.repo}`, `repo1-path=${dir}/repo`))
  giveToTestUser(dir)
  const args = [`--config=${config}`, '--repo1-retention-full=1', 'expire']
  const result = await (who === 'pgts'
    ? site.pgts(args.slice(1).concat(`--repo1-path=${dir}/repo`))
    : site.pgbackrest(args.slice(1).concat(`--repo1-path=${dir}/repo`)))
  expect(result.stderr + result.stdout).not.toMatch(/ERROR/)
  expect(result.code).toBe(0)
  return (
    (readdirSync(join(dir, 'repo'), { recursive: true }) as string[])
      // pgbackrest knows nothing of pgts's own folder.
      .filter((name) => !/\.copy$|^pgts(\/|$)/.test(name))
      .sort()
  )
}
