import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseManifest } from '../../src/format/manifest-parse.ts'
import { readFileSync } from 'node:fs'
import { backUp, labelsOf, type Link, restoredData } from '../support/sites/chain.ts'
import { giveToTestUser, type ServerVersion } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'

interface Row {
  readonly version: ServerVersion
  readonly codec: 'none' | 'gz' | 'lz4' | 'zst'
  readonly bundle: boolean
  readonly block?: boolean
  readonly delta: boolean
}

const rows: readonly Row[] = [
  { version: 16, codec: 'zst', bundle: false, delta: false },
  { version: 17, codec: 'lz4', bundle: true, delta: true },
  { version: 18, codec: 'gz', bundle: true, block: true, delta: false },
]

/** Edits, growth, truncation, drop and re-creation between the backups of one chain; every backup is restored. */
describe.each(rows)('PostgreSQL $version, $codec, bundle $bundle, delta $delta', (row) => {
  test('full, incr, diff and incr restore the data of their time', async () => {
    await using site = await aSite({
      version: row.version,
      walSegsizeMb: 1,
      options: {
        'compress-type': row.codec,
        'process-max': '2',
        ...(row.bundle ? { 'repo1-bundle': 'y' } : {}),
        ...(row.delta ? { delta: 'y' } : {}),
        ...(row.block ? { 'repo1-block': 'y' } : {}),
      },
    })
    const { cluster } = site
    const tablespace = join(site.dir, 'tablespace')
    mkdirSync(tablespace, { mode: 0o700 })
    giveToTestUser(tablespace)
    await cluster.query(`create tablespace ts location '${tablespace}'`)
    await cluster.query('create table edited as select i, md5(i::text) as v from generate_series(1, 60000) i')
    await cluster.query('create index on edited (i)')
    await cluster.query('create table grown (i int, v text) tablespace ts')
    await cluster.query("insert into grown select i, 'first ' || i from generate_series(1, 1000) i")
    await cluster.query('create table shrunk as select i, md5(i::text) as v from generate_series(1, 30000) i')
    await cluster.query('create table replaced as select 1 as a, md5(random()::text) as b')
    await cluster.query('create table quiet as select i, md5(i::text) as v from generate_series(1, 20000) i')
    await site.pgtsOk('stanza-create')

    const chain: Link[] = [await backUp(site, 'pgts', 'full')]
    await cluster.query("update edited set v = 'edited' where i % 9973 = 0")
    chain.push(await backUp(site, 'pgts', 'incr'))
    await cluster.query("insert into grown select i, 'second ' || i from generate_series(1, 40000) i")
    await cluster.query('delete from shrunk where i > 100')
    await cluster.query('vacuum (truncate) shrunk')
    chain.push(await backUp(site, 'pgts', 'diff'))
    await cluster.query('drop table replaced')
    await cluster.query('create table replaced as select i, md5(random()::text) as b from generate_series(1, 5000) i')
    await cluster.query('truncate grown')
    chain.push(await backUp(site, 'pgts', 'incr'))
    chain.push(await backUp(site, 'pgts', 'incr'))

    expect(chain.map(({ label }) => label.slice(-1))).toEqual(['F', 'I', 'D', 'I', 'I'])
    expect(new Set(chain.map(({ label }) => label.slice(0, 16))).size).toBe(1)
    const [full, incr, diff, ...later] = chain.map(({ label }) => manifestOf(site, label))
    expect(incr!.prior).toBe(full!.label)
    expect(diff!.references).toEqual([full!.label, diff!.label])
    expect(later[1]!.references).toEqual([full!.label, diff!.label, later[0]!.label, later[1]!.label])
    // Most files of a cluster do not change, and unchanged files are not stored again.
    for (const manifest of [incr!, diff!, ...later]) {
      const own = [...manifest.files].filter(({ reference, sizeBytes }) => reference === undefined && sizeBytes > 0)
      expect(own.length).toBeLessThan(manifest.files.length / 3)
    }
    const quiet = await relationOf(site, 'quiet')
    expect([...later[1]!.files].find(({ name }) => name === quiet)?.reference).toBe(full!.label)
    expect(later[1]!.options.delta).toBe(row.delta)

    for (const { label, data } of chain) expect(await restoredData(site, 'pgts', label), label).toEqual(data)

    // After a new full retention removes the whole chain.
    await backUp(site, 'pgts', 'full', '--repo1-retention-full=1')
    expect(labelsOf(site)).toHaveLength(1)
  }, 180_000)
})

function manifestOf(site: Site, label: string) {
  return parseManifest(readFileSync(join(site.repo, 'backup/main', label, 'backup.manifest')))
}

/** Manifest name of a table's file. */
async function relationOf(site: Site, table: string): Promise<string> {
  const [row] = await site.cluster.query(`select pg_relation_filepath('${table}') as path`)
  return `pg_data/${String(row?.['path'])}`
}
