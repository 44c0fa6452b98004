import { closeSync, openSync, readFileSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { parseManifest } from '../../src/format/manifest-parse.ts'
import { type Manifest } from '../../src/format/manifest.ts'
import { backUp, type Link, restoredData } from '../support/sites/chain.ts'
import { dataChecksum, giveToTestUser, startCluster } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'

function manifestOf(site: Site, { label }: Pick<Link, 'label'>): Manifest {
  return parseManifest(readFileSync(join(site.repo, 'backup/main', label, 'backup.manifest')))
}

async function change(site: Site, round: number): Promise<void> {
  await site.cluster.query(`update t set v = 'round ${round}' where i % 97 = ${round}`)
  await site.cluster.query(`insert into t select i, 'new ${round}' from generate_series(1, 500) i`)
  await site.cluster.query(`create table only_${round} as select ${round} as a`)
}

/** `false` if no newer pgbackrest is installed, which could check blocks. */
const judgesBlocks = process.env['PGTS_TEST_PGBACKREST'] !== undefined

test.each([
  ['plain', 'zst', ['', 'bundle', 'block', 'bundle', '']],
  ['blocks', 'gz', ['block', '', 'bundle', 'block', 'block']],
])(
  'bundles and blocks are switched on and off in a chain that begins with %s',
  async (_, codec, forms) => {
    await using site = await aSite({ version: 15, walSegsizeMb: 1, options: { 'compress-type': codec } })
    await site.cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 30000) i')
    await site.pgtsOk('stanza-create')
    const chain: Link[] = []
    for (const [round, form] of forms.entries()) {
      const options = [
        ...(form === '' ? [] : ['--repo1-bundle', '--repo1-bundle-limit=256KiB']),
        ...(form === 'block' ? ['--repo1-block'] : []),
      ]
      await change(site, round)
      chain.push(await backUp(site, 'pgts', round === 0 ? 'full' : 'incr', ...options))
    }
    const manifests = chain.map((link) => manifestOf(site, link))
    // The form of bundled files is a property of the set.
    expect(manifests.map(({ bundleRaw }) => bundleRaw)).toEqual(forms.map(() => forms[0] === 'block'))
    expect(manifests.map(({ blockIncremental }) => blockIncremental)).toEqual(forms.map((form) => form === 'block'))
    expect(manifests.map(({ bundle }) => bundle)).toEqual(forms.map((form) => form !== ''))

    for (const link of chain) expect(await restoredData(site, 'pgts', link.label), link.label).toEqual(link.data)
    if (judgesBlocks) {
      await site.verifiedByPgbackrest()
      const last = chain.at(-1)!
      expect(await restoredData(site, 'pgbackrest', last.label)).toEqual(last.data)
    }
  },
  180_000,
)

test('the first incr after a restore compares checksums, because file times are not reliable', async () => {
  await using site = await aSite({ version: 15, walSegsizeMb: 1 })
  const { cluster } = site
  await cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 30000) i')
  await site.pgtsOk('stanza-create')
  const full = await backUp(site, 'pgts', 'full')
  const [point] = await cluster.query('select pg_current_wal_insert_lsn()::text as lsn')
  await change(site, 1)
  const lost = await backUp(site, 'pgts', 'incr')
  await cluster.stop()
  await site.pgtsOk('--delta', '--type=lsn', `--target=${String(point?.['lsn'])}`, '--target-action=promote', 'restore')
  await cluster.start()
  await cluster.untilPrimary()
  expect(await dataChecksum(cluster)).toEqual(full.data)
  await change(site, 2)

  const before = await dataChecksum(cluster)
  const { stdout } = await site.pgtsOk('--type=incr', '--log-level-console=warn', 'backup')
  expect(stdout).toMatch(/WARN: the timeline has changed since backup .*compared by checksum/)
  const { stdout: info } = await site.pgtsOk('--output=json', 'info')
  const [{ backup: backups }] = JSON.parse(info) as [{ backup: { label: string; prior: string | null }[] }]
  expect(backups.at(-1)!.prior).toBe(lost.label)
  const manifest = manifestOf(site, backups.at(-1)!)
  expect(manifest.options.delta).toBe(true)
  expect([...manifest.files].filter(({ reference }) => reference !== undefined).length).toBeGreaterThan(500)
  expect(await restoredData(site, 'pgts', manifest.label)).toEqual(before)
  expect(await restoredData(site, 'pgts', lost.label)).toEqual(lost.data)
}, 120_000)

test('an incr finds every file that was changed while the full before it copied', async () => {
  await using site = await aSite({ version: 15, walSegsizeMb: 1 })
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  const names = Array.from({ length: 200 }, (_, number) => join(cluster.dataDir, `changed-${number}`))
  for (const name of names) {
    writeFileSync(name, 'original')
    // Its time is settled when the full begins.
    utimesSync(name, 1_000_000_000, 1_000_000_000)
    giveToTestUser(name)
  }
  const full = site.pgtsOk('--type=full', '--start-fast', 'backup')
  let isRunning = true
  void full.finally(() => (isRunning = false))
  let last = 0
  for (let number = 0; isRunning; number = (number + 1) % names.length) {
    // The size stays, so that only the time shows the change.
    const file = openSync(names[number]!, 'r+')
    writeSync(file, String(++last).padStart(8, '0'))
    closeSync(file)
    await sleep(2)
  }
  await full
  const final = names.map((name) => readFileSync(name, 'utf8'))
  expect(final.filter((content) => content !== 'original').length).toBeGreaterThan(10)

  await site.pgtsOk('--type=incr', '--start-fast', 'backup')
  const target = join(site.dir, 'restored')
  await site.pgtsOk(`--pg1-path=${target}`, '--type=none', 'restore')
  expect(names.map((name) => readFileSync(join(target, basename(name)), 'utf8'))).toEqual(final)
}, 120_000)

test('an offline backup after an online one compares checksums, and an unchanged stopped cluster is refused', async () => {
  await using site = await aSite({ version: 16, walSegsizeMb: 1 })
  const { cluster } = site
  await cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 5000) i')
  await site.pgtsOk('stanza-create')
  const full = await backUp(site, 'pgts', 'full')
  await cluster.stop()
  const offline = await site.pgtsOk('--no-online', '--type=incr', '--log-level-console=warn', 'backup')
  expect(offline.stdout).toMatch(/WARN: backup .* was made online and this one is not/)
  const again = await site.pgts(['--no-online', '--type=incr', 'backup'])
  expect(again.code).toBe(55)
  expect(again.stdout + again.stderr).toMatch(/no file has changed since backup .*nothing to back up/)

  const target = join(site.dir, 'restored')
  await site.pgtsOk(`--pg1-path=${target}`, '--type=none', 'restore')
  await using restored = await startCluster({ version: 16, dir: target, conf: { archive_mode: 'off' } })
  await restored.untilPrimary()
  expect(await dataChecksum(restored)).toEqual(full.data)
}, 120_000)
