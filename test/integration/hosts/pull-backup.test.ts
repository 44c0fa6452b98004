import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PullSite } from '../../support/hosts/pull-site.ts'
import { dataChecksum, makeTestDir, startCluster, type DataChecksum } from '../../support/postgres/postgres.ts'

/** Only the repository host knows it. */
const PASSPHRASE = 'a passphrase of the repository host'

let site: PullSite
beforeAll(async () => {
  if (!canSwitchUsers) return
  site = await PullSite.start({
    cluster: { dataChecksums: true },
    repository: {
      'repo1-bundle': 'y',
      'repo1-block': 'y',
      'compress-type': 'zst',
      'repo1-cipher-type': 'aes-256-cbc',
      'repo1-cipher-pass': PASSPHRASE,
      'process-max': '2',
    },
  })
  const { cluster, hosts } = site
  await cluster.query('create table big as select g as id, md5(g::text) as v from generate_series(1, 300000) g')
  await hosts.repository.pgtsOk('--stanza=main', 'stanza-create')
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const onHosts = test.runIf(canSwitchUsers)

async function backUp(type: string): Promise<string> {
  const { repository } = site.hosts
  const { stdout } = await repository.pgtsOk('--stanza=main', '--log-level-console=detail', `--type=${type}`, 'backup')
  return stdout
}

/** Restored on PostgreSQL's host, from the repository host. */
async function restoredData(): Promise<DataChecksum> {
  const { postgres } = site.hosts
  const dir = join(makeTestDir('restored'), 'data')
  const recovery = ['--type=immediate', '--target-action=promote']
  await postgres.pgtsOk(`--config=${postgres.configFile}`, '--stanza=main', `--pg1-path=${dir}`, ...recovery, 'restore')
  await using restored = await startCluster({ dir, conf: { archive_mode: 'off' } })
  await restored.untilPrimary()
  return await dataChecksum(restored)
}

onHosts(
  'full and incr backups that the repository host pulls are complete, by several connections or one',
  async () => {
    const { cluster, hosts } = site
    const full = await backUp('full')
    // P01 is the connection of the command, P02 the second one.
    expect(full).toMatch(/ P01 DETAIL: backup file .*base/)
    expect(full).toMatch(/ P02 DETAIL: backup file .*base/)
    await cluster.query('update big set v = v || v where id between 1000 and 1100; checkpoint')
    const data = await dataChecksum(cluster)
    const incr = await backUp('incr')
    expect(incr).toMatch(/incr backup size = /)
    expect(await restoredData()).toEqual(data)
    const verified = await hosts.repository.pgtsOk('--stanza=main', 'verify')
    expect(verified.stdout).toContain('errors = 0')

    // Neither host keeps a lock, and the configuration of PostgreSQL's host has no secret.
    for (const { dir } of [hosts.postgres, hosts.repository]) expect(readdirSync(join(dir, 'lock'))).toEqual([])
    expect(full + incr).not.toContain(PASSPHRASE)
  },
  120_000,
)
