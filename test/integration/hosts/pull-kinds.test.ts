import { existsSync, mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PullSite } from '../../support/hosts/pull-site.ts'
import {
  dataChecksum,
  giveToTestUser,
  makeTestDir,
  startCluster,
  type DataChecksum,
} from '../../support/postgres/postgres.ts'
import { PGBACKREST } from '../../support/processes/programs.ts'
import { objectStores } from '../../support/stores/object-stores.ts'

const onHosts = test.runIf(canSwitchUsers)
const all = process.env['PGTS_TEST_HOSTS'] === 'all'

/** Restored on PostgreSQL's host by a program that reads the repository through the repository host. */
async function restoredData(
  site: PullSite,
  program: 'pgts' | 'pgbackrest',
  tablespaces: readonly string[] = [],
): Promise<DataChecksum> {
  const { postgres } = site.hosts
  const dir = makeTestDir('pulled')
  for (const name of ['data', ...tablespaces]) mkdirSync(join(dir, name), { mode: 0o700 })
  giveToTestUser(dir)
  const there = program === 'pgbackrest' ? [`--repo1-host-cmd=${PGBACKREST}`] : []
  const maps = tablespaces.map((name) => `--tablespace-map=${name}=${join(dir, name)}`)
  const places = [`--config=${postgres.configFile}`, `--pg1-path=${join(dir, 'data')}`, ...maps]
  const recovery = ['--type=immediate', '--target-action=promote']
  const { code, stdout } = await postgres[program](['--stanza=main', ...there, ...places, ...recovery, 'restore'])
  expect(code, stdout).toBe(0)
  await using restored = await startCluster({
    dir: join(dir, 'data'),
    version: site.cluster.version,
    conf: { archive_mode: 'off' },
  })
  await restored.untilPrimary()
  return await dataChecksum(restored)
}

onHosts(
  'a pulled backup with a tablespace and a link is read and restored by pgbackrest',
  async () => {
    await using site = await PullSite.start()
    const { cluster, hosts } = site
    const tablespace = makeTestDir('tablespace')
    const outside = makeTestDir('outside')
    for (const dir of [tablespace, outside]) giveToTestUser(dir)
    await cluster.query(`create tablespace ts location '${tablespace}'`)
    await cluster.query('create table t tablespace ts as select i, md5(i::text) from generate_series(1, 20000) i')
    renameSync(join(cluster.dataDir, 'pg_hba.conf'), join(outside, 'pg_hba.conf'))
    symlinkSync(join(outside, 'pg_hba.conf'), join(cluster.dataDir, 'pg_hba.conf'))
    await hosts.repository.pgtsOk('--stanza=main', 'stanza-create')
    await hosts.repository.pgtsOk('--stanza=main', 'backup')
    const data = await dataChecksum(cluster)
    const verified = await hosts.repository.pgbackrest(['--stanza=main', '--output=text', '--verbose', 'verify'])
    expect(verified.stdout, verified.stderr).toMatch(/status: ok/)
    expect(verified.stdout).not.toMatch(/(?:invalid|missing|other): [1-9]/)
    expect(await restoredData(site, 'pgbackrest', ['ts'])).toEqual(data)
    await hosts.repository.pgtsOk('--stanza=main', `--drill-path=${hosts.repository.dir}/drill`, 'drill')

    // As the guide says; the cluster is then one of the repository host.
    const here = join(hosts.repository.dir, 'restored')
    const places = ['--reset-pg1-host', `--pg1-path=${here}/data`, `--tablespace-map=ts=${here}/ts`]
    await hosts.repository.pgtsOk('--stanza=main', ...places, 'restore')
    expect(existsSync(join(here, 'data/global/pg_control'))).toBe(true)
  },
  120_000,
)

function intoStore(): void {
  const s3 = objectStores.find(({ name }) => name === 's3')!

  test('a backup is pulled into a store that only the repository host knows', async () => {
    const bucket = await s3.bucket()
    const { 'repo1-storage-ca-file': _, ...options } = bucket.options()
    await using site = await PullSite.start({
      cluster: { version: 17 },
      repository: {
        ...options,
        'repo1-storage-verify-tls': 'n',
        'repo1-bundle': 'y',
        'repo1-block': 'y',
        'process-max': '3',
      },
    })
    const { cluster, hosts } = site
    await cluster.query('create table t as select i, md5(i::text) from generate_series(1, 100000) i')
    await hosts.repository.pgtsOk('--stanza=main', 'stanza-create')
    await hosts.repository.pgtsOk('--stanza=main', '--type=full', 'backup')
    await cluster.query('update t set md5 = null where i % 1000 = 0')
    await hosts.repository.pgtsOk('--stanza=main', '--type=diff', 'backup')
    expect([...(await bucket.objects()).keys()].filter((name) => name.endsWith('/backup.manifest'))).toHaveLength(2)
    expect(await restoredData(site, 'pgts')).toEqual(await dataChecksum(cluster))
  }, 180_000)
}

if (all) intoStore()
