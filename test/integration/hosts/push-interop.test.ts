import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PushSite } from '../../support/hosts/push-site.ts'
import { makeTestDir, startCluster } from '../../support/postgres/postgres.ts'
import { PGBACKREST } from '../../support/processes/programs.ts'

describe.runIf(canSwitchUsers)('pgbackrest and a repository host', { timeout: 180_000 }, () => {
  let site: PushSite
  beforeAll(async () => {
    site = await PushSite.start()
    await site.cluster.query('create table t as select g from generate_series(1, 1000) g')
    for (const args of [['stanza-create'], ['backup', '--type=full']])
      await site.postgres.pgtsOk('--stanza=main', ...args)
  })
  afterAll(() => site[Symbol.asyncDispose]())

  test('pgbackrest on the repository host reads, verifies and restores what pgts on the PostgreSQL host wrote', async () => {
    const { repository } = site
    const info = await repository.pgbackrest(['--stanza=main', '--output=json', '--log-level-console=off', 'info'])
    expect(JSON.parse(info.stdout)).toMatchObject([{ status: { code: 0 }, backup: [{ error: false }] }])
    const verified = await repository.pgbackrest(['--stanza=main', '--output=text', '--verbose', 'verify'])
    expect(verified.stdout).toContain('status: ok')
    const target = join(repository.dir, 'restored')
    mkdirSync(target)
    repository.give(target)
    const restored = await repository.pgbackrest(['--stanza=main', `--pg1-path=${target}`, '--type=none', 'restore'])
    expect(restored.code, restored.stdout + restored.stderr).toBe(0)
  })

  test('pgts on the PostgreSQL host restores what pgbackrest on the repository host wrote', async () => {
    const { repository, postgres } = site
    await site.cluster.query('insert into t values (-1)')
    const there = {
      'cmd-ssh': `${repository.dir}/bin/ssh`,
      'pg1-host': 'pg-host',
      'pg1-host-user': postgres.user.name,
      'pg1-host-cmd': PGBACKREST,
      'pg1-host-config': postgres.configFile,
    }
    const options = Object.entries(there).map(([name, value]) => `--${name}=${value}`)
    const backup = await repository.pgbackrest(['--stanza=main', '--type=full', '--start-fast', ...options, 'backup'])
    expect(backup.code, backup.stdout + backup.stderr).toBe(0)
    const dir = join(makeTestDir('restored'), 'data')
    const recovery = ['--type=immediate', '--target-action=promote', '--archive-mode=off', `--pg1-path=${dir}`]
    await postgres.pgtsOk('--stanza=main', ...recovery, 'restore')
    await using restored = await startCluster({ dir, conf: { archive_mode: 'off', archive_command: '' } })
    await restored.untilPrimary()
    expect(await restored.query('select count(*)::int as n from t')).toEqual([{ n: 1001 }])
  })
})
