import { join } from 'node:path'
import { expect, test } from 'vitest'
import { restoreElsewhere } from '../support/sites/elsewhere.ts'
import { objectStores } from '../support/stores/object-stores.ts'
import { dataChecksum, isInstalled, startCluster } from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

const present = isInstalled(PGBACKREST)
const azure = objectStores.find(({ name }) => name === 'azure')!

async function labels(site: Site, who: 'pgts' | 'pgbackrest'): Promise<string[]> {
  const { stdout } = await (who === 'pgts'
    ? site.pgtsOk('--output=json', 'info')
    : site.pgbackrestOk('--output=json', 'info'))
  return (JSON.parse(stdout) as { backup: { label: string }[] }[])[0]?.backup.map(({ label }) => label) ?? []
}

test.skipIf(!present)(
  `pgbackrest in Azure${present ? '' : ' (left out: pgbackrest is not installed)'}: each program continues and restores the backups of the other`,
  async () => {
    const bucket = await azure.bucket()
    const [writer, reader] = ['pgts', 'pgbackrest'] as const
    const cipher = { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'both know this one' }
    await using site = await aSite({
      walSegsizeMb: 1,
      archiver: writer,
      options: { 'process-max': '2', 'compress-type': 'lz4', 'repo1-bundle': 'y', ...cipher, ...bucket.options() },
    })
    const { cluster } = site
    const run = (who: typeof writer | typeof reader, ...args: string[]) =>
      who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args)
    await run(writer, 'stanza-create')
    await run(reader, 'stanza-create')
    await run(reader, 'check')
    await cluster.query('create table t as select g as id, md5(g::text) as v from generate_series(1, 60000) g')
    await run(writer, '--type=full', 'backup')
    await cluster.query('update t set v = v where id % 5000 = 0')
    await run(reader, '--type=incr', 'backup')
    await cluster.query("insert into t select g, 'late' from generate_series(1, 200) g")
    const wanted = await dataChecksum(cluster)
    await run(reader, 'check')
    expect(await labels(site, 'pgts')).toHaveLength(2)
    expect(await labels(site, 'pgts')).toEqual(await labels(site, 'pgbackrest'))
    await site.verifiedByPgbackrest()
    for (const who of ['pgts', 'pgbackrest'] as const) {
      const restored = await restoreElsewhere(site, [], { who })
      await using copy = await startCluster({ dir: join(restored, 'data'), conf: { archive_mode: 'off' } })
      await copy.untilPrimary()
      expect(await dataChecksum(copy), `restored by ${who}`).toEqual(wanted)
    }
    await run(writer, '--type=full', '--repo1-retention-full=1', 'backup')
    await run(reader, '--repo1-retention-full=1', 'expire')
    expect(await labels(site, 'pgts')).toEqual(await labels(site, 'pgbackrest'))
    expect(await labels(site, 'pgts')).toHaveLength(1)
    await site.verifiedByPgbackrest()
    expect(await bucket.openUploads()).toEqual([])
  },
  240_000,
)
