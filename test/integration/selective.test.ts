import { lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import {
  checkIndexes,
  dataChecksum,
  type DataChecksum,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  type ServerVersion,
  startCluster,
} from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

type Program = 'pgts' | 'pgbackrest'

interface Row {
  readonly version: ServerVersion
  readonly codec: string
  readonly bundle: boolean
  readonly wanted: 'kept by name' | 'others by oid'
}

const rows: readonly Row[] = [
  { version: 15, codec: 'zst', bundle: false, wanted: 'kept by name' },
  { version: 10, codec: 'gz', bundle: true, wanted: 'others by oid' },
]
const present = isInstalled(PGBACKREST)
const cell = countCells('selective restore', rows.length)

describe.each(rows)('PostgreSQL $version, $codec, $wanted', ({ version, codec, bundle, wanted }) => {
  test('one database is restored, the others can be dropped', async () => {
    await using site = await aSite({ version, options: { 'compress-type': codec, 'repo1-bundle': bundle ? 'y' : 'n' } })
    const { cluster } = site
    const tablespace = join(site.dir, 'ts')
    mkdirSync(tablespace, { mode: 0o700 })
    giveToTestUser(tablespace)
    await cluster.query(`create tablespace ts location '${tablespace}'`)
    await cluster.query('create database kept tablespace ts')
    await cluster.query('create database "große"')
    await cluster.query('create database moved tablespace ts')
    for (const name of ['kept', 'große', 'moved']) {
      await cluster.query(
        `create table t as select i, md5(i::text) as v from generate_series(1, 2000) i;
         create index on t (v);
         create table other (id int primary key, v text) tablespace ${name === 'moved' ? 'pg_default' : 'ts'};
         insert into other select i, i from generate_series(1, 500) i`,
        [],
        name,
      )
    }
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('--type=full', 'backup')
    // The changes after the backup are of all databases, so recovery reads zeroed pages.
    for (const name of ['kept', 'große', 'moved']) await cluster.query(`update other set v = 'late'`, [], name)
    const expected = await dataChecksum(cluster)
    const oids = await cluster.query(`select oid::int from pg_database where datname in ('große', 'moved') order by 1`)
    await cluster.query('select pg_switch_wal()')
    await cluster.stop()

    const choice =
      wanted === 'kept by name' ? ['--db-include=kept'] : oids.map(({ oid }) => `--db-exclude=${String(oid)}`)
    const restored = await restoreElsewhere(site, 'pgts', choice)
    const zeroed = zeroedFiles(restored)
    for (const { oid } of oids) {
      expect(zeroed.some((name) => name.includes(`/${String(oid)}/`))).toBe(true)
      expect(zeroed.some((name) => name.startsWith('ts/') && name.includes(`/${String(oid)}/`))).toBe(true)
    }
    expect(zeroed.every((name) => oids.some(({ oid }) => name.includes(`/${String(oid)}/`)))).toBe(true)
    if (present) {
      const theirs = await restoreElsewhere(site, 'pgbackrest', choice)
      expect(zeroed).toEqual(zeroedFiles(theirs))
      expect(treeOf(restored)).toEqual(treeOf(theirs))
      cell(`${version}`)
    }

    {
      await using server = await startCluster({
        version,
        dir: join(restored, 'data'),
        conf: { archive_mode: 'off' },
      })
      await server.untilPrimary()
      for (const name of ['große', 'moved']) {
        await expect(server.query('select 1', [], name)).rejects.toThrow()
        await server.query(`drop database "${name}"`)
      }
      expect(await dataChecksum(server)).toEqual(onlyOf(expected, 'kept'))
      expect(await checkIndexes(server)).toBeGreaterThan(0)
    }

    // Zeroed in place, and restored again by a delta restore of everything.
    await site.pgtsOk('--delta', ...choice, '--type=immediate', 'restore')
    expect(zeroedFiles(cluster.dataDir).length).toBeGreaterThan(0)
    await site.pgtsOk('--delta', 'restore')
    expect(zeroedFiles(cluster.dataDir)).toEqual([])
    await cluster.start()
    await cluster.untilPrimary()
    expect(await dataChecksum(cluster)).toEqual(expected)
  }, 180_000)
})

test('db-include and db-exclude refuse an unknown database, and db-include a system database', async () => {
  await using site = await aSite()
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  const target = join(makeTestDir('restored'), 'data')
  const refused = async (...options: string[]) => {
    const { code, stdout } = await site.pgts([`--pg1-path=${target}`, ...options, 'restore'])
    return { code, stdout }
  }
  const missing = await refused('--db-include=nowhere')
  expect(missing.code).toBe(80)
  expect(missing.stdout).toMatch(/\[080\]: database 'nowhere' of db-include is not in backup .*HINT: .*template0/s)
  expect(await refused('--db-exclude=77777')).toMatchObject({ code: 80 })
  const system = await refused('--db-include=postgres')
  expect(system.code).toBe(81)
  expect(system.stdout).toMatch(/\[081\]: .*is always restored/)
  expect(() => lstatSync(target)).toThrow()
})

/** Returns a directory with `data` and the tablespace `ts`. */
async function restoreElsewhere(site: Site, who: Program, options: readonly string[]): Promise<string> {
  const dir = makeTestDir('restored')
  for (const name of ['data', 'ts']) mkdirSync(join(dir, name), { mode: 0o700 })
  giveToTestUser(dir)
  const args = [`--pg1-path=${join(dir, 'data')}`, `--tablespace-map=ts=${join(dir, 'ts')}`, ...options, 'restore']
  await (who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args))
  return dir
}

function* filesBelow(root: string, dir = root): Generator<string> {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) yield* filesBelow(root, path)
    else if (entry.isFile()) yield relative(root, path)
  }
}

/** Files that have a length and use no space. */
function zeroedFiles(root: string): string[] {
  return [...filesBelow(root)]
    .filter((name) => {
      const { size, blocks } = lstatSync(join(root, name))
      return size > 0 && blocks === 0
    })
    .sort()
}

/** Name, mode, time and content of all files, except those that name the program that wrote them. */
function treeOf(root: string): Record<string, unknown> {
  const tree: Record<string, unknown> = {}
  for (const name of [...filesBelow(root)].sort()) {
    if (/pgts\.copy$|postgresql\.auto\.conf$|recovery\.(conf|signal)$|backup_label$|pg_control$/.test(name)) continue
    const { mode, mtimeMs } = lstatSync(join(root, name))
    tree[name] = [
      mode,
      mtimeMs,
      readFileSync(join(root, name)).toString('base64').slice(0, 40),
      lstatSync(join(root, name)).size,
    ]
  }
  return tree
}

function onlyOf(checksum: DataChecksum, database: string): DataChecksum {
  return Object.fromEntries(Object.entries(checksum).filter(([name]) => name.startsWith(`${database}.`)))
}
