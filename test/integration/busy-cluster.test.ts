import { openSync, readSync, writeSync, closeSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { parseManifest } from '../../src/format/manifest-parse.ts'
import {
  checkIndexes,
  type Cluster,
  dataChecksum,
  isInstalled,
  makeTestDir,
  startCluster,
} from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

/** Maximum rounds of one connection during a backup: a slow machine must not write more WAL. */
const MAX_ROUNDS = 120

/** Creates, extends, truncates and drops tables over one connection until `until` aborts, at most MAX_ROUNDS times. */
async function load(cluster: Cluster, worker: number, until: AbortSignal): Promise<number> {
  const client = await cluster.client()
  const kept = `kept_${worker}`
  await client.query(`create table if not exists ${kept} (id serial primary key, v text)`)
  let rounds = 0
  try {
    for (; !until.aborted && rounds < MAX_ROUNDS; rounds++) {
      await sleep(50) // so that archiving keeps up
      const name = `w${worker}_${rounds % 5}`
      await client.query(`drop table if exists ${name}`)
      await client.query(
        `create table ${name} as select g as id, repeat(md5(g::text), 4) as v from generate_series(1, 800) g`,
      )
      await client.query(`create index on ${name} (id)`)
      await client.query(`insert into ${kept} (v) select md5(random()::text) from generate_series(1, 400)`)
      if (rounds % 3 === 0) await client.query(`truncate w${worker}_${(rounds + 2) % 5}`).catch(() => undefined)
      if (rounds % 4 === 0)
        await client.query(`delete from ${kept} where id % 7 = 3; vacuum ${kept}`).catch(() => undefined)
      if (rounds % 4 === 1) await client.query(`delete from ${kept} where id > (select max(id) - 900 from ${kept})`)
      if (rounds % 4 === 2) await client.query(`vacuum (truncate) ${kept}`)
      await swing(client, worker, rounds)
      if (rounds % 40 === 5) await client.query('checkpoint')
    }
  } finally {
    await client.end()
  }
  return rounds
}

/** A few tables that grow and shrink, so that some shrink between the list and the copy. */
async function swing(client: Client, worker: number, rounds: number): Promise<void> {
  const name = `swing${worker}_${rounds % 6}`
  await client.query(`create table if not exists ${name} (id int)`)
  if (Math.floor(rounds / 6) % 2 === 0) await client.query(`insert into ${name} select generate_series(1, 5000)`)
  else {
    await client.query(`delete from ${name} where id > 10`)
    await client.query(`vacuum (truncate) ${name}`)
  }
}

/** A full backup while two connections change the cluster. */
async function backupUnderLoad(site: Site): Promise<{ label: string; stdout: string }> {
  const stop = new AbortController()
  const workers = [1, 2].map((worker) => load(site.cluster, worker, stop.signal))
  // A high level is slow: the large files are copied first, so that the others can vanish and grow.
  const slowly = ['--type=full', '--compress-level=17', '--process-max=2']
  const backup = site.pgtsOk('--log-level-console=detail', ...slowly, 'backup').finally(() => stop.abort())
  const [{ stdout }, ...rounds] = await Promise.all([backup, ...workers])
  expect(Math.min(...rounds)).toBeGreaterThan(3)
  return { label: /new backup label = (\S+)/.exec(stdout)![1]!, stdout }
}

describe('a backup of a busy server', () => {
  test('in which files vanish, grow and shrink restores the data of the requested moment', async () => {
    await using site = await aSite({
      version: 17,
      walSegsizeMb: 16,
      options: { 'process-max': '2', 'compress-type': 'zst', 'archive-timeout': '60s' },
    })
    const { cluster } = site
    await cluster.query(
      'create table ballast as select g as id, repeat(md5(g::text), 8) as v from generate_series(1, 60000) g',
    )
    await site.pgtsOk('stanza-create')

    const seen = { vanished: 0, resized: 0 }
    const labels: string[] = []
    // At least two backups: the first one is restored with the WAL of the second.
    while (labels.length < 2 || ((seen.vanished === 0 || seen.resized === 0) && labels.length < 5)) {
      const { label, stdout } = await backupUnderLoad(site)
      labels.push(label)
      seen.vanished += stdout.match(/skip file removed by database/g)?.length ?? 0
      const manifest = parseManifest(readFileSync(join(site.repo, 'backup/main', label, 'backup.manifest')))
      seen.resized += [...manifest.files].filter(({ sizeOriginalBytes }) => sizeOriginalBytes !== undefined).length
      expect(
        [...manifest.files].filter(({ checksumPage }) => checksumPage === false),
        'pages that PostgreSQL was writing are not reported as damaged',
      ).toEqual([])
    }
    console.log(`${seen.vanished} files vanished and ${seen.resized} changed size during ${labels.length} backups`)
    expect(seen.vanished).toBeGreaterThan(0)
    expect(seen.resized).toBeGreaterThan(0)

    const expected = await dataChecksum(cluster)
    const target = String((await cluster.query('select pg_current_wal_insert_lsn() as lsn'))[0]?.['lsn'])
    await cluster.query('create table too_late as select 1 as a')
    await cluster.query('select pg_switch_wal()')
    await site.pgtsOk('check')
    for (const label of [labels[0]!, labels.at(-1)!]) {
      const dataDir = join(makeTestDir('restored'), 'data')
      await site.pgtsOk(
        `--pg1-path=${dataDir}`,
        `--set=${label}`,
        '--type=lsn',
        `--target=${target}`,
        '--target-action=promote',
        'restore',
      )
      await using restored = await startCluster({ version: 17, dir: dataDir, conf: { archive_mode: 'off' } })
      await restored.untilPrimary()
      expect(await dataChecksum(restored)).toEqual(expected)
      expect(await checkIndexes(restored)).toBeGreaterThan(0)
    }
  }, 180_000)
})

describe('a damaged page in the cluster', () => {
  test('causes a warning with file and page, and the backup is completed and marked', async () => {
    await using site = await aSite({ walSegsizeMb: 1, options: { 'compress-type': 'gz' } })
    const { cluster } = site
    await cluster.query(
      'create table t as select g as id, md5(g::text) as v from generate_series(1, 5000) g; checkpoint',
    )
    const relation = String((await cluster.query("select pg_relation_filepath('t') as path"))[0]?.['path'])
    await site.pgtsOk('stanza-create')
    expect((await site.pgtsOk('--type=full', 'backup')).stdout).toBe('')
    await cluster.stop()
    for (const page of [3, 4, 9]) flipByte(join(cluster.dataDir, relation), page * 8192 + 5000)
    await cluster.start()

    const result = await site.pgts(['--type=full', 'backup'])
    expect(result.code).toBe(0)
    const where = `file ${relation} (postgres.public.t) at page(s) 3-4, 9`
    expect(result.stdout).toContain(`WARN: invalid page checksum(s) found in ${where}`)
    expect(result.stdout).toMatch(/HINT: .*repair or restore/)
    expect(result.stdout).toMatch(/WARN: .*1 file contains invalid page checksums/)
    expect(result.stdout.match(/WARN/g)).toHaveLength(2)

    const newest = readdirSync(join(site.repo, 'backup/main'))
      .filter((name) => /F$/.test(name))
      .sort()
      .at(-1)!
    const manifest = parseManifest(readFileSync(join(site.repo, 'backup/main', newest, 'backup.manifest')))
    expect([...manifest.files].filter(({ checksumPage }) => checksumPage === false)).toMatchObject([
      { name: `pg_data/${relation}`, checksumPageErrors: [[3, 4], 9] },
    ])
    const errors = (json: string) => (JSON.parse(json)[0].backup as { error: boolean }[]).map(({ error }) => error)
    expect(errors((await site.pgtsOk('--output=json', 'info')).stdout)).toEqual([false, true])
    const text = (await site.pgtsOk(`--set=${newest}`, 'info')).stdout
    expect(text).toMatch(new RegExp(`error.*${relation}`, 's'))
    if (isInstalled(PGBACKREST)) {
      expect(errors((await site.pgbackrestOk('--output=json', 'info')).stdout)).toEqual([false, true])
      const theirs = (await site.pgbackrestOk(`--set=${newest}`, 'info')).stdout
      expect(theirs).toMatch(new RegExp(`error.*${relation}`, 's'))
    }
  }, 60_000)
})

function flipByte(path: string, offset: number): void {
  const fd = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, offset)
  byte[0]! ^= 0xff
  writeSync(fd, byte, 0, 1, offset)
  closeSync(fd)
}
