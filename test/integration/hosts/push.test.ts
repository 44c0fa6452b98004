import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canSwitchUsers, type TestHost } from '../../support/hosts/hosts.ts'
import { PASSPHRASE, PushSite } from '../../support/hosts/push-site.ts'
import { makeTestDir, startCluster } from '../../support/postgres/postgres.ts'
import { objectStores, titleOf } from '../../support/stores/object-stores.ts'
import { until } from '../../support/until.ts'

describe.runIf(canSwitchUsers)('a PostgreSQL host with a repository host', { timeout: 180_000 }, () => {
  let site: PushSite
  beforeAll(async () => {
    site = await PushSite.start()
    await site.cluster.query('create table t as select g from generate_series(1, 1000) g')
  })
  afterAll(() => site[Symbol.asyncDispose]())

  test('prepares the stanza, checks archiving, and takes backups', async () => {
    const { postgres, repository, cluster } = site
    for (const args of [['stanza-create'], ['check'], ['backup', '--type=full']])
      await postgres.pgtsOk('--stanza=main', ...args)
    await cluster.query('insert into t values (-1)')
    await postgres.pgtsOk('--stanza=main', '--process-max=2', 'backup', '--type=incr')
    const there = JSON.parse((await repository.pgtsOk('--stanza=main', '--output=json', 'info')).stdout) as unknown
    const here = JSON.parse((await postgres.pgtsOk('--stanza=main', '--output=json', 'info')).stdout) as unknown
    expect(here).toEqual(there)
    expect(here).toMatchObject([{ cipher: 'aes-256-cbc', status: { code: 0 }, backup: [{}, { type: 'incr' }] }])
  })

  test('expires, and verifies with a hint to do that on the repository host', async () => {
    await site.postgres.pgtsOk('--stanza=main', 'expire')
    const { stdout } = await site.postgres.pgtsOk('--stanza=main', 'verify')
    expect(stdout).toMatch(/verified backups = 2, .*errors = 0/)
    expect(stdout).toContain("run verify on host 'repo-host' instead")
  })

  test('runs the other commands of pgts, with the same results on both hosts', async () => {
    const { postgres, repository } = site
    const [backup] = (await stanzaOf(postgres)).backup
    for (const args of [
      ['stanza-upgrade'],
      [`--set=${backup!.label}`, '--annotation=ticket=7', 'annotate'],
      ['pin', backup!.label],
      ['archive-status'],
      [`--drill-path=${postgres.dir}/drill`, 'drill'],
    ])
      await postgres.pgtsOk('--stanza=main', ...args)
    // fsync is off in this cluster.
    expect((await postgres.pgts(['--stanza=main', 'doctor'])).stdout).toMatch(/: 1 error, [^]*error \[fsync\]/)
    for (const host of [postgres, repository]) {
      expect((await stanzaOf(host)).backup[0]).toMatchObject({ annotation: { ticket: '7' } })
      for (const args of [['repo-ls', 'backup/main'], ['repo-get', 'backup/main/backup.info'], ['metrics'], ['report']])
        expect((await host.pgtsOk('--stanza=main', ...args)).stdout).toContain(backup!.label)
    }
    await postgres.pgtsOk('--stanza=main', 'unpin', backup!.label)
  })

  test('restores a cluster that recovers to the end of the backup', async () => {
    const dir = join(makeTestDir('restored'), 'data')
    const options = ['--type=immediate', '--target-action=promote', '--archive-mode=off', `--pg1-path=${dir}`]
    await site.postgres.pgtsOk('--stanza=main', ...options, 'restore')
    await using restored = await startCluster({ dir, conf: { archive_mode: 'off', archive_command: '' } })
    await restored.untilPrimary()
    expect(await restored.query('select count(*)::int as n, min(g) as least from t')).toEqual([{ n: 1001, least: -1 }])
  })

  test('refuses on the PostgreSQL host what the repository host must do', async () => {
    const result = await site.postgres.pgts(['--stanza=main', 'stanza-delete'])
    expect(result.code).toBe(72)
    expect(result.stdout).toContain("stanza-delete must be run on the repository host 'repo-host'")
  })

  test('leaves no lock and no process on the repository host, and no passphrase on this one', async () => {
    // The server archives the last segment of the backup in the meantime.
    await until('the end of all serving processes', () => servingOf(site.repository).length === 0)
    expect(readdirSync(join(site.repository.dir, 'lock'))).toEqual([])
    expect(
      spawnSync('grep', ['-rlF', PASSPHRASE, site.postgres.dir, site.cluster.dataDir], { encoding: 'utf8' }).stdout,
    ).toBe('')
  })
})

interface Listed {
  readonly backup: readonly { readonly label: string; readonly annotation?: unknown }[]
}

async function stanzaOf(host: TestHost): Promise<Listed> {
  const { stdout } = await host.pgtsOk('--stanza=main', '--output=json', 'info')
  return (JSON.parse(stdout) as Listed[])[0]!
}

/** Processes of pgts that serve this host. */
function servingOf({ dir }: TestHost): string[] {
  const lines = execFileSync('ps', ['-e', '-o', 'args='], { encoding: 'utf8' }).split('\n')
  return lines.filter((line) => line.includes(`${dir}/bin/pgts`) && line.includes('--remote-type'))
}

function beforeStores(): void {
  // The key file of gcs belongs to the test user, and the repository host has another one.
  const stores = objectStores.filter(({ name }) => name !== 'gcs')
  describe.each(stores)('a repository host with a repository in $name', { timeout: 180_000 }, (store) => {
    test(`gives it to a PostgreSQL host that has no credentials: ${titleOf(store)}`, async () => {
      const bucket = await store.bucket()
      await using site = await PushSite.start({ repository: { ...bucket.options(), 'repo1-path': '/backups' } })
      for (const args of [['stanza-create'], ['check'], ['backup', '--type=full'], ['verify']])
        await site.postgres.pgtsOk('--stanza=main', ...args)
      const names = [...(await bucket.objects()).keys()]
      const manifests = names.filter((name) => /^backups\/backup\/main\/\d{8}-\d{6}F\/backup\.manifest$/.test(name))
      expect(manifests).toHaveLength(1)
    })
  })
}

if (process.env['PGTS_TEST_HOSTS'] === 'all') beforeStores()
