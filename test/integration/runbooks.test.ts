import { readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeTestDir, projectRoot } from '../support/postgres/postgres.ts'
import { Host, runbook } from '../support/run/host.ts'

// Every section of docs/guide/runbooks.md, as an operator runs it: the incident, its commands in order, and then what must be true.
const COUNT = 'select count(*), sum(i) from orders'
const incidents: string[] = []

function incident(section: string, run: (steps: readonly string[]) => Promise<void>): void {
  incidents.push(section)
  test(section, () => run(runbook(section)), 300_000)
}

/** A server with a stanza, a full backup, and rows that are only in the archive. */
async function production(): Promise<Host> {
  const host = await Host.withServer()
  await host.ok('pgts --stanza=main stanza-create')
  await host.sql('create table orders as select i, md5(i::text) as v from generate_series(1, 2000) i')
  await host.ok('pgts --stanza=main --type=full backup')
  await host.sql("insert into orders select i, 'later' from generate_series(2001, 3000) i")
  await host.archive()
  return host
}
const ALL = '3000|4501500'

async function follow(host: Host, steps: readonly string[]): Promise<string[]> {
  const outputs: string[] = []
  for (const step of steps) outputs.push(await host.ok(step))
  return outputs
}

const labelsOf = async (host: Host) =>
  [...(await host.ok('pgts --stanza=main info')).matchAll(/(?:full|diff|incr) backup: (\S+)/g)].map(
    ([, label]) => label!,
  )

incident('The server is lost', async (steps) => {
  await using host = await production()
  await host.crash()
  rmSync(host.dataDir, { recursive: true })
  const [first] = await follow(host, steps)
  expect(first).toContain('full backup: ')
  expect(await host.sql(COUNT)).toBe(ALL)
  expect(await labelsOf(host)).toHaveLength(2)
})

incident('A table was dropped', async (steps) => {
  await using host = await production()
  // The second in which a backup ended is not a target of it.
  await host.sql('select pg_sleep(1.1)')
  const target = await host.sql('select clock_timestamp()')
  await host.sql('select pg_sleep(0.1)')
  await host.sql('drop table orders')
  await host.sql("create table other as select 'kept' as v")
  const timed = steps.map((step) => step.replace('2026-11-22 14:30+00', target))
  expect(timed.join()).toContain(target)
  const outputs = await follow(host, timed)
  expect(outputs[2]).toContain('3000')
  expect(await host.sql(COUNT)).toBe(ALL)
  expect(await host.sql('select v from other')).toBe('kept')
  await host.archive()
})

incident('archive_command fails', async (steps) => {
  await using host = await Host.withServer()
  await host.sql('create table orders as select i from generate_series(1, 10) i')
  await host.sql('select pg_switch_wal()')
  await host.ok(`until [ "$(psql -Atc 'select failed_count from pg_stat_archiver')" -gt 0 ]; do sleep 0.2; done`)
  const [status, attempt] = await follow(host, steps)
  expect(status).toContain('archiving: trouble')
  expect(attempt).toMatch(/ERROR: \[(055|103)\]:[^]*HINT: .*stanza-create/)
  await host.archive()
})

incident('The disk is full of WAL', async (steps) => {
  await using host = await production()
  await host.ok('pgts --stanza=main stop')
  for (let i = 0; i < 8; i++) await host.sql(`create table t${i} (i int); select pg_switch_wal()`)
  const waiting = () => host.ok(`ls '${host.dataDir}/pg_wal/archive_status' | grep -c 'ready$' || true`)
  expect(Number(await waiting())).toBeGreaterThanOrEqual(8)
  const [status] = await follow(host, steps)
  expect(status).toContain('stop')
  await host.archive()
  expect(Number(await waiting())).toBe(0)
})

incident('A damaged page was found', async (steps) => {
  await using host = await production()
  const [label] = await labelsOf(host)
  const path = await host.sql("checkpoint; select pg_relation_filepath('orders')")
  await host.ok('sudo systemctl stop postgresql')
  await host.ok(`printf damage | dd of='${host.dataDir}/${path}' bs=1 seek=12192 conv=notrunc 2>/dev/null`)
  await host.ok('sudo systemctl start postgresql')
  expect(await host.ok('pgts --stanza=main --type=full backup')).toMatch(/WARN: invalid page checksum/)
  await follow(
    host,
    steps.map((step) => step.replaceAll('20261122-013000F', label!)),
  )
  expect(await host.sql(COUNT)).toBe(ALL)
})

incident('The repository is lost', async (steps) => {
  await using host = await production()
  rmSync(host.repo, { recursive: true })
  await host.ok(`mkdir '${host.repo}'`)
  await host.sql('create table t (i int)')
  const outputs = await follow(host, steps)
  expect(outputs.at(-1)).toMatch(/status: ok[^]*full backup: /)
  await host.archive()
  await host.ok('pgts --stanza=main verify')
})

incident('The passphrase is lost', async (steps) => {
  await using host = await production()
  const [passphrase, rest] = [(await host.ok(steps[0]!)).trim(), steps.slice(1)]
  renameSync(host.repo, `${host.repo}-old`)
  await host.ok(`mkdir '${host.repo}'`)
  host.configure(`, cipher-type: aes-256-cbc, cipher-pass: ${passphrase}`)
  await follow(host, rest)
  expect(await host.ok('pgts info')).toMatch(/status: ok[^]*cipher: aes-256-cbc[^]*full backup: /)
})

incident('Failover', async (steps) => {
  const repo = join(makeTestDir('shared'), 'repo')
  await using primary = await Host.withServer({ repo })
  await primary.ok('pgts --stanza=main stanza-create')
  await primary.sql('create table orders as select i from generate_series(1, 100) i')
  await primary.ok('pgts --stanza=main --type=full backup')
  await primary.sql('insert into orders select i from generate_series(101, 200) i')
  await primary.archive()
  await using standby = await Host.create({ repo })
  await standby.ok('pgts --stanza=main --type=standby restore')
  await standby.addSettings()
  await standby.ok('sudo systemctl start postgresql')
  await standby.ok(`until [ "$(psql -Atc 'select count(*) from orders')" = 200 ]; do sleep 0.2; done`)
  await primary.crash()

  const [onStandby, onPrimary] = steps
  await standby.ok(onStandby!)
  await standby.sql('insert into orders select i from generate_series(201, 300) i')
  await standby.archive()
  expect((await primary.ok(onPrimary!)).trim().endsWith('t')).toBe(true)
  await primary.ok(`until [ "$(psql -Atc 'select count(*) from orders')" = 300 ]; do sleep 0.2; done`)
})

incident('After pg_upgrade', async (steps) => {
  await using host = await production()
  await host.crash()
  renameSync(host.dataDir, `${host.dataDir}-old`)
  // Another cluster in its place, as pg_upgrade leaves it.
  await host.ok(`initdb -D '${host.dataDir}' -U postgres -A trust -k --no-sync --wal-segsize=1 >/dev/null`)
  await host.addSettings()
  await host.ok('sudo systemctl start postgresql')
  const outputs = await follow(host, steps)
  expect(outputs.at(-1)).toMatch(/db \(prior\)[^]*full backup: [^]*db \(current\)[^]*full backup: /)
  await host.archive()
})

test('every section of the runbooks is an incident of this file', () => {
  const text = readFileSync(join(projectRoot, 'docs/guide/runbooks.md'), 'utf8')
  expect([...text.matchAll(/^## (.*)$/gm)].map((match) => match[1])).toEqual(incidents)
})
