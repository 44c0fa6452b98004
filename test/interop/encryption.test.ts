import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import { backUp, type Link, type Program, restoredData, run } from '../support/sites/chain.ts'
import { giveToTestUser, isInstalled, makeTestDir } from '../support/postgres/postgres.ts'
import { aSite, askBoth, asWritten, PGBACKREST, type Site } from '../support/sites/site.ts'

interface Row {
  readonly first: Program
  readonly codec: 'gz' | 'zst'
  readonly bundle: boolean
  readonly archiveCopy: boolean
}

const rows: readonly Row[] = [
  { first: 'pgts', codec: 'gz', bundle: true, archiveCopy: false },
  { first: 'pgbackrest', codec: 'zst', bundle: false, archiveCopy: true },
]

const PASS = 'Schlüssel für "beide"'
const present = isInstalled(PGBACKREST)
/** Block incremental backups of 2.45 cannot be read by any release. */
const hasBlocks = present && !/ 2\.([0-3]\d|4[0-5])$/m.test(execFileSync(PGBACKREST, ['version'], { encoding: 'utf8' }))
const CELLS_A_ROW = 16
const cell = countCells('encryption', rows.length * CELLS_A_ROW)

/** One encrypted chain made by both programs in turn; every file is read by the program that did not write it. */
describe.skipIf(!present).each(rows)('$first begins, $codec, bundle $bundle, archive-copy $archiveCopy', (row) => {
  const second: Program = row.first === 'pgts' ? 'pgbackrest' : 'pgts'

  test('both programs use one encrypted stanza: archive, chain, restore, verify, expire', async () => {
    const blocks = row.bundle && hasBlocks
    await using site = await aSite({
      version: 15,
      walSegsizeMb: 1,
      archiver: row.first,
      options: {
        'repo1-cipher-type': 'aes-256-cbc',
        'repo1-cipher-pass': PASS,
        'compress-type': row.codec,
        'process-max': '2',
        ...(row.bundle ? { 'repo1-bundle': 'y', 'repo1-bundle-limit': '256KiB' } : {}),
        ...(blocks ? { 'repo1-block': 'y' } : {}),
        ...(row.archiveCopy ? { 'archive-copy': 'y' } : {}),
      },
    })
    const { cluster } = site
    const tested = (what: string) => cell(`${row.first}/${row.codec}/${what}`)
    const tablespace = join(site.dir, 'tablespace')
    mkdirSync(tablespace, { mode: 0o700 })
    giveToTestUser(tablespace)
    await cluster.query(`create tablespace ts location '${tablespace}'`)
    await cluster.query('create table t (id serial primary key, v text) tablespace ts')
    await cluster.query('create table d as select i, md5(i::text) as v from generate_series(1, 20000) i')

    await run(site, row.first, 'stanza-create')
    await run(site, second, 'stanza-create')
    tested('stanza-create finds a valid stanza')
    await run(site, second, 'check')
    tested('check')

    const chain: Link[] = []
    for (const [by, type, edit] of [
      [row.first, 'full', "insert into t (v) select 'full ' || i from generate_series(1, 3000) i"],
      [second, 'incr', 'update d set v = v where i % 5000 = 0'],
      [row.first, 'diff', "insert into t (v) select 'diff ' || i from generate_series(1, 3000) i"],
      [second, 'full', 'truncate t'],
    ] as const) {
      await cluster.query(edit)
      chain.push(await backUp(site, by, type))
      tested(`${type} by ${by}`)
    }
    await site.verifiedByPgbackrest()
    tested('verify')
    const [ours, theirs] = await askBoth((who) => infoOf(site, who))
    expect(ours).toEqual(theirs)
    expect(ours).toMatchObject([{ cipher: 'aes-256-cbc', repo: [{ cipher: 'aes-256-cbc' }] }])
    tested('info agrees')

    for (const [index, { label, by, data }] of chain.entries()) {
      const other: Program = by === 'pgts' ? 'pgbackrest' : 'pgts'
      expect(await restoredData(site, other, label), `${label} by ${other}`).toEqual(data)
      tested(`restore of ${index} by ${other}`)
    }

    const archive = join(site.repo, 'archive/main/15-1')
    const directory = readdirSync(archive).find((name) => /^[0-9A-F]{16}$/.test(name))!
    const backupHistory = readdirSync(join(archive, directory)).find((name) => name.endsWith('.backup'))!
    const segment = readdirSync(join(archive, directory)).sort()[0]!.slice(0, 24)
    for (const file of [segment, backupHistory]) {
      const contents = []
      for (const who of ['pgts', 'pgbackrest'] as const) {
        const destination = join(makeTestDir('got'), 'file')
        await run(site, who, 'archive-get', file, destination)
        contents.push(readFileSync(destination))
      }
      expect(contents[0]!.equals(contents[1]!)).toBe(true)
      if (file === backupHistory) expect(contents[0]!.toString()).toContain('START WAL LOCATION')
      tested(`archive-get of ${file === segment ? 'a segment' : 'a backup history file'}`)
    }

    await run(site, row.first, '--repo1-retention-full=1', 'expire')
    await site.verifiedByPgbackrest()
    const last = chain.at(-1)!
    expect(await restoredData(site, last.by, last.label)).toEqual(last.data)
    tested('expire, verify, restore')

    // pgbackrest exits with 29 or 95 by chance, and prints the wrongly decrypted bytes.
    const wrong = await site.pgts(['check'], { env: { PGTS_REPO1_CIPHER_PASS: 'wrong' } })
    expect(wrong.code).toBe(95)
    tested('a wrong passphrase')
  }, 300_000)
})

/** Newer releases have more members in `status.lock`; everything else must be the same. */
async function infoOf(site: Site, who: Program): Promise<unknown> {
  const text = await run(site, who, '--output=json', 'info')
  return JSON.parse(text, (key, value: unknown) => (key === 'lock' ? undefined : asWritten(key, value)))
}
