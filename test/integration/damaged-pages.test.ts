import { closeSync, existsSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { labelsOf } from '../support/sites/chain.ts'
import { makeTestDir, pgtsProgram, runAs, testUser } from '../support/processes/test-user.ts'
import { aSite, type Site } from '../support/sites/site.ts'

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
  expect(warned.stdout).toMatch(/WARN: 1 file contains invalid page checksums in backup \S+D\n$/)

  // With checksum-page-error the backup is not finished, and its continuation fails for the same file.
  for (const _ of [1, 2]) {
    const stopped = await site.pgts(['--type=full', '--checksum-page-error', 'backup'])
    expect(stopped).toMatchObject({
      code: 26,
      stdout: expect.stringMatching(/ERROR: \[026\]: invalid page checksum.* at page\(s\) 3, 5-7/) as string,
    })
    expect(manifestsOf(site)).toHaveLength(2)
  }

  // A full that ends with this error does not expire the backup that may hold the pages undamaged.
  const refused = await site.pgts(['--type=full', '--page-error-exit', '--repo1-retention-full=1', 'backup'])
  expect(refused.code).toBe(26)
  expect(refused.stdout + refused.stderr).toMatch(/contains damaged pages in pg_data\/base\/\d+\/\d+/)
  expect(refused.stdout + refused.stderr).toMatch(/kept/)
  expect(manifestsOf(site)).toHaveLength(3)

  // Files that an incr references in a damaged backup are damaged, too.
  const inherited = await site.pgts(['--type=incr', '--page-error-exit', 'backup'])
  expect(inherited.code).toBe(26)
  const full = manifestsOf(site)
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

  // The backup that the full of today would leave as the oldest is damaged: nothing is removed, also not WAL.
  const kept = await site.pgts(['--repo1-retention-full=1', 'expire'])
  expect(kept).toMatchObject({
    code: 104,
    stdout: expect.stringContaining(
      `the oldest remaining backup ${full} would contain invalid page checksums`,
    ) as string,
  })
  expect(manifestsOf(site)).toHaveLength(5)

  const target = join(makeTestDir('restored'), 'data')
  const restore = (...args: string[]) => site.pgts([`--pg1-path=${target}`, '--type=immediate', ...args, 'restore'])
  expect(await restore()).toMatchObject({
    code: 26,
    stdout: expect.stringMatching(
      /ERROR: \[026\]: backup \S+I contains invalid page checksums in pg_data\/base/,
    ) as string,
  })
  expect(existsSync(target)).toBe(false)
  const regardless = await restore('--no-checksum-page-error')
  expect(regardless.code, regardless.stdout).toBe(0)
  expect(regardless.stdout).toMatch(/WARN: invalid page checksum\(s\) found in file base\/\S+ at page\(s\) 3, 5-7/)
  expect(regardless.stdout).toMatch(/WARN: 1 file contains invalid page checksums in the restored cluster\n$/)
  expect(existsSync(join(target, 'global/pg_control'))).toBe(true)
}, 120_000)

test.each([
  ['error', 'page-error-exit'],
  ['warn', 'remove the option'],
])('the value %s that checksum-page-error had before is refused with a hint', async (value, hint) => {
  const { code, stdout } = await runAs(testUser, pgtsProgram(), [
    `--checksum-page-error=${value}`,
    '--stanza=main',
    'backup',
  ])
  expect({ code, stdout }).toEqual({ code: 32, stdout: expect.stringContaining(hint) as string })
})

function manifestsOf(site: Site): string[] {
  return labelsOf(site).filter((label) => existsSync(join(site.repo, 'backup/main', label, 'backup.manifest')))
}
