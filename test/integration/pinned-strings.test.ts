import { readdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTestDir, pgtsProgram, runAs, serverBinaries, testUser } from '../support/postgres/postgres.ts'
import { runOk } from '../support/processes/test-user.ts'
import { aSite, type Site } from '../support/sites/site.ts'

/** One stanza in two repositories; later tests use what earlier ones left. */
let site: Site
let repo2: string
beforeAll(async () => {
  repo2 = makeTestDir('repo2')
  const options = { 'repo1-retention-full': '1', 'repo2-path': repo2, 'repo2-retention-full': '1' }
  site = await aSite({ walSegsizeMb: 1, options })
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const bin = makeTestDir('bin')
const NAMES = ['pgts', 'pgbackrest'] as const
for (const name of NAMES) symlinkSync(pgtsProgram(), join(bin, name))
const called = (name: (typeof NAMES)[number], args: readonly string[]) =>
  runAs(testUser, join(bin, name), args, { cwd: site.dir, deadlineMs: 120_000 })
/** With the configuration of the site, under each name: for commands that change nothing. */
const underBothNames = (...args: string[]) =>
  Promise.all(NAMES.map((name) => called(name, [`--config=${site.config}`, '--stanza=main', ...args])))

const backUp = (...args: string[]) => site.pgts(['--log-level-console=info', ...args, 'backup'])
const logOf = (command: string) => readFileSync(join(site.dir, 'log', `main-${command}.log`), 'utf8')
const startsWith = (text: string) => new RegExp(`^${text.replaceAll(/[[\].]/g, '\\$&')}`)
const labels = (repo: string) => readdirSync(join(repo, 'backup/main')).filter((name) => /^\d{8}-\d{6}F$/.test(name))

/** What monitoring and operators find in the output of pgbackrest, in its order and on its stream. */
describe('texts that programs match', () => {
  test('info, and backup, before the stanza exists', async () => {
    for (const { stdout } of await underBothNames('info'))
      expect(stdout).toContain('status: error (missing stanza path)')
    for (const name of NAMES) {
      const args = [`--config=${site.config}`, '--stanza=main', '--log-level-console=info', 'backup']
      const { code, stdout, stderr } = await called(name, args)
      expect({ code, stderr }).toEqual({ code: 55, stderr: '' })
      expect(stdout).toMatch(/ P00   INFO: backup command begin \S+: --.*\n/)
      expect(stdout).toMatch(/ P00  ERROR: \[055\]: .*unable to open missing file '.*\/main\/archive\.info' for read: /)
      expect(stdout).toMatch(/backup command end: aborted with exception \[055\]\n$/)
    }
  })

  test('stanza-create, and again', async () => {
    const created = await site.pgtsOk('--log-level-console=info', 'stanza-create')
    expect(created.stdout).toMatch(/stanza-create command end: completed successfully \(\d+ms\)\n$/)
    const { stdout } = await site.pgtsOk('--log-level-console=info', 'stanza-create')
    expect(stdout).toContain("stanza 'main' already exists on repo1 and is valid\n")
    expect((await site.pgtsOk('info')).stdout).toContain('status: error (no valid backups)')
  })

  test('a first backup of the default type warns that it is a full one', async () => {
    const { stdout } = await site.pgtsOk('backup')
    expect(stdout).toMatch(/ P00   WARN: no prior backup exists, incr backup has been changed to full\n/)
    expect((await site.pgtsOk('info')).stdout).toContain('status: mixed')
    expect((await site.pgtsOk('--repo=1', 'info')).stdout).toContain('status: ok')
  })

  test('a stop file', async () => {
    await site.pgtsOk('stop')
    const refused = {
      code: 62,
      stdout: expect.stringContaining('ERROR: [062]: stop file exists for stanza main') as string,
    }
    for (const name of NAMES)
      expect(await called(name, [`--config=${site.config}`, '--stanza=main', 'backup'])).toMatchObject(refused)
    await site.pgtsOk('start')
    expect((await site.pgtsOk('start')).stdout).toContain('WARN: stop file does not exist for stanza main')
  })

  test('stanza-create and check for another cluster', async () => {
    const other = join(makeTestDir('other'), 'data')
    await runOk(join(serverBinaries(site.cluster.version), 'initdb'), ['-D', other, '--no-sync'])
    const { code, stdout } = await site.pgts([`--pg1-path=${other}`, '--no-online', 'stanza-create'])
    expect({ code, stdout }).toMatchObject({
      code: 28,
      stdout: expect.stringContaining(
        'ERROR: [028]: backup and archive info files exist but do not match the database',
      ) as string,
    })
  })

  test('the version of a backup in JSON is a number, and pgts has a member of its own', async () => {
    const { stdout } = await site.pgtsOk('--output=json', 'info')
    const [{ backup }] = JSON.parse(stdout) as [{ backup: { backrest: unknown }[] }]
    const numeric = expect.stringMatching(/^\d+\.\d+\.\d+$/) as string
    expect(backup[0]?.backrest).toEqual({
      format: 5,
      version: numeric,
      writer: expect.stringMatching(/^pgts /) as string,
    })
  })

  test('verify of a damaged repository does not end as completed', async () => {
    const good = await site.pgtsOk('--repo=1', '--log-level-console=info', 'verify')
    const counts = (errors: string) =>
      new RegExp(
        ` P00   INFO: repo1: verified backups = 1, backup files = [1-9]\\d*, WAL segments = [1-9]\\d*, ` +
          `bytes read = \\d{7,} \\([\\d.]+MB\\), errors = ${errors}\n.* verify command end: `,
      )
    expect(good.stdout).toMatch(counts('0'))
    expect(logOf('verify')).toMatch(counts('0'))
    expect(good.stdout).toMatch(/verify command end: completed successfully \(\d+ms\)\n$/)
    const path = join(site.repo, 'backup/main', labels(site.repo)[0]!, 'pg_data/global')
    const file = join(
      path,
      readdirSync(path).find((name) => name.startsWith('pg_control'))!,
    )
    renameSync(file, `${file}.lost`)
    const { code, stdout } = await site.pgts(['--repo=1', '--log-level-console=info', 'verify'])
    renameSync(`${file}.lost`, file)
    expect(code).toBe(104)
    expect(stdout).toMatch(/ P00   INFO: stanza: main\n *status: error\n/)
    expect(stdout).toMatch(counts('1'))
    expect(stdout).toMatch(/verify command end: aborted with exception \[104\]\n$/)
  })

  test.each([
    [
      'a configuration file that is missing',
      ['--config=/no/x.conf', 'backup'],
      "P00  ERROR: [055]: unable to open missing file '/no/x.conf' for read",
    ],
    ['an option that is required', ['backup'], 'P00  ERROR: [037]: '],
    ['a value that is invalid', ['--stanza=main', '--process-max=zz', 'backup'], 'P00  ERROR: [032]: '],
    ['an option of another command', ['--stanza=main', '--set=x', 'backup'], 'P00  ERROR: [031]: '],
  ])('%s is reported on standard output', async (_, args, text) => {
    for (const name of NAMES) {
      const { stdout, stderr } = await called(name, args)
      expect({ stdout, stderr }).toEqual({ stdout: expect.stringMatching(startsWith(text)) as string, stderr: '' })
    }
  })

  test.each([
    ['an option that does not exist', ['--foo', 'backup'], 'ERROR: [031]: '],
    ['a command that does not exist', ['foo'], 'ERROR: [048]: '],
    ['a parameter that the command does not take', ['backup', 'x'], 'ERROR: [096]: '],
    [
      'with JSON, a configuration file that is missing',
      ['--config=/no/x.conf', '--output=json', 'info'],
      'ERROR: [055]: ',
    ],
  ])('%s is reported on standard error', async (_, args, text) => {
    for (const name of NAMES) {
      const { stdout, stderr } = await called(name, args)
      expect({ stdout, stderr }).toEqual({ stdout: '', stderr: expect.stringMatching(startsWith(text)) as string })
    }
  })
})

describe('the expire of a backup', () => {
  test('is a command of its own on the console, and has its log file', async () => {
    const { code, stdout } = await backUp('--repo=2')
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /new backup label = \d{8}-\d{6}F\n[^]*backup command end: completed successfully \(\d+ms\)\n.*expire command begin \S+: --.*\n[^]*expire command end: completed successfully \(\d+ms\)\n$/,
      ) as string,
    })
    expect(logOf('backup')).not.toContain('expire command')
    expect(logOf('expire')).toMatch(/expire command begin [^]*expire command end: completed successfully/)
    expect(logOf('expire')).not.toContain('start-fast')
  })

  test('removes from the repository of --repo only, or from all', async () => {
    const older = labels(repo2)
    expect((await backUp('--repo=2', '--no-expire-auto', '--type=full')).code).toBe(0)
    expect((await backUp('--repo=1', '--type=full')).code).toBe(0)
    expect(labels(repo2)).toEqual(expect.arrayContaining(older))
    expect((await backUp('--type=incr')).code).toBe(0)
    expect(labels(repo2)).toHaveLength(1)
    expect(labels(repo2)).not.toEqual(older)
  })

  test('that fails in another repository is an error with exit code 104, and the backup is kept', async () => {
    const lost = ['backup.info', 'backup.info.copy'].map((name) => join(repo2, 'backup/main', name))
    for (const path of lost) renameSync(path, `${path}.lost`)
    const { code, stdout } = await backUp('--type=full')
    for (const path of lost) renameSync(`${path}.lost`, path)
    expect({ code, stdout }).toMatchObject({
      code: 104,
      stdout: expect.stringMatching(
        /backup command end: completed successfully [^]*ERROR: \[055\]: repo2: [^]*ERROR: \[104\]: [^]*expire command end: aborted with exception \[104\]\n$/,
      ) as string,
    })
    expect(labels(site.repo)).toHaveLength(1)
    await site.pgtsOk('--repo=1', `--set=${labels(site.repo)[0]}`, 'info')
  })
})
