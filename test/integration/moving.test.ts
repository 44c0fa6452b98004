import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { giveToTestUser } from '../support/postgres/postgres.ts'
import { Host, runbook } from '../support/run/host.ts'

// The commands of docs/guide/moving.md, in order, on a real server that the other tool archives and backs up.
const steps = (section: string) => runbook(section, 'docs/guide/moving.md')
const COUNT = 'select count(*) from t'

async function restored(host: Host, command: string): Promise<void> {
  await host.archive()
  await host.ok('sudo systemctl stop postgresql')
  await host.ok(`rm -rf '${host.dataDir}' && ${command} restore && sudo systemctl start postgresql`)
  await host.ok(`until [ "$(psql -Atc 'select pg_is_in_recovery()')" = f ]; do sleep 0.2; done`)
}

test('From pgBackRest, and back', async () => {
  await using host = await Host.withServer({ conf: { archive_command: 'false' } })
  const { dir } = host
  const config = join(dir, 'pgbackrest.conf')
  host.paths['/etc/pgbackrest/pgbackrest.conf'] = config
  const paths = ['log', 'lock', 'spool'].map((name) => `${name}-path=${dir}/${name}\n`).join('')
  writeFileSync(
    config,
    `[global]\nrepo1-path=${dir}/repo\nrepo1-retention-full=2\nstart-fast=y\n${paths}` +
      `[main]\npg1-path=${host.dataDir}\npg1-socket-path=${dir}/run\npg1-user=postgres\n`,
  )
  giveToTestUser(config)
  const pgbackrest = `pgbackrest --config=${config} --stanza=main`
  await host.sql(`alter system set archive_command = '${pgbackrest} archive-push %p'`)
  await host.sql('select pg_reload_conf()')
  await host.ok(`${pgbackrest} stanza-create`)
  await host.sql('create table t as select i from generate_series(1, 1000) i')
  await host.ok(`${pgbackrest} --type=full backup`)

  for (const step of steps('From pgBackRest')) await host.ok(step)
  await host.sql('insert into t select i from generate_series(1001, 2000) i')
  await restored(host, `pgts --config=${config} --stanza=main`)
  expect(await host.sql(COUNT)).toBe('2000')

  for (const step of steps('Back to pgBackRest')) await host.ok(step)
  await host.sql('insert into t select i from generate_series(2001, 3000) i')
  await restored(host, pgbackrest)
  expect(await host.sql(COUNT)).toBe('3000')
}, 300_000)

test('From scripts', async () => {
  await using host = await Host.withServer()
  mkdirSync(join(host.dir, 'archive'))
  giveToTestUser(join(host.dir, 'archive'))
  await host.sql(`alter system set archive_command = 'cp %p ${host.dir}/archive/%f'`)
  await host.sql('select pg_reload_conf()')
  await host.sql('create table t as select i from generate_series(1, 1000) i')
  await host.archive()
  for (const step of steps('From scripts')) await host.ok(step)
  expect(await host.ok('pgts info')).toContain('full backup: ')
  await host.sql('insert into t select i from generate_series(1001, 2000) i')
  await restored(host, 'pgts --stanza=main')
  expect(await host.sql(COUNT)).toBe('2000')
}, 300_000)
