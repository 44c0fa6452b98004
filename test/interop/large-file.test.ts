import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compressible } from '../support/builders/codec.ts'
import { giveToTestUser, isInstalled, makeTestDir } from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST } from '../support/sites/site.ts'

test.skipIf(!isInstalled(PGBACKREST))(
  'both programs restore a file that several threads have compressed, or one in parts',
  async () => {
    await using site = await aSite({ walSegsizeMb: 1, options: { 'compress-type': 'zst' } })
    await site.pgtsOk('stanza-create')
    await site.cluster.stop()
    const content = Buffer.alloc(160 * 1024 * 1024, compressible(1_000_000, 'text', 1))
    const name = 'larger-than-the-rest'
    writeFileSync(join(site.cluster.dataDir, name), content)
    giveToTestUser(join(site.cluster.dataDir, name))

    const stored: Buffer[] = []
    for (const [processMax, level] of [
      [2, 6],
      [1, 6],
      [1, 3],
    ] as const) {
      const how = [`--process-max=${processMax}`, `--compress-level=${level}`]
      await site.pgtsOk('--type=full', '--no-online', ...how, 'backup')
      stored.push(readFileSync(join(site.repo, 'backup/main/latest/pg_data', `${name}.zst`)))
      await site.verifiedByPgbackrest()
      for (const who of ['pgts', 'pgbackrest'] as const) {
        const target = join(makeTestDir('restored'), 'data')
        mkdirSync(target, { mode: 0o700 })
        giveToTestUser(target)
        const restore = [`--pg1-path=${target}`, 'restore']
        await (who === 'pgts' ? site.pgtsOk(...restore) : site.pgbackrestOk(...restore))
        expect(readFileSync(join(target, name)).equals(content), who).toBe(true)
      }
    }
    // One thread compresses to other bytes: there were several.
    expect(stored[0]!.equals(stored[1]!)).toBe(false)
  },
)
