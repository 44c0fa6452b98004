import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { labelsOf } from '../support/sites/chain.ts'
import { aSite } from '../support/sites/site.ts'

test('damaged pages are reported by relation; the backup is kept, marked, and ends with 26 if configured', async () => {
  await using site = await aSite({ version: 16, walSegsizeMb: 1, dataChecksums: true })
  const { cluster } = site
  await cluster.query('create database "other db"')
  const client = await cluster.client('other db')
  await client.query('create table damaged as select i, md5(i::text) as v from generate_series(1, 5000) i')
  const { rows } = await client.query<{ path: string }>("select pg_relation_filepath('damaged') as path")
  await client.query('checkpoint')
  await client.end()
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')

  const file = openSync(join(cluster.dataDir, rows[0]!.path), 'r+')
  for (const page of [3, 5, 6, 7]) writeSync(file, Buffer.from('damage'), 0, 6, page * 8192 + 4000)
  closeSync(file)

  const warned = await site.pgts(['--type=diff', '--log-level-console=warn', '--repo1-retention-full=1', 'backup'])
  expect(warned.code).toBe(0)
  expect(warned.stdout + warned.stderr).toMatch(/ \(other db\.public\.damaged\) at page\(s\) 3, 5-7/)

  // A full that ends with this error does not expire the backup that may hold the pages undamaged.
  const refused = await site.pgts(['--type=full', '--checksum-page-error=error', '--repo1-retention-full=1', 'backup'])
  expect(refused.code).toBe(26)
  expect(refused.stdout + refused.stderr).toMatch(/contains damaged pages in pg_data\/base\/\d+\/\d+/)
  expect(refused.stdout + refused.stderr).toMatch(/kept/)
  expect(labelsOf(site)).toHaveLength(3)

  // Files that an incr references in a damaged backup are damaged, too.
  const inherited = await site.pgts(['--type=incr', '--checksum-page-error=error', 'backup'])
  expect(inherited.code).toBe(26)
  const full = labelsOf(site)
    .filter((label) => label.endsWith('F'))
    .at(-1)!
  const said = inherited.stdout + inherited.stderr
  expect(said).toMatch(
    /WARN: invalid page checksum\(s\) found in file \S+ \(other db\.public\.damaged\) at page\(s\) 3, 5-7/,
  )
  expect(said).toContain(`the backup refers to backup ${full}, which contains these pages unchanged`)
  // Each later backup reports it again, also when it is no error.
  const again = await site.pgts(['--type=incr', 'backup'])
  expect(again.code).toBe(0)
  expect(again.stdout + again.stderr).toMatch(/WARN: invalid page checksum\(s\) .* at page\(s\) 3, 5-7/)
  const { stdout } = await site.pgtsOk('--output=json', 'info')
  const [stanza] = JSON.parse(stdout) as { backup: { error: boolean }[] }[]
  expect(stanza!.backup.map(({ error }) => error)).toEqual([false, true, true, true, true])
}, 120_000)
