import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTestDir, pgtsProgram, runAs, testUser } from '../support/processes/test-user.ts'
import { aSite, type Site } from '../support/sites/site.ts'

/** The configuration and the repository have the stanza `main`; the commands ask for others. No server runs. */
let site: Site
beforeAll(async () => {
  site = await aSite({ start: false })
  await site.pgtsOk('--no-online', 'stanza-create')
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const bin = makeTestDir('bin')
const NAMES = ['pgts', 'pgbackrest'] as const
for (const name of NAMES) symlinkSync(pgtsProgram(), join(bin, name))
const underBothNames = (...args: string[]) =>
  Promise.all(NAMES.map((name) => runAs(testUser, join(bin, name), args, { cwd: site.dir })))

const LABEL = '20260101-000000F'
const SEGMENT = '000000010000000000000001'
const configurationHints = () => [
  `HINT: configuration files: ${site.config} (found)\n`,
  'HINT: stanzas in the configuration: main\n',
]

describe('a stanza that neither the configuration nor the repository has', () => {
  const COMMANDS: [command: string, code: number, args: () => string[]][] = [
    ['annotate', 104, () => ['annotate', `--set=${LABEL}`, '--annotation=a=b']],
    ['archive-get', 55, () => [pgPath(), 'archive-get', SEGMENT, join(site.dir, 'target')]],
    ['archive-push', 55, () => [pgPath(), 'archive-push', join(site.cluster.dataDir, 'pg_wal', SEGMENT)]],
    ['backup', 55, () => [pgPath(), '--no-online', 'backup']],
    ['expire', 104, () => ['--repo1-retention-full=1', 'expire']],
    ['info', 0, () => ['info']],
    ['manifest', 55, () => ['manifest', '--set=latest']],
    ['pin', 104, () => ['pin', LABEL]],
    ['restore', 75, () => [`--pg1-path=${makeTestDir('restore')}`, 'restore']],
    ['stanza-upgrade', 55, () => [pgPath(), '--no-online', 'stanza-upgrade']],
    ['verify', 104, () => ['verify']],
  ]
  const pgPath = () => `--pg1-path=${site.cluster.dataDir}`

  test.each(COMMANDS)('%s names the files that were read and the stanzas that exist', async (_, code, args) => {
    for (const result of await underBothNames(`--config=${site.config}`, '--stanza=mian', ...args())) {
      const output = `${result.stdout}${result.stderr}`
      expect(result.code, output).toBe(code)
      for (const text of configurationHints()) expect(output).toContain(text)
      expect(output).toMatch(/HINT: stanzas in .*: main\n/)
      expect(output).not.toMatch(/take a backup first|is lost/)
    }
  })

  test('verify reports the error once', async () => {
    for (const { stdout } of await underBothNames(`--config=${site.config}`, '--stanza=mian', 'verify'))
      expect(stdout.match(/unable to open missing file/g)).toHaveLength(1)
  })

  test('a command that requires pg1-path names the files that were read and the stanzas that exist', async () => {
    for (const command of ['backup', 'check', 'restore', 'stanza-create'])
      for (const { code, stdout } of await underBothNames(`--config=${site.config}`, '--stanza=mian', command)) {
        expect(code).toBe(37)
        for (const text of configurationHints()) expect(stdout).toContain(text)
      }
  })

  test('info prints the report of pgbackrest on stdout, and nothing else with JSON or without log output', async () => {
    const info = (...args: string[]) => underBothNames(`--config=${site.config}`, '--stanza=mian', 'info', ...args)
    const report = 'stanza: mian\n    status: error (missing stanza path)\n'
    for (const { stdout } of await info()) expect(stdout).toBe(report)
    for (const result of await info('--log-level-console=off'))
      expect(result).toMatchObject({ stdout: report, stderr: '' })
    for (const { stdout, stderr } of await info('--output=json')) {
      expect(stderr).toBe('')
      expect(JSON.parse(stdout)).toMatchObject([{ name: 'mian', status: { code: 1, message: 'missing stanza path' } }])
    }
  })
})

test('a stanza of the configuration that no repository has: info says how to create it', async () => {
  const elsewhere = makeTestDir('empty')
  const args = [`--config=${site.config}`, '--stanza=main', `--repo1-path=${elsewhere}`, 'info']
  for (const { stdout, stderr } of await underBothNames(...args)) {
    expect(stdout).toBe('stanza: main\n    status: error (missing stanza path)\n')
    expect(stderr).toBe('HINT: run stanza-create if this stanza is new\n')
  }
})

test('without a configuration file, info, backup and check name the files that were looked for', async () => {
  const looked = ['/etc/pgts/pgts.yaml', '/etc/pgbackrest/pgbackrest.conf']
  const info = await underBothNames('--repo1-path=/no/such/repository', 'info')
  const backup = await underBothNames('--stanza=main', 'backup')
  const check = await underBothNames('check')
  for (const [index, file] of looked.entries()) {
    expect(info[index]).toMatchObject({ code: 0, stdout: 'No stanzas exist in the repository.\n' })
    expect(info[index]?.stderr).toMatch(new RegExp(`^HINT: configuration files: ${file} \\((not )?found\\)`))
    expect(backup[index]).toMatchObject({ code: 37, stderr: '' })
    expect(backup[index]?.stdout).toContain(`HINT: configuration files: ${file} (`)
    expect(check[index]).toMatchObject({ code: 27, stderr: '' })
    expect(check[index]?.stdout).toContain('ERROR: [027]: no stanzas found to check\n')
    expect(check[index]?.stdout).toContain(`HINT: configuration files: ${file} (`)
  }
})
