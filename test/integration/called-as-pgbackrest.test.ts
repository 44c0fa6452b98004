import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { aSite, type Site } from '../support/sites/site.ts'
import {
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  runAs,
  testUser,
  type RunOptions,
} from '../support/processes/test-user.ts'

const bin = makeTestDir('bin')

function called(name: string, args: readonly string[], options: RunOptions = {}) {
  return runAs(testUser, join(bin, name), args, { cwd: bin, deadlineMs: 120_000, ...options })
}

beforeAll(() => {
  for (const name of ['pgts', 'pgbackrest', 'other']) symlinkSync(pgtsProgram(), join(bin, name))
  symlinkSync('pgbackrest', join(bin, 'link'))
})

describe('the name of a link to bin/pgts', () => {
  test.each([
    ['pgbackrest', 'pgBackRest 2.60.0\n', '2060000'],
    ['pgts', expect.stringMatching(/^pgts \d/), expect.stringMatching(/^\d+$/)],
    ['other', expect.stringMatching(/^pgts \d/), expect.stringMatching(/^\d+$/)],
    ['link', expect.stringMatching(/^pgts \d/), expect.stringMatching(/^\d+$/)],
  ])('%s determines the output of version', async (name, text, number) => {
    for (const word of ['version', '--version', '-V'])
      expect(await called(name, [word])).toMatchObject({ code: 0, stdout: text, stderr: '' })
    expect(await called(name, ['version', '--output=num'])).toMatchObject({ code: 0, stdout: number })
    // As check_pgbackrest calls it.
    expect(await called(name, ['version', '--config=/no/such.conf'])).toMatchObject({ code: 0, stdout: text })
  })

  test.each([
    ['pgbackrest', '/var/lib/pgbackrest'],
    ['pgts', '/var/lib/pgts'],
  ])('%s determines the defaults, also when it is found in PATH', async (name, path) => {
    const { stdout } = await runAs(testUser, 'sh', ['-c', `PATH=${bin}:$PATH; ${name} help backup repo-path`])
    expect(stdout).toContain(`default:    ${path}\n`)
  })

  test.each(['pgbackrest', 'pgts'])('%s -h prints help, also for a command', async (name) => {
    const usage = (text: string) => expect.stringContaining(`Usage: ${name} ${text}`) as string
    expect(await called(name, ['-h'])).toMatchObject({ code: 0, stdout: usage('COMMAND'), stderr: '' })
    expect(await called(name, ['backup', '-h'])).toMatchObject({ code: 0, stdout: usage('backup'), stderr: '' })
  })

  test.each(['pgbackrest', 'pgts'])('%s is written in hints, with and without a logger', async (name) => {
    expect((await called(name, ['no-such-command'])).stderr).toContain(`HINT: ${name} help`)
    const args = ['--stanza=main', '--log-level-file=off', `--lock-path=${bin}`, '--pg1-path=/pg', 'archive-push']
    const { code, stdout, stderr } = await called(name, args)
    expect(code).toBe(43)
    expect(stdout + stderr).toContain(`${name} archive-push`)
  })
})

describe('a cluster that is backed up under the name pgbackrest', () => {
  let site: Site
  const own = (args: readonly string[], options: RunOptions = {}) =>
    called('pgbackrest', [`--config=${site.config}`, '--stanza=main', ...args], options)

  beforeAll(async () => {
    site = await aSite({ options: { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'secret' } })
    expect(await own(['stanza-create'])).toMatchObject({ code: 0 })
    expect(await own(['--type=full', 'backup'])).toMatchObject({ code: 0 })
    return () => site[Symbol.asyncDispose]()
  })

  test('is restored with a restore_command of that path and without the console level', async () => {
    const target = join(site.dir, 'restored')
    mkdirSync(target, { mode: 0o700 })
    giveToTestUser(target)
    const options = [`--pg1-path=${target}`, '--log-level-console=error', '--type=default']
    // Called by a relative path, as by a shell with a relative PATH.
    expect(
      await runAs(testUser, './pgbackrest', [`--config=${site.config}`, '--stanza=main', ...options, 'restore'], {
        cwd: bin,
      }),
    ).toMatchObject({ code: 0 })
    const settings = readFileSync(join(target, 'postgresql.auto.conf'), 'utf8')
    expect(/^restore_command = .*$/m.exec(settings)?.[0]).toBe(
      `restore_command = '${bin}/pgbackrest --config=${site.config} --pg1-path=${target} --stanza=main archive-get %f "%p"'`,
    )
  })

  test('has only JSON on both streams for info --output=json, whatever the configuration logs', async () => {
    const config = join(site.dir, 'open.conf')
    writeFileSync(config, `${readFileSync(site.config, 'utf8')}\n[global:info]\nlog-level-console=info\n`)
    chmodSync(config, 0o644)
    giveToTestUser(config)
    const env = {
      PGBACKREST_REPO1_SERVICE_HOST: '10.0.0.1',
      PGBACKREST_PORT_8432_TCP: 'tcp://10.0.0.1:8432',
      PGTS_NO_OPTION: '1',
    }
    const args = [`--config=${config}`, '--output=json', 'info']
    const { code, stdout, stderr } = await called('pgbackrest', args, { env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'main', backup: [{ type: 'full' }] }])
    const asked = await called('pgbackrest', [...args, '--log-level-console=warn'], { env })
    expect(asked.stderr).toContain(`${config} `)
    expect(asked.stderr).not.toContain('SERVICE')
    expect(
      (await called('pgbackrest', [...args, '--repo1-path=/nope/nope', '--repo1-cipher-pass=x'])).stderr,
    ).toContain('ERROR')
  })

  test.each([
    ['pg_wal/0000000100000000000000F9', 55],
    ['pg_wal/00000009.history', 55],
    ['pg_wal/no-wal-name', 55],
    ['/no/such/directory/000000010000000000000009', 55],
    ['postgresql.conf', 96],
  ])('refuses to archive %s with code %i', async (path, code) => {
    const { cluster } = site
    const result = await own(['archive-push', path], { cwd: cluster.dataDir })
    expect(result.code, result.stderr).toBe(code)
  })
})
