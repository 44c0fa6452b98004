import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import { backUp, type Link, type Program, restoredData } from '../support/sites/chain.ts'
import { giveToTestUser, isInstalled } from '../support/postgres/postgres.ts'
import { aSite, askBoth, asWritten, PGBACKREST, type Site } from '../support/sites/site.ts'

interface Row {
  readonly first: Program
  readonly codec: 'none' | 'gz' | 'lz4' | 'zst' | 'bz2'
  readonly bundle: boolean
  /** Needs pgbackrest 2.46 or later, given as PGTS_TEST_PGBACKREST. */
  readonly block: boolean
}

const present = isInstalled(PGBACKREST)
const knowsBlocks = process.env['PGTS_TEST_PGBACKREST'] !== undefined

const rows = (
  [
    { first: 'pgts', codec: 'gz', bundle: true, block: false },
    { first: 'pgbackrest', codec: 'lz4', bundle: false, block: false },
    { first: 'pgts', codec: 'gz', bundle: true, block: true },
    { first: 'pgbackrest', codec: 'zst', bundle: true, block: true },
  ] satisfies Row[]
).filter(({ block }) => knowsBlocks || !block)

const CELLS_A_ROW = 13
const cell = countCells('chains', rows.length * CELLS_A_ROW)

/** One chain to which both programs add in turn; each backup is restored by the other program. */
describe.skipIf(!present).each(rows)('$first begins with $codec, bundle $bundle, block $block', (row) => {
  test('full, incr, incr, diff and incr of both programs in turn are restored by the other program', async () => {
    const second: Program = row.first === 'pgts' ? 'pgbackrest' : 'pgts'
    await using site = await aSite({
      version: 15,
      walSegsizeMb: 1,
      archiver: row.first,
      options: {
        'compress-type': row.codec,
        'process-max': '2',
        ...(row.bundle ? { 'repo1-bundle': 'y', 'repo1-bundle-size': '1MiB', 'repo1-bundle-limit': '256KiB' } : {}),
        ...(row.block ? { 'repo1-block': 'y' } : {}),
      },
    })
    const { cluster } = site
    const tested = (what: string) => cell(`${row.first}/${row.codec}/${row.bundle}/${row.block}/${what}`)
    const tablespace = join(site.dir, 'tablespace')
    mkdirSync(tablespace, { mode: 0o700 })
    giveToTestUser(tablespace)
    await cluster.query(`create tablespace ts location '${tablespace}'`)
    await cluster.query('create table t (id serial primary key, v text) tablespace ts')
    await cluster.query('create table d as select i, md5(i::text) as v from generate_series(1, 20000) i')
    await cluster.query('create table e as select 1 as a where false')
    await site.pgtsOk('stanza-create')

    const chain: Link[] = []
    for (const [by, type, edit] of stepsOf(row.first, second)) {
      await cluster.query(edit)
      chain.push(await backUp(site, by, type))
      tested(`${chain.length} ${type} by ${by}`)
    }
    await site.verifiedByPgbackrest()
    tested('verify')
    const [ours, theirs] = await askBoth((who) => infoOf(site, who))
    expect(ours).toEqual(theirs)
    tested('info agrees')

    for (const { label, by, data } of chain) {
      const other: Program = by === 'pgts' ? 'pgbackrest' : 'pgts'
      expect(await restoredData(site, other, label), `${label} by ${other}`).toEqual(data)
      tested(`restore of ${label.slice(-1)} ${chain.findIndex((link) => link.label === label)} by ${other}`)
    }
    const last = chain.at(-1)!
    expect(await restoredData(site, last.by, last.label)).toEqual(last.data)
    tested('restore of the last by its maker')
  }, 240_000)
})

function stepsOf(first: Program, second: Program): readonly (readonly [Program, Link['type'], string])[] {
  return [
    [first, 'full', "insert into t (v) select 'full ' || i from generate_series(1, 300) i"],
    [second, 'incr', 'update d set v = v where i % 5000 = 0'],
    [first, 'incr', "insert into t (v) select 'incr ' || i from generate_series(1, 3000) i"],
    [second, 'diff', 'truncate t; insert into e select 2'],
    [first, 'incr', 'drop table d; create table d as select i, md5(i::text) as v from generate_series(1, 9000) i'],
  ]
}

/** 2.45 has fewer members in `status.lock`; everything else must be the same. */
async function infoOf(site: Site, who: Program): Promise<unknown> {
  const { stdout } = await (who === 'pgts'
    ? site.pgtsOk('--output=json', 'info')
    : site.pgbackrestOk('--output=json', 'info'))
  return JSON.parse(stdout, (key, value: unknown) => (key === 'lock' ? undefined : asWritten(key, value)))
}
