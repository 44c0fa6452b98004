import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PullSite } from '../../support/hosts/pull-site.ts'
import { makeFork } from '../../support/postgres/fork.ts'
import { unarchivedSegment } from '../../support/sites/replica.ts'
import { until } from '../../support/until.ts'

let site: PullSite

beforeAll(async () => {
  if (canSwitchUsers) site = await PullSite.start()
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const onHosts = test.runIf(canSwitchUsers)

onHosts('stanza-create, check and stanza-upgrade work from the repository host', async () => {
  const { repository } = site.hosts
  await repository.pgtsOk('--stanza=main', 'stanza-create')
  const check = await repository.pgtsOk('--stanza=main', 'check')
  expect(check.stdout).toMatch(/WAL segment [0-9A-F]{24} successfully archived to '.*' on repo1/)
  const upgrade = await repository.pgtsOk('--stanza=main', 'stanza-upgrade')
  expect(upgrade.stdout).toContain("stanza 'main' on repo1 is already up to date")
  // The entry of authorized_keys from the guide of pgBackRest.
  await repository.pgtsOk('--stanza=main', '--pg1-host=pg-host-forced', 'check')
  expect(readdirSync(join(site.hosts.postgres.dir, 'log'))).toEqual([])
})

onHosts('commands that need the files of the cluster are refused on the repository host', async () => {
  const { repository } = site.hosts
  for (const args of [
    ['archive-push', 'pg_wal/1'],
    ['archive-get', '000000010000000000000001', '/tmp/x'],
    ['restore'],
    ['archive-status'],
  ]) {
    const { code, stdout, stderr } = await repository.pgts(['--stanza=main', ...args])
    expect(code).toBe(72)
    expect(stdout + stderr).toContain(`${args[0]} command must be run on the PostgreSQL host`)
    expect(stdout + stderr).toContain("HINT: run it on host 'pg-host'")
  }
})

onHosts('the reason of a missing segment comes from the host of the cluster', async () => {
  const { cluster, hosts } = site
  await unarchivedSegment(cluster)
  try {
    const { code, stdout } = await hosts.repository.pgts(['--stanza=main', '--archive-timeout=3', 'check'])
    expect(code).toBe(82)
    expect(stdout).toContain('archive_command')
    expect(stdout).toMatch(/HINT: .*archive_command/)
  } finally {
    await cluster.query('alter system reset archive_command')
    await cluster.query('select pg_reload_conf()')
  }
})

onHosts('a copy is refused on behalf of the repositories of its own host', async () => {
  const { cluster, hosts } = site
  const mark = join(cluster.dataDir, 'pgts.copy')
  writeFileSync(mark, 'of a later version')
  hosts.postgres.give(mark)
  const { code, stdout } = await hosts.repository.pgts(['--stanza=main', 'check'])
  expect(code).toBe(44)
  expect(stdout).toContain("raised from remote-0 ssh protocol on 'pg-host': this cluster is a copy")
  await hosts.postgres.pgtsOk('--stanza=main', 'archive-allow')
})

onHosts('doctor examines the cluster of another host', async () => {
  const { stdout } = await site.hosts.repository.pgts(['--stanza=main', '--output=json', 'doctor'])
  const report = JSON.parse(stdout) as { notChecked: unknown[]; checked: number; findings: { rule: string }[] }
  expect(report.findings.filter(({ rule }) => rule.endsWith('-unreadable'))).toEqual([])
  expect(report.notChecked).toEqual([])
  expect(report.findings.map(({ rule }) => rule)).toContain('backup-missing')
  expect(report.findings.map(({ rule }) => rule)).not.toContain('cluster-unreadable')
})

onHosts('locks and stop files of both hosts forbid a command', async () => {
  const { postgres, repository } = site.hosts
  await postgres.pgtsOk('--stanza=main', 'stop')
  const stopped = await repository.pgts(['--stanza=main', 'backup'])
  expect(stopped.code).toBe(62)
  expect(stopped.stdout).toContain("raised from remote-0 ssh protocol on 'pg-host': stop file exists")
  // Not a warning about one of several clusters.
  const second = ['--pg2-host=pg-host', `--pg2-host-user=${postgres.user.name}`, '--pg2-path=/nonexistent']
  expect(await repository.pgts(['--stanza=main', ...second, 'backup'])).toMatchObject({ code: 62 })
  await postgres.pgtsOk('--stanza=main', 'start')

  const file = join(postgres.dir, 'lock/main-backup-1.lock')
  let pid = 0
  const holding = postgres.run('/usr/bin/flock', [file, 'sh', '-c', `touch ${file}.held; exec sleep 600`], {
    onStart: (started) => (pid = started),
  })
  await until('the lock', () => existsSync(`${file}.held`))
  const locked = await repository.pgts(['--stanza=main', 'backup'])
  expect(locked.code).toBe(50)
  expect(locked.stdout).toContain("raised from remote-0 ssh protocol on 'pg-host':")
  process.kill(-pid, 'SIGKILL')
  await holding
})

onHosts('server:remote limits a repository host to its stanzas and to the configured directory', async () => {
  const { postgres, repository } = site.hosts
  postgres.write('bin/limited', `#!/bin/sh\nexec ${postgres.dir}/bin/pgts server:remote main\n`, 0o750)
  const limited = (...args: string[]) => repository.pgts([`--pg1-host-cmd=${postgres.dir}/bin/limited`, ...args])
  expect(await limited('--stanza=main', 'stanza-upgrade')).toMatchObject({ code: 0 })
  const other = await limited(
    '--stanza=other',
    `--pg1-path=${site.cluster.dataDir}`,
    '--pg1-host=pg-host',
    'stanza-create',
  )
  expect(other.code).toBe(105)
  const path = await limited('--stanza=main', '--pg1-path=/etc', 'stanza-upgrade')
  expect(path.code).toBe(105)
  expect(path.stdout).toContain(`access to '/etc' is denied: pg1-path is '${site.cluster.dataDir}'`)
})

onHosts('stanza-delete sees the server of the other host', async () => {
  const { repository } = site.hosts
  await repository.pgtsOk('--stanza=main', 'stop')
  const { code, stdout } = await repository.pgts(['--stanza=main', 'stanza-delete'])
  await repository.pgtsOk('--stanza=main', 'start')
  expect(code).toBe(38)
  expect(stdout).toContain('postmaster.pid exists')
})

onHosts('an unreachable host, a wrong directory, a server that is down', async () => {
  const { repository, postgres } = site.hosts
  const fails = async (args: string[], code: number, message: string) => {
    const result = await repository.pgts(['--stanza=main', ...args])
    expect(result.stdout + result.stderr).toContain(message)
    expect(result.code).toBe(code)
  }
  await fails(['--pg1-host-port=1', 'stanza-upgrade'], 49, "ssh protocol on 'pg-host'")
  await fails(
    ['--pg1-path=/nonexistent', 'stanza-upgrade'],
    55,
    "unable to open missing file '/nonexistent/global/pg_control'",
  )
  await fails(['--pg1-port=1', 'stanza-upgrade'], 56, "raised from remote-0 ssh protocol on 'pg-host':")
  await fails(['--pg1-host-cmd=/bin/true', 'stanza-upgrade'], 49, 'pg-host')
  expect(postgres.user.name).not.toBe(repository.user.name)
})

onHosts('a fork of PostgreSQL is backed up with pg-version-force', async () => {
  const { cluster, hosts } = site
  await cluster.stop()
  makeFork(cluster.dataDir)
  const backup = ['--stanza=main', '--no-online', '--type=full', 'backup']
  expect(await hosts.repository.pgts(backup)).toMatchObject({ code: 46 })
  await hosts.repository.pgtsOk('--pg-version-force=15', ...backup)
})
