import { describe, expect, test } from 'vitest'
import { runProgram } from '../../../src/cli/program.ts'
import { commandBeginArgs, commandLineFor } from '../../../src/config/begin-line.ts'
import { isPgtsError, type PgtsError } from '../../../src/util/error.ts'
import { fakeFiles, ini, resolving } from './resolving.ts'

/** The value of a misspelt option may be a passphrase. */
test.each([
  ['--cipher-pass=SECRET info'],
  ['--cipher-pass SECRET info'],
  ['--cipher-pass=SECRET --repo1-path=/r repo-get x'],
  ['--repo1-cipher-pass=SECRET info'],
  ['--repo1-cipher-pass SECRET info'],
  ['-repo1-cipher-pass=SECRET info'],
  ['\u2013repo1-cipher-pass=SECRET info'],
  ['--repo-cipher-pas=SECRET info'],
  ['--repo1-cipher-pas SECRET info'],
  ['info repo1-cipher-pass=SECRET'],
  ['info -- --repo1-cipher-pass=SECRET'],
  ['--repo1-cipher-pass:SECRET info'],
  ['--repo1-cipher-passSECRET info'],
  ['--repo1-s3-key-secret:SECRET info'],
  ['--repo1-sftp-private-key-passphraseSECRET info'],
  ['--no-repo1-cipher-pass=SECRET info'],
  ['--reset-repo1-cipher-pass=SECRET info'],
  ['help backup repo1-cipher-pass=SECRET'],
])('an error of %j does not show the value of a secret', async (line) => {
  const input = { argv: line.split(' '), env: {}, program: '/usr/bin/pgts', uid: 1, files: fakeFiles() }
  const error: unknown = await runProgram({ ...input, stdout: { write: () => undefined } }, () => {
    throw new Error('no error was thrown')
  }).catch((caught: unknown) => caught)
  expect(isPgtsError(error)).toBe(true)
  const { message, hints } = error as PgtsError
  expect([message, ...hints].join('\n')).not.toContain('SECRET')
})

test.each([
  ['[global]\nrepo1-cipher-pass:SECRET=\n'],
  ['[global]\nrepo1-cipher-passSECRET=x\n'],
  ['[global]\nrepo999-cipher-pass:SECRET=\n'],
])('neither warnings nor errors of %j show the value of a secret', async (text) => {
  const shown = await resolving('info', ini(text)).then(
    ({ warnings }) => warnings.join(),
    (caught: unknown) => String(caught),
  )
  expect(shown).toContain('cipher-pass')
  expect(shown).not.toContain('SECRET')
})

describe('the begin line', () => {
  test('has all options that are not default, as typed, in name order', async () => {
    const around = {
      files: {
        '/c/x.conf': '[global]\nbuffer-size=64k\nrepo2-path=/b\n[main]\npg1-path=/pg\nexclude=a\nexclude=b c\n',
      },
      env: { PGTS_PROCESS_MAX: '2' },
    }
    const line =
      'backup --stanza main --config=/c/x.conf --no-online --reset-archive-timeout --repo1-path=/a --type=full --start'
    expect(commandBeginArgs(await resolving(line, around))).toBe(
      '--reset-archive-timeout --buffer-size=64k --config=/c/x.conf --exclude=a --exclude="b c" --no-online --pg1-path=/pg ' +
        '--process-max=2 --repo1-path=/a --repo2-path=/b --stanza=main --start-fast --type=full',
    )
  })

  test('has only options that are valid for the command that the run continues as', async () => {
    const resolved = await resolving(
      'backup --stanza=main --pg1-path=/pg --repo=1 --repo1-retention-full=2 --start-fast',
    )
    expect(commandBeginArgs(resolved, 'expire')).toBe('--repo=1 --repo1-retention-full=2 --stanza=main')
  })

  test('has parameters first', async () => {
    const resolved = await resolving(['archive-push', '--stanza=main', 'pg_wal/0000', '--pg1-path=/pg'])
    expect(commandBeginArgs(resolved)).toBe('[pg_wal/0000] --pg1-path=/pg --stanza=main')
  })

  test('never shows a secret', async () => {
    const secret = ini('[global]\nrepo1-gcs-user-project=x\nrepo1-s3-key=geheim\n')
    expect(commandBeginArgs(await resolving('info', secret))).not.toContain('geheim')
  })
})

test('commandLineFor() has the options of the command line that the other command knows', async () => {
  const around = {
    files: {
      '/work/x.conf': '[global]\nrepo1-path=/from-file\n[main]\npg1-path=/pg\n',
      'x.conf': '[main]\npg1-path=/pg\n',
    },
    env: { PGTS_STANZA: 'main', PGTS_PROCESS_MAX: '2' },
  }
  const argv = [
    'restore',
    '--config=x.conf',
    '--delta',
    '--repo2-path=/b c',
    '--type=time',
    '--target=2026-01-02 03:04:05',
    '--no-log-timestamp',
    '--log-level-console=detail',
  ]
  const resolved = await resolving(argv, around)
  expect(commandLineFor(resolved, 'archive-get', '/work')).toEqual([
    '--config=/work/x.conf',
    '--no-log-timestamp',
    '--repo2-path=/b c',
    '--stanza=main',
  ])
})
