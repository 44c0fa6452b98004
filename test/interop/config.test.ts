import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { commandBeginArgs } from '../../src/config/begin-line.ts'
import { resolveOptions } from '../../src/config/resolve.ts'
import { toPlainError, EXIT_CODES } from '../../src/util/error.ts'
import { countCells } from '../support/run/cells.ts'
import { PGBACKREST } from '../support/sites/site.ts'
import { giveToTestUser, isInstalled, makeTestDir, testUser } from '../support/processes/test-user.ts'

// The begin line of pgbackrest shows how it read file, environment and command line. pgts must
// read the same, so both lines must be equal. Not tested is where 2.45 and 2.59 differ and pgts follows 2.59:
// fractions of seconds, and values whose condition is not met.
const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const cell = countCells('configuration', 39)
const asUser = testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}

describe.runIf(installed)('both programs read a pgbackrest.conf in the same way:', () => {
  const directory = makeTestDir('config')
  const env = {
    PGBACKREST_REPO2_RETENTION_FULL: '7',
    PGBACKREST_EXCLUDE: 'from-env:and/more',
    PGBACKREST_LINK_ALL: 'y',
    PGBACKREST_LOG_PATH: join(directory, 'log'),
  }
  const main = `# a comment
[global]
repo1-path=${directory}/repo1
repo2-path = ${directory}/repo2
lock-path=${directory}/lock
  process-max=3
archive-timeout=2m
buffer-size=64k
retention-full=2
repo1-retention-full-type=count
compress-type=lz4
link-map=pg_wal=/wal
[global:backup]
start-fast=y
compress-level=3
buffer-size=128KiB
[main:restore]
process-max=5
[main]
pg1-path=/pg/one two
db-port=5433
exclude=a
exclude=b c
annotation=x=1
annotation=y=2=3
recovery-option=a=b
[other]
pg1-path=/other
`
  const config = join(directory, 'x.conf')
  for (const name of ['conf.d', 'log', 'lock']) mkdirSync(join(directory, name))
  writeFileSync(config, main)
  writeFileSync(join(directory, 'pgbackrest.conf'), main)
  writeFileSync(join(directory, 'conf.d/20.conf'), '[main]\nexclude=d\ntablespace-map=ts=/ts\n')
  writeFileSync(join(directory, 'conf.d/10.conf'), '[global]\nrepo3-path=/third\n')
  giveToTestUser(directory)

  const common = ['--stanza=main', '--log-level-console=info', '--log-level-file=off']
  const pgbackrest = (argv: readonly string[], more: Record<string, string>) => {
    const options = { ...asUser, encoding: 'utf8', timeout: 20_000, cwd: directory } as const
    const { stdout, stderr, status } = spawnSync(PGBACKREST, argv, {
      ...options,
      env: { ...more, PATH: process.env['PATH'] },
    })
    const begin = /command begin [\d.dev]+: (.*)/.exec(stdout)?.[1]?.replace(/--exec-id=\S+ /, '')
    return { begin, status, output: stdout + stderr }
  }
  const pgts = async (argv: readonly string[], more: Record<string, string>) => {
    const resolved = await resolveOptions({ argv, env: more, program: '/usr/bin/pgbackrest', uid: 1000 })
    return commandBeginArgs(resolved)
  }

  test.each([
    ['backup --no-online --type=full --repo=1'],
    ['--delta restore --type=time --target=2020-01-01'],
    ['restore --reset-process-max --set=20200101-000000F --target-exclusive --type time --target 2020-01-01'],
    ['expire --dry-run --repo 2'],
    ['archive-push --no-archive-async /no/such/segment'],
    ['archive-get 000000010000000000000001 /no/such/file'],
    ['backup --no-online --archive-t=30 --reset-repo1-path --no-start-fast --repo=1'],
  ])('%s', async (line) => {
    const argv = [...line.split(' '), ...common, `--config=${config}`]
    const theirs = pgbackrest(argv, env)
    expect(theirs.begin, theirs.output).toBeDefined()
    expect(await pgts(argv, env)).toBe(theirs.begin)
    cell(line)
  })

  test('with conf.d and variables', async () => {
    const argv = ['restore', ...common, `--config-path=${directory}`]
    const theirs = pgbackrest(argv, { ...env, PGBACKREST_PROCESS_MAX: '7' })
    expect(await pgts(argv, { ...env, PGBACKREST_PROCESS_MAX: '7' })).toBe(theirs.begin)
    cell('conf.d')
  })

  test.each([
    ['backup --stanza=main --no-such-option'],
    ['backup --stanza=main --target=x'],
    ['backup --stanza=main --process-max=0'],
    ['backup --stanza=main --repo1-path=relative'],
    ['backup --stanza=main --start-fast=maybe'],
    ['backup --stanza=main --process-max=1 --process-max=2'],
    ['backup --stanza=main --repo1-cipher-pass=x'],
    ['backup --stanza=main --repo-bundle'],
    ['restore --stanza=main --target=x'],
    ['restore --stanza=main --type=time'],
    ['restore --stanza=main --link-map=x'],
    ['restore --stanza=unknown'],
    ['restore'],
    ['nothing'],
    ['--stanza=main'],
    ['info extra'],
    ['info -x'],
    ['info --repo=9'],
    ['info --compress-type=gz'],
    ['info --config=/no/such.conf'],
    ['info --config-include-path=/no/such'],
  ])('%s ends with the same exit code', async (line) => {
    const argv = [...line.split(' '), ...(line.includes('config') ? [] : [`--config=${config}`])]
    const theirs = pgbackrest(argv, {})
    const ours = await pgts(argv, {}).then(
      () => 0,
      (error: unknown) => EXIT_CODES[toPlainError(error).code],
    )
    expect(ours, theirs.output).toBe(theirs.status)
    cell(line)
  })

  test.each([
    ['[main]\nno section'],
    ['text\n[main]'],
    ['[main\npg1-path=/x'],
    ['[global]\nprocess-max='],
    ['[global]\nprocess-max=x'],
    ['[global]\nprocess-max=1\nprocess-max=1'],
    ['[global]\nrepo-path=/a\nrepo1-path=/b'],
    ['[global]\nstart-fast=yes'],
    ['[global]\nbuffer-size=3MiB'],
    ['[global]\nannotation=x'],
  ])('a file with %j ends with the same exit code', async (text) => {
    const path = join(directory, 'bad.conf')
    writeFileSync(path, `${text}\n`, { mode: 0o644 })
    const argv = ['backup', '--stanza=main', '--pg1-path=/pg', `--config=${path}`]
    const theirs = pgbackrest(argv, {})
    const ours = await pgts(argv, {}).catch((error: unknown) => EXIT_CODES[toPlainError(error).code])
    expect(ours, theirs.output).toBe(theirs.status)
    cell(text)
  })
})
