import { chmodSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'

let site: Site
/** A time after the first table and before the second, as text of the server. */
let moment: string
beforeAll(async () => {
  site = await aSite({ version: 15 })
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  await cluster.query('create table first as select 1 as a')
  await sleep(1100)
  const [row] = await cluster.query("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as at")
  moment = String(row!['at']).replace(' ', 'T')
  await cluster.query('create table second as select 1 as a')
  await cluster.query('select pg_switch_wal()')
  await untilArchived(cluster)
}, 120_000)
afterAll(() => site[Symbol.asyncDispose]())

const elsewhere = () => join(makeTestDir('restored'), 'data')

async function tablesOf(cluster: Cluster): Promise<unknown[]> {
  await cluster.untilPrimary()
  const rows = await cluster.query("select relname from pg_class where relname in ('first', 'second') order by 1")
  return rows.map((row) => row['relname'])
}

test.each([
  ['Z', (at: string) => `${at}Z`],
  [
    'a comma before the fraction, and a zone by name',
    (at: string) => `${at.replace('T', ' ').replace('.', ',')} Etc/UTC`,
  ],
])(
  'a server recovers to a target time with %s, and stops there',
  async (_, written) => {
    const dir = elsewhere()
    const target = ['--type=time', `--target=${written(moment)}`, '--target-action=promote']
    const { stdout } = await site.pgtsOk(`--pg1-path=${dir}`, '--archive-mode=off', ...target, 'restore')
    expect(stdout).toBe('')
    const setting = `recovery_target_time = '${moment.replace('T', ' ').replace(/0+$/, '')}`
    expect(readFileSync(join(dir, 'postgresql.auto.conf'), 'utf8')).toContain(setting)
    await using restored = await startCluster({ version: 15, dir })
    expect(await tablesOf(restored)).toEqual(['first'])
  },
  60_000,
)

test('a local target time is read in the zone of TZ, also of a POSIX rule', async () => {
  const dir = elsewhere()
  const local = new Date(Date.parse(`${moment}Z`) + 5.5 * 3_600_000).toISOString().slice(0, 19).replace('T', ' ')
  const target = ['--type=time', `--target=${local}`, '--target-action=promote']
  const result = await site.pgts([`--pg1-path=${dir}`, '--archive-mode=off', ...target, 'restore'], {
    env: { TZ: '<+0530>-5:30' },
  })
  expect(result.code).toBe(0)
  expect(readFileSync(join(dir, 'postgresql.auto.conf'), 'utf8')).toContain(`recovery_target_time = '${local}+05:30'`)
}, 60_000)

test('restore --no-restore-check warns before the copy of a target that the archive does not reach, and of a copy that would archive', async () => {
  const dir = elsewhere()
  const future = ['--type=time', '--target=2099-01-01 00:00:00+00']
  const { stdout } = await site.pgtsOk('--no-restore-check', `--pg1-path=${dir}`, ...future, 'restore')
  expect(stdout).toContain("WARN: target time '2099-01-01 00:00:00+00' is in the future: recovery cannot reach it")
  expect(stdout).toContain(
    `WARN: the restored cluster is a copy and cannot archive into stanza main: it was restored to another directory than '${site.cluster.dataDir}'`,
  )

  const beyond = await site.pgtsOk(
    '--no-restore-check',
    '--delta',
    `--pg1-path=${dir}`,
    '--archive-mode=off',
    '--type=lsn',
    '--target=F/0',
    'restore',
  )
  expect(beyond.stdout).toMatch(
    /^[^\n]*WARN: the archive ends with WAL segment 00000001[0-9A-F]{16}: recovery does not/,
  )
}, 60_000)

test('restore --delta --force copies a file that its owner cannot read', async () => {
  const dir = elsewhere()
  await site.pgtsOk(`--pg1-path=${dir}`, '--archive-mode=off', 'restore')
  const relation = join(dir, 'base/1/1259')
  const content = readFileSync(relation)
  chmodSync(relation, 0)
  await site.pgtsOk('--delta', '--force', `--pg1-path=${dir}`, '--archive-mode=off', 'restore')
  expect(statSync(relation).mode & 0o777).toBe(0o600)
  expect(readFileSync(relation).equals(content)).toBe(true)
  await using restored = await startCluster({ version: 15, dir })
  expect(await tablesOf(restored)).toEqual(['first', 'second'])
}, 60_000)

test('restore warns of a gap in the WAL before the copy', async () => {
  const { cluster } = site
  const names: string[] = []
  for (let i = 0; i < 3; i++) {
    await cluster.query(`create table more_${i} as select 1 as a`)
    names.push(String((await cluster.query('select pg_walfile_name(pg_switch_wal()) as name'))[0]!['name']))
  }
  await untilArchived(cluster)
  const directory = join(site.repo, 'archive/main/15-1', names[1]!.slice(0, 16))
  const { stdout } = await site.pgtsOk('--output=json', 'repo-ls', `archive/main/15-1/${names[1]!.slice(0, 16)}`)
  const stored = Object.keys(JSON.parse(stdout) as object).find((name) => name.startsWith(names[1]!))!
  rmSync(join(directory, stored))
  expect(existsSync(directory)).toBe(true)

  const result = await site.pgtsOk(`--pg1-path=${elsewhere()}`, '--archive-mode=off', 'restore')
  expect(result.stdout).toContain(`WARN: WAL segment ${names[1]} is not in the archive, but later ones are`)
}, 60_000)
