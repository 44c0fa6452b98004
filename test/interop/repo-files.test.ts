import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import { pgtsProgram } from '../support/postgres/postgres.ts'
import { unarchivedSegment } from '../support/sites/replica.ts'
import { endResidents } from '../support/sites/resident.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import { isInstalled, runAs, testUser } from '../support/processes/test-user.ts'

/** repo-ls, repo-get, repo-put and repo-rm of both programs on one encrypted repository. */
const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const cell = countCells('files of a repository', 4)

describe.runIf(installed)('repository commands of pgts and pgbackrest', () => {
  let site: Site

  beforeAll(async () => {
    site = await aSite({
      version: 15,
      options: { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'for tests', 'log-level-console': 'warn' },
    })
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('--type=full', 'backup')
    // Nothing changes while the programs are compared.
    await unarchivedSegment(site.cluster)
    await endResidents(site)
  }, 60_000)
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]()
  })

  /** stdout as bytes, which a text decoder would change. */
  async function bytes(who: 'pgts' | 'pgbackrest', ...args: string[]): Promise<Buffer> {
    const out = join(site.dir, `out-${who}`)
    const program = who === 'pgts' ? pgtsProgram() : PGBACKREST
    const script = 'out=$1; shift; exec "$@" > "$out"'
    const { code, stderr } = await runAs(
      testUser,
      'sh',
      ['-c', script, 'sh', out, program, `--config=${site.config}`, ...args],
      { cwd: site.dir },
    )
    expect(code, `${who} ${args.join(' ')}: ${stderr}`).toBe(0)
    return readFileSync(out)
  }

  test.each([
    [['repo-ls']],
    [['repo-ls', 'backup/main']],
    [['--output=json', 'repo-ls', 'backup/main']],
    [['--output=json', '--recurse', 'repo-ls']],
    [['--output=json', '--recurse', '--sort=desc', 'repo-ls', 'archive']],
    [['--recurse', '--filter=\\.info$', 'repo-ls', 'backup/main']],
    [['--output=json', 'repo-ls', 'backup/main/backup.info']],
    [['repo-ls', 'backup/main/backup.info']],
    [['--output=json', 'repo-ls', 'not/there']],
    [['repo-ls', 'not/there']],
  ])('%j prints the same in both programs', async (args) => {
    expect((await bytes('pgts', ...args)).toString()).toBe((await bytes('pgbackrest', ...args)).toString())
    cell('repo-ls')
  })

  test('repo-get prints every file as pgbackrest does, decrypted and raw', async () => {
    const listing = (await bytes('pgts', '--recurse', '--output=json', 'repo-ls')).toString()
    const files = Object.entries(JSON.parse(listing) as Record<string, { type: string; size?: number }>)
    const wanted = files
      .filter(([name, { type, size = 0 }]) => type === 'file' && size > 0 && !name.includes('/pg_data/base/'))
      .map(([name]) => name)
    expect(wanted.some((name) => name.endsWith('archive.info'))).toBe(true)
    expect(wanted.some((name) => name.endsWith('.manifest.gz'))).toBe(true)
    const some = wanted.filter((name, index) => index % 12 === 0 || /info|manifest|archive\//.test(name))
    for (const name of some) {
      for (const raw of [[], ['--raw']]) {
        const ours = await bytes('pgts', '--stanza=main', ...raw, 'repo-get', name)
        expect(ours.length, name).toBeGreaterThan(0)
        expect(ours.equals(await bytes('pgbackrest', '--stanza=main', ...raw, 'repo-get', name)), name).toBe(true)
      }
    }
    expect((await bytes('pgts', 'repo-get', join(site.repo, 'backup/main/backup.info'))).toString()).toMatch(/^\[/)
    cell('repo-get')
  }, 120_000)

  test('repo-put of one program is read and removed by the other', async () => {
    const file = join(site.dir, 'content')
    writeFileSync(file, Buffer.from([0, 255, 10, 13, 1, 2, 3]))
    for (const [one, other] of [
      [pgtsProgram(), PGBACKREST],
      [PGBACKREST, pgtsProgram()],
    ] as const) {
      const piped = (program: string, ...args: string[]) =>
        runAs(
          testUser,
          'sh',
          ['-c', 'in=$1; shift; exec "$@" < "$in"', 'sh', file, program, `--config=${site.config}`, ...args],
          {
            cwd: site.dir,
          },
        )
      expect(await piped(one, 'repo-put', 'aside/deep/file')).toMatchObject({ code: 0 })
      const who = other === PGBACKREST ? 'pgbackrest' : 'pgts'
      // pgbackrest has no passphrase for a name that it does not write, so it can only copy the bytes.
      const stored = readFileSync(join(site.repo, 'aside/deep/file'))
      expect(stored.subarray(0, 8).toString()).toBe('Salted__')
      expect((await bytes(who, '--raw', 'repo-get', 'aside/deep/file')).equals(stored)).toBe(true)
      expect((await bytes('pgts', 'repo-get', 'aside/deep/file')).equals(readFileSync(file))).toBe(true)
      expect(await piped(other, 'repo-rm', 'aside')).toMatchObject({ code: 31 })
      expect(await piped(other, '--recurse', 'repo-rm', 'aside')).toMatchObject({ code: 0 })
      expect(await piped(other, 'repo-rm', 'aside')).toMatchObject({ code: 0 })
    }
    cell('repo-put')
  })

  test('paths outside of the repository and missing files are refused by both programs', async () => {
    for (const [args, code] of [
      [['repo-get', '../secret'], 96],
      [['repo-ls', '/etc'], 96],
      [['repo-ls', 'a//b'], 96],
      [['--raw', 'repo-get', 'not-there'], 55],
      [['--raw', '--ignore-missing', 'repo-get', 'not-there'], 1],
    ] as const) {
      expect((await site.pgts(args)).code, args.join(' ')).toBe(code)
      if (args[1] !== '../secret') expect((await site.pgbackrest(args)).code, args.join(' ')).toBe(code)
    }
    // Removal of the whole repository is refused.
    expect((await site.pgts(['--recurse', 'repo-rm', '/'])).code).toBe(96)
    cell('refused')
  })
})
