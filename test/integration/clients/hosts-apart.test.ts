import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canSwitchUsers, Hosts } from '../../support/hosts/hosts.ts'
import { TlsServer } from '../../support/hosts/tls-server.ts'
import {
  type Cluster,
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  startCluster,
} from '../../support/postgres/postgres.ts'
import { Client, infoOf } from '../../support/sites/client.ts'
import { aSite, type Site } from '../../support/sites/site.ts'
import { standbyOf, STREAMED } from '../../support/sites/standby.ts'

// Rows of clients whose repository is on another host: TLS (C, G, H) and SSH (K).

describe('by TLS', () => {
  let server: TlsServer
  let site: Site
  let client: Client

  beforeAll(async () => {
    // H6: the configuration is in the environment, and has sections of commands.
    const global = [`repo1-path=${makeTestDir('tls-repository')}`, 'archive-copy=y', 'link-all=y', 'resume=n']
    const sections = ['[global:server]', 'log-level-console=detail', '[main:backup]', 'start-fast=y']
    server = await TlsServer.start({ name: 'pgbackrest', auth: ['db1=*'], global, sections })
    const certificate = server.authority.issue('db1', { subject: '/CN=db1' })
    site = await aSite({ walSegsizeMb: 1, options: server.clientOptions('repo1-host', certificate) })
    client = new Client({ PGBACKREST_CONFIG: site.config })
    await client.ok(['--stanza=main', 'stanza-create'])
  }, 120_000)
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })

  const ping = (...args: string[]) => client.run(['server-ping', ...args], { PGBACKREST_CONFIG: server.config })

  test('C7, H6: the process of the server is named pgbackrest, answers server-ping, and reloads on HUP', async () => {
    expect(readFileSync(`/proc/${server.pid}/comm`, 'utf8')).toBe('pgbackrest\n')
    expect((await ping()).code).toBe(0)
    await server.reload()
    expect((await ping()).code).toBe(0)
  })

  test('G6: server-ping of a host within a time', async () => {
    expect((await ping('--io-timeout=10', 'localhost')).code).toBe(0)
  })

  test('C3: archive_command and restore_command reach the repository host', async () => {
    await client.ok(['--stanza=main', 'check'])
    const { max } = infoOf(await client.ok(['info', '--stanza=main', '--output=json']))[0]!.archive[0]!
    const destination = join(client.bin, 'RECOVERYXLOG')
    const get = (name: string) => client.sh(`pgbackrest --stanza=main archive-get ${name} "${destination}" --repo=1`)
    expect(await get(max)).toMatchObject({ code: 0, stderr: '' })
    expect(readFileSync(destination).length).toBe(1024 * 1024)
    expect(await get('0000000900000000000000FF')).toMatchObject({ code: 1, stdout: '', stderr: '' })
  })

  test('C2, C4: a backup and a replica use the repository host', async () => {
    await client.ok(['backup', '--stanza=main', '--repo=1', '--type=full', '--archive-copy=y', '--archive-check=y'])
    const target = client.directory('replica')
    const restore = ['restore', '--delta', '--stanza=main', '--repo=1', '--type=standby']
    expect((await client.run(restore, { PGBACKREST_PG1_PATH: target })).code).toBe(0)
    expect((await client.sh(`test -f ${target}/standby.signal`)).code).toBe(0)
  })

  test('C7: the server ends on TERM', async () => {
    server.kill('SIGTERM')
    await server.ended()
    expect((await ping()).code).not.toBe(0)
  })
})

test('H2, G8: backups beside a standby: pg2 by TLS is the primary, or the standby with backup-standby=y', async () => {
  await using site = await aSite({ walSegsizeMb: 1, conf: STREAMED })
  await site.pgtsOk('stanza-create')
  await using standby = await standbyOf(site.cluster)
  const lines = (options: Readonly<Record<string, string>>) =>
    Object.entries(options).map(([name, value]) => `${name}=${value}`)
  const serverOf = (served: Cluster) =>
    TlsServer.start({
      name: 'pgbackrest',
      auth: ['pooler=main'],
      global: ['tls-server-address=*'],
      sections: ['[main]', ...lines(served.pgOptions())],
    })
  await using server = await serverOf(site.cluster)
  const client = new Client()
  const config = join(client.bin, 'pgbackrest.conf')
  const here = [`repo1-path=${site.dir}/repo`, `lock-path=${client.directory('lock')}`, 'log-level-file=off']
  const global = [...here, 'log-level-console=info', 'start-fast=y', 'archive-copy=y', 'link-all=y']
  writeFileSync(config, ['[global]', ...global, '[main]', ...lines(standby.pgOptions()), ''].join('\n'))
  giveToTestUser(config)

  const certificate = server.authority.issue('pooler', { subject: '/CN=pooler' })
  const pg2 = { ...server.clientOptions('pg2-host', certificate), 'pg2-path': site.cluster.dataDir }
  const common = ['--stanza=main', `--config=${config}`]
  const stdout = await client.ok([
    ...common,
    '--type=full',
    ...lines(pg2).map((line) => `--${line}`),
    '--annotation=job=7',
    'backup',
  ])
  expect(stdout).toMatch(/new backup label = \d{8}-\d{6}F$/m)
  expect(server.log()).toContain("client 'pooler' runs backup")
  const [info] = infoOf(await client.ok([...common, '--output=json', '--log-level-console=off', 'info']))
  expect(info!.backup[0]!.annotation).toEqual({ job: '7' })

  await using other = await serverOf(standby)
  const charm = join(client.bin, 'charm.conf')
  const standbyAsPg2 = {
    ...other.clientOptions('pg2-host', other.authority.issue('pooler', { subject: '/CN=pooler' })),
    'pg2-path': standby.dataDir,
  }
  const clusters = [...lines(site.cluster.pgOptions()), ...lines(standbyAsPg2)]
  writeFileSync(charm, ['[global]', ...global, 'backup-standby=y', '[main]', ...clusters, ''].join('\n'))
  giveToTestUser(charm)
  const args = ['--stanza=main', `--config=${charm}`, '--type=full', '--log-level-console=detail', 'backup']
  expect(await client.ok(args)).toMatch(/backup file .*base/)
  expect(other.log()).toContain("client 'pooler' runs backup")
}, 120_000)

describe.runIf(canSwitchUsers)('by SSH', () => {
  test('K: autobase archives to, and fetches from, a repository host', async () => {
    await using hosts = await Hosts.start()
    const { postgres, repository } = hosts
    for (const { dir } of [postgres, repository]) symlinkSync(pgtsProgram(), join(dir, 'bin/pgbackrest'))
    const archive = `${postgres.dir}/bin/pgbackrest --config=${postgres.configFile} --stanza=main archive-push %p`
    await using cluster = await startCluster({
      walSegsizeMb: 1,
      conf: { archive_mode: 'on', archive_command: archive },
    })
    repository.configure({ global: { 'repo1-path': `${repository.dir}/repo` } })
    postgres.configure({
      global: {
        'cmd-ssh': `${postgres.dir}/bin/ssh`,
        'repo1-host': 'repo-host',
        'repo1-host-user': repository.user.name,
        'repo1-host-cmd': `${repository.dir}/bin/pgbackrest`,
      },
      main: cluster.pgOptions(),
    })
    const run = async (...args: string[]) => {
      const result = await postgres.run(join(postgres.dir, 'bin/pgbackrest'), ['--stanza=main', ...args])
      expect(result.code, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0)
      return result.stdout
    }
    await run('--no-online', 'stanza-create')
    await run('--no-online', 'stanza-upgrade')
    expect(await run('--no-online', 'stanza-create')).toContain('already exists')
    await run('check')
    const { max } = infoOf(await run('info', '--output=json'))[0]!.archive[0]!
    await run('archive-get', max, join(postgres.dir, 'fetched'))
    await run('stop', '--force')
    await run('start')
  }, 120_000)
})
