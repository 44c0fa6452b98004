import { join } from 'node:path'
import { expect, test } from 'vitest'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PullSite } from '../../support/hosts/pull-site.ts'
import { dataChecksum, makeTestDir, startCluster } from '../../support/postgres/postgres.ts'
import { clusterOptions, standbyOf, STREAMED, untilReplayed } from '../../support/sites/standby.ts'

test.runIf(canSwitchUsers)(
  'the repository host pulls from a standby, beside the primary and without it',
  { timeout: 180_000 },
  async () => {
    await using site = await PullSite.start({ cluster: { conf: STREAMED } })
    const { cluster: primary, hosts } = site
    const { postgres, repository } = hosts
    await primary.query('create table t as select i, md5(i::text) as v from generate_series(1, 20000) i')
    await using standby = await standbyOf(primary)
    site.configure({
      'pg2-host': 'pg-host',
      'pg2-host-user': postgres.user.name,
      'pg2-host-cmd': `${postgres.dir}/bin/pgts`,
      ...clusterOptions(standby, 2),
    })
    const call = (...args: string[]) => repository.pgtsOk('--stanza=main', '--log-level-console=detail', ...args)
    await call('stanza-create')
    const full = await call('--type=full', '--backup-standby', 'backup')
    expect(full.stdout).toContain(`backup file ${primary.dataDir}/postgresql.conf`)
    expect(full.stdout).toContain(`backup file ${standby.dataDir}/base/`)
    expect(full.stdout).not.toContain(`backup file ${primary.dataDir}/base/`)

    await primary.query(`update t set v = 'last' where i % 100 = 0`)
    const expected = await dataChecksum(primary)
    await untilReplayed(primary, standby)
    await primary.kill()
    const incr = await call('--type=incr', '--backup-standby=only', 'backup')
    expect(incr.stdout).toContain('is not in the archive, so it was copied from the standby')

    const dir = join(makeTestDir('restored'), 'data')
    await postgres.pgtsOk(`--config=${postgres.configFile}`, '--stanza=main', `--pg1-path=${dir}`, 'restore')
    await using copy = await startCluster({ dir, conf: { archive_mode: 'off' } })
    await copy.untilPrimary()
    expect(await dataChecksum(copy)).toEqual(expected)
  },
)
