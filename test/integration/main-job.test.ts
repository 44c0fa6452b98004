import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import {
  checkIndexes,
  dataChecksum,
  giveToTestUser,
  makeTestDir,
  type ServerVersion,
  startCluster,
} from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'

interface Row {
  readonly version: ServerVersion
  readonly codec: 'none' | 'gz' | 'lz4' | 'zst'
  readonly tablespace: boolean
  readonly walSegsizeMb: number
  /** Type of the recovery target. */
  readonly target: 'time' | 'lsn' | 'name' | 'xid'
  readonly delta: boolean
  readonly checksums: boolean
}

// Every version; the other options are spread over the rows.
const rows: readonly Row[] = [
  { version: 10, codec: 'zst', tablespace: true, walSegsizeMb: 16, target: 'time', delta: false, checksums: true },
  { version: 11, codec: 'none', tablespace: true, walSegsizeMb: 1, target: 'xid', delta: true, checksums: true },
  { version: 12, codec: 'lz4', tablespace: false, walSegsizeMb: 4, target: 'lsn', delta: false, checksums: false },
  { version: 13, codec: 'gz', tablespace: true, walSegsizeMb: 1, target: 'time', delta: false, checksums: true },
  { version: 14, codec: 'lz4', tablespace: false, walSegsizeMb: 16, target: 'lsn', delta: true, checksums: true },
  { version: 15, codec: 'zst', tablespace: true, walSegsizeMb: 4, target: 'name', delta: true, checksums: true },
  { version: 16, codec: 'none', tablespace: false, walSegsizeMb: 1, target: 'xid', delta: false, checksums: false },
  { version: 17, codec: 'zst', tablespace: true, walSegsizeMb: 16, target: 'time', delta: true, checksums: true },
  { version: 18, codec: 'gz', tablespace: true, walSegsizeMb: 1, target: 'lsn', delta: false, checksums: true },
]

describe.each(rows)('PostgreSQL $version, $codec, to a $target', (row) => {
  test('a restore to the moment before a mistake has the data of that moment', async () => {
    await using site = await aSite({
      version: row.version,
      walSegsizeMb: row.walSegsizeMb,
      dataChecksums: row.checksums,
      options: { 'compress-type': row.codec, 'process-max': '2' },
    })
    const { cluster } = site
    const tablespaceDir = join(site.dir, 'ts one')
    if (row.tablespace) {
      mkdirSync(tablespaceDir, { mode: 0o700 })
      giveToTestUser(tablespaceDir)
      await cluster.query(`create tablespace "odd name" location '${tablespaceDir}'`)
    }
    await cluster.query(
      `create table t (id serial primary key, v text) ${row.tablespace ? 'tablespace "odd name"' : ''}`,
    )
    await cluster.query('insert into t (v) select md5(i::text) from generate_series(1, 5000) i')
    await cluster.query('create unlogged table u as select 1 as a')
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('check')
    expect((await site.pgtsOk('--type=full', 'backup')).stdout).toBe('')

    // After the backup: these rows are in the archive only.
    await cluster.query("insert into t (v) select 'late ' || i from generate_series(1, 500) i")
    await cluster.query('create table later as select g from generate_series(1, 100) g')
    await cluster.query('truncate u')
    const expected = await dataChecksum(cluster)
    const target = await markPoint(site, row.target)
    await cluster.query('drop table t')
    await cluster.query('select pg_switch_wal()')
    await cluster.stop()

    const tablespaceTarget = join(site.dir, 'ts restored')
    const args = [`--type=${row.target}`, `--target=${target.value}`, '--target-action=promote', ...target.extra]
    let dataDir = cluster.dataDir
    if (row.delta) {
      rmSync(join(dataDir, 'base', '1'), { recursive: true })
      writeFileSync(join(dataDir, 'base', 'not-of-the-backup'), 'x')
      args.unshift('--delta')
    } else {
      dataDir = join(makeTestDir('restored'), 'data')
      args.unshift(`--pg1-path=${dataDir}`)
      if (row.tablespace) args.unshift(`--tablespace-map=odd name=${tablespaceTarget}`)
    }
    await site.pgtsOk(...args, 'restore')

    await using restored = await startCluster({ version: row.version, dir: dataDir, conf: { archive_mode: 'off' } })
    await restored.untilPrimary()
    expect(await dataChecksum(restored)).toEqual(expected)
    expect(await checkIndexes(restored)).toBeGreaterThan(0)
    if (row.tablespace) {
      const [place] = await restored.query(
        "select pg_tablespace_location(oid) as at from pg_tablespace where spcname = 'odd name'",
      )
      expect(place?.['at']).toBe(row.delta ? tablespaceDir : tablespaceTarget)
    }
  }, 180_000)
})

/** The present moment as a target of the row's type; later changes must not be restored. */
async function markPoint(site: Site, kind: Row['target']): Promise<{ value: string; extra: string[] }> {
  const { cluster } = site
  const one = async (sql: string) => String(Object.values((await cluster.query(sql))[0]!)[0])
  switch (kind) {
    case 'time': {
      await sleep(1100)
      const value = await one('select clock_timestamp()::text')
      await sleep(100)
      return { value, extra: [] }
    }
    case 'lsn':
      return { value: await one('select pg_current_wal_insert_lsn()::text'), extra: [] }
    case 'name':
      await cluster.query("select pg_create_restore_point('before the mistake')")
      return { value: 'before the mistake', extra: [] }
    case 'xid': {
      // Recovery stops before this transaction, whose table is not restored.
      const value = await one('create table x (a int); select txid_current()::text')
      return { value, extra: ['--target-exclusive'] }
    }
  }
}
