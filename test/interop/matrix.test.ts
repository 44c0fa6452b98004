import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import {
  type Cluster,
  dataChecksum,
  type DataChecksum,
  giveToTestUser,
  makeTestDir,
  type ServerVersion,
  startCluster,
} from '../support/postgres/postgres.ts'
import { CELLS_A_ROW, isRunAlways, isSupportedBy, rows, type Program } from '../support/sites/matrix.ts'
import { aSite, askBoth, PGBACKREST, type Site } from '../support/sites/site.ts'

const checker = checkerVersion()
// All rows that pgbackrest supports take long, and are run by hand.
const all = process.env['PGTS_TEST_MATRIX'] === 'all'
const supported = rows.filter((row) => checker > 0 && isSupportedBy(row, checker) && (all || isRunAlways(row)))
const cell = countCells(
  `matrix with pgbackrest ${checker} (of ${rows.length * CELLS_A_ROW} in all)`,
  supported.length * CELLS_A_ROW,
)

function checkerVersion(): number {
  const { stdout } = spawnSync(PGBACKREST, ['version'], { encoding: 'utf8' })
  return Number(/(\d+\.\d+)/.exec(stdout ?? '')?.[1] ?? 0)
}

describe.skipIf(checker === 0).each(supported)(
  '$writer, $codec, cipher $cipher, as $pack, PostgreSQL $version',
  (row) => {
    test('both programs restore full, diff and incr of one program and an incr of the other', async () => {
      const name = Object.values(row).join('/')
      const other: Program = row.writer === 'pgts' ? 'pgbackrest' : 'pgts'
      await using site = await aSite({
        version: row.version,
        walSegsizeMb: row.version >= 11 ? 1 : undefined,
        archiver: other,
        options: {
          'process-max': '2',
          'compress-type': row.codec,
          ...(row.codec === 'bz2' ? { 'compress-level': '1' } : {}),
          ...(row.cipher ? { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'known to both' } : {}),
          'repo1-bundle': row.pack === 'files' ? 'n' : 'y',
          ...(row.pack === 'block' ? { 'repo1-block': 'y' } : {}),
        },
      } as Parameters<typeof aSite>[0])
      const { cluster } = site
      const run = (who: Program, ...args: string[]) =>
        who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args)

      await load(cluster)
      await run(row.writer, 'stanza-create')
      const backups: { label: string; data: DataChecksum }[] = []
      const take = async (who: Program, type: string) => {
        const data = await dataChecksum(cluster)
        await run(who, `--type=${type}`, 'backup')
        backups.push({ label: (await labels(site)).at(-1)!, data })
      }
      await take(row.writer, 'full')
      await edit(cluster, 1)
      await take(row.writer, 'diff')
      await edit(cluster, 2)
      await take(row.writer, 'incr')
      await edit(cluster, 3)
      await take(other, 'incr')
      expect(backups.map(({ label }) => label.at(-1))).toEqual(['F', 'D', 'I', 'I'])

      await site.verifiedByPgbackrest()
      cell(`${name}/verify`)
      const [ours, theirs] = await askBoth((who) => infoSizes(site, who))
      expect(ours).toEqual(theirs)
      cell(`${name}/info`)
      for (const { label, data } of backups) {
        for (const who of ['pgts', 'pgbackrest'] as const) {
          expect(await restored(site, row.version, who, label), `${label} by ${who}`).toEqual(data)
          cell(`${name}/${label}/${who}`)
        }
      }
    }, 300_000)
  },
)

async function load(cluster: Cluster): Promise<void> {
  await cluster.query('create table big (id int primary key, v text)')
  await cluster.query("insert into big select i, md5(i::text) || repeat('x', 100) from generate_series(1, 12000) i")
  await cluster.query('create table shrinks as select i, md5(i::text) as v from generate_series(1, 5000) i')
  await cluster.query('create table goes as select 1 as a')
  await cluster.query('create table empty (a int)')
}

/** A few pages change, a file grows, one shrinks, one is removed, one is created, and most do not change. */
async function edit(cluster: Cluster, round: number): Promise<void> {
  await cluster.query(`update big set v = 'round ${round}' where id % 4000 = ${round}`)
  await cluster.query(
    `insert into big select i, md5(i::text) from generate_series(${20000 * round}, ${20000 * round + 500}) i`,
  )
  await cluster.query(`delete from shrinks where i > ${5000 - 1500 * round}`)
  await cluster.query('vacuum shrinks')
  if (round === 2) await cluster.query('drop table goes')
  await cluster.query(`create table comes_${round} as select i from generate_series(1, 100) i`)
  if (round === 3) await cluster.query('truncate shrinks')
}

async function labels(site: Site): Promise<string[]> {
  const [stanza] = JSON.parse((await site.pgbackrestOk('--output=json', 'info')).stdout) as {
    backup: { label: string }[]
  }[]
  return stanza!.backup.map(({ label }) => label)
}

/** Properties of every backup that both programs must report equally. */
async function infoSizes(site: Site, who: Program): Promise<unknown> {
  const { stdout } = await (who === 'pgts'
    ? site.pgtsOk('--output=json', 'info')
    : site.pgbackrestOk('--output=json', 'info'))
  // Only pgts has the recoverable window.
  const [stanza] = JSON.parse(stdout, (key, value: unknown) => (key === 'window' ? undefined : value)) as {
    backup: Record<string, unknown>[]
    archive: unknown
    cipher: string
  }[]
  const { backup, archive, cipher } = stanza!
  return {
    archive,
    cipher,
    backup: backup.map(({ label, info, lsn, prior, reference, error }) => ({
      label,
      info,
      lsn,
      prior,
      reference,
      error,
    })),
  }
}

/** Restore one backup to the moment it became consistent, start it, and read everything. */
async function restored(site: Site, version: ServerVersion, who: Program, label: string): Promise<DataChecksum> {
  const dir = makeTestDir('restored')
  const target = join(dir, 'data')
  mkdirSync(target, { mode: 0o700 })
  giveToTestUser(dir)
  const args = [`--pg1-path=${target}`, `--set=${label}`, '--type=immediate', '--target-action=promote', 'restore']
  await (who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args))
  await using cluster = await startCluster({ version, dir: target, conf: { archive_mode: 'off' } })
  await cluster.untilPrimary()
  const data = await dataChecksum(cluster)
  await cluster.stop('immediate')
  // The copies of all rows together need gigabytes.
  rmSync(target, { recursive: true })
  return data
}
