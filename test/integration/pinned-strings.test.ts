import { appendFileSync, readdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTestDir, pgtsProgram, runAs, serverBinaries, testUser } from '../support/postgres/postgres.ts'
import { runOk } from '../support/processes/test-user.ts'
import { aSite, type Site } from '../support/sites/site.ts'

const NAMES = ['pgts', 'pgbackrest'] as const
type Name = (typeof NAMES)[number]
/** Each name has a stanza of its own, of the same cluster in the same two repositories. */
const STANZAS: Record<Name, string> = { pgts: 'main', pgbackrest: 'second' }

let site: Site
let repo2: string
let otherCluster: string
beforeAll(async () => {
  repo2 = makeTestDir('repo2')
  const options = { 'repo1-retention-full': '1', 'repo2-path': repo2, 'repo2-retention-full': '1' }
  site = await aSite({ walSegsizeMb: 1, options })
  const pgOptions = Object.entries(site.cluster.pgOptions()).map(([option, value]) => `${option}=${value}\n`)
  appendFileSync(site.config, `\n[second]\n${pgOptions.join('')}`)
  // WAL from before a stanza exists is not needed, and a failure would make the archiver pause for a minute.
  const push = (name: Name) =>
    `''${pgtsProgram()}'' --config=${site.config} --stanza=${STANZAS[name]} --log-level-console=off archive-push %p`
  await site.cluster.query(`alter system set archive_command = '${NAMES.map(push).join('; ')}; true'`)
  await site.cluster.query('select pg_reload_conf()')
  otherCluster = join(makeTestDir('other'), 'data')
  await runOk(join(serverBinaries(site.cluster.version), 'initdb'), ['-D', otherCluster, '--no-sync'])
})
afterAll(() => site?.[Symbol.asyncDispose]())

const bin = makeTestDir('bin')
for (const name of NAMES) symlinkSync(pgtsProgram(), join(bin, name))
const called = (name: Name, args: readonly string[]) =>
  runAs(testUser, join(bin, name), args, { cwd: site.dir, deadlineMs: 120_000 })
const startsWith = (text: string) => new RegExp(`^${text.replaceAll(/[[\].]/g, '\\$&')}`)

/** Texts that monitoring and operators find in the output of pgbackrest, in its order and on its stream. Later tests use the state of earlier ones. */
describe.each(NAMES)('called as %s', { timeout: 180_000 }, (name) => {
  const stanza = STANZAS[name]
  const run = (...args: string[]) => called(name, [`--config=${site.config}`, `--stanza=${stanza}`, ...args])
  const runLogged = (...args: string[]) => run('--log-level-console=info', ...args)
  const ok = async (...args: string[]) => {
    const result = await run(...args)
    expect(result.code, result.stdout + result.stderr).toBe(0)
    return result.stdout
  }
  const logOf = (command: string) => readFileSync(join(site.dir, 'log', `${stanza}-${command}.log`), 'utf8')
  const labels = (repo: string) =>
    readdirSync(join(repo, 'backup', stanza)).filter((label) => /^\d{8}-\d{6}F$/.test(label))

  test('info and backup report a missing stanza before stanza-create', async () => {
    expect(await ok('info')).toContain('status: error (missing stanza path)')
    const { code, stdout, stderr } = await runLogged('backup')
    expect({ code, stderr }).toEqual({ code: 55, stderr: '' })
    expect(stdout).toMatch(/ P00   INFO: backup command begin \S+: --.*\n/)
    expect(stdout).toMatch(/ P00  ERROR: \[055\]: .*unable to open missing file '.*\/archive\.info' for read: /)
    expect(stdout).toMatch(/backup command end: aborted with exception \[055\]\n$/)
  })

  test('stanza-create reports its success, and an existing stanza when it runs again', async () => {
    const created = await ok('--log-level-console=info', 'stanza-create')
    expect(created).toMatch(/stanza-create command end: completed successfully \(\d+ms\)\n$/)
    expect(await ok('--log-level-console=info', 'stanza-create')).toContain(
      `stanza '${stanza}' already exists on repo1 and is valid\n`,
    )
    expect(await ok('info')).toContain('status: error (no valid backups)')
  })

  test('the first backup warns that its type was changed to full, and info has the status of each repository', async () => {
    const stdout = await ok('--log-level-console=info', 'backup')
    expect(stdout).toMatch(/ P00   WARN: no prior backup exists, incr backup has been changed to full\n/)
    expect(stdout).toMatch(/new backup label = \d{8}-\d{6}F\n/)
    expect(await ok('info')).toContain('status: mixed')
    expect(await ok('--repo=1', 'info')).toContain('status: ok')
  })

  test('commands are refused while a stop file exists', async () => {
    await ok('stop')
    expect(await run('backup')).toMatchObject({
      code: 62,
      stdout: expect.stringContaining(`ERROR: [062]: stop file exists for stanza ${stanza}`) as string,
    })
    await ok('start')
    expect(await ok('start')).toContain(`WARN: stop file does not exist for stanza ${stanza}`)
  })

  test('stanza-create for another cluster is refused', async () => {
    expect(await run(`--pg1-path=${otherCluster}`, '--no-online', 'stanza-create')).toMatchObject({
      code: 28,
      stdout: expect.stringContaining(
        'ERROR: [028]: backup and archive info files exist but do not match the database',
      ) as string,
    })
  })

  test('info as JSON has the version of a backup as a number, and pgts in a member of its own', async () => {
    const [{ backup, status }] = JSON.parse(await ok('--repo=1', '--output=json', 'info')) as [
      { backup: { backrest: unknown }[]; status: unknown },
    ]
    expect(status).toMatchObject({ code: 0, message: 'ok' })
    expect(backup[0]?.backrest).toEqual({
      format: 5,
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string,
      writer: expect.stringMatching(/^pgts /) as string,
    })
  })

  test('verify of a damaged repository does not end as completed', async () => {
    const good = await runLogged('--repo=1', 'verify')
    const summary = (errors: string) =>
      new RegExp(
        ` P00   INFO: repo1: verified backups = 1, backup files = [1-9]\\d*, WAL segments = [1-9]\\d*, ` +
          `bytes read = \\d{7,} \\([\\d.]+MB\\), errors = ${errors}\n.* verify command end: `,
      )
    expect(good.stdout).toMatch(summary('0'))
    expect(logOf('verify')).toMatch(summary('0'))
    expect(good.stdout).toMatch(/verify command end: completed successfully \(\d+ms\)\n$/)
    const path = join(site.repo, 'backup', stanza, labels(site.repo)[0]!, 'pg_data/global')
    const file = join(
      path,
      readdirSync(path).find((entry) => entry.startsWith('pg_control'))!,
    )
    renameSync(file, `${file}.lost`)
    const { code, stdout } = await runLogged('--repo=1', 'verify')
    renameSync(`${file}.lost`, file)
    expect(code).toBe(104)
    expect(stdout).toMatch(new RegExp(` P00   INFO: stanza: ${stanza}\n *status: error\n`))
    expect(stdout).toMatch(summary('1'))
    expect(stdout).toMatch(/verify command end: aborted with exception \[104\]\n$/)
  })

  test('the expire of a backup is a command of its own on the console, and has its log file', async () => {
    const { code, stdout } = await runLogged('--repo=2', 'backup')
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

  test('the expire of a backup removes from the repository of --repo only, or from all without --repo', async () => {
    const older = labels(repo2)
    await ok('--repo=2', '--no-expire-auto', '--type=full', 'backup')
    await ok('--repo=1', '--type=full', 'backup')
    expect(labels(repo2)).toEqual(expect.arrayContaining(older))
    await ok('--type=incr', 'backup')
    expect(labels(repo2)).toHaveLength(1)
    expect(labels(repo2)).not.toEqual(older)
  })

  test('an expire that fails in another repository is an error with exit code 104, and the backup is kept', async () => {
    const lost = ['backup.info', 'backup.info.copy'].map((file) => join(repo2, 'backup', stanza, file))
    for (const path of lost) renameSync(path, `${path}.lost`)
    const { code, stdout } = await runLogged('--type=full', 'backup')
    for (const path of lost) renameSync(`${path}.lost`, path)
    expect({ code, stdout }).toMatchObject({
      code: 104,
      stdout: expect.stringMatching(
        /backup command end: completed successfully [^]*ERROR: \[055\]: repo2: [^]*ERROR: \[104\]: [^]*expire command end: aborted with exception \[104\]\n$/,
      ) as string,
    })
    expect(labels(site.repo)).toHaveLength(1)
    await ok('--repo=1', `--set=${labels(site.repo)[0]}`, 'info')
  })

  test('the command expire logs its begin and end, and removes by retention', async () => {
    await ok('--repo=1', '--no-expire-auto', '--type=full', 'backup')
    expect(labels(site.repo)).toHaveLength(2)
    const stdout = await ok('--repo=1', '--log-level-console=info', 'expire')
    expect(stdout).toMatch(/expire command begin \S+: --[^]*expire command end: completed successfully \(\d+ms\)\n$/)
    expect(labels(site.repo)).toHaveLength(1)
  })

  test.each([
    [
      'a missing configuration file',
      ['--config=/no/x.conf', 'backup'],
      "P00  ERROR: [055]: unable to open missing file '/no/x.conf' for read",
    ],
    ['a missing required option', ['backup'], 'P00  ERROR: [037]: '],
    ['an invalid value', ['--stanza=main', '--process-max=zz', 'backup'], 'P00  ERROR: [032]: '],
    ['an option of another command', ['--stanza=main', '--set=x', 'backup'], 'P00  ERROR: [031]: '],
  ])('%s is reported on standard output', async (_, args, text) => {
    const { stdout, stderr } = await called(name, args)
    expect({ stdout, stderr }).toEqual({ stdout: expect.stringMatching(startsWith(text)) as string, stderr: '' })
  })

  test.each([
    ['an unknown option', ['--foo', 'backup'], 'ERROR: [031]: '],
    ['an unknown command', ['foo'], 'ERROR: [048]: '],
    ['a parameter that the command does not take', ['backup', 'x'], 'ERROR: [096]: '],
    ['a missing configuration file, with JSON,', ['--config=/no/x.conf', '--output=json', 'info'], 'ERROR: [055]: '],
  ])('%s is reported on standard error', async (_, args, text) => {
    const { stdout, stderr } = await called(name, args)
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: expect.stringMatching(startsWith(text)) as string })
  })
})
