import { describe, expect, test } from 'vitest'
import { failureOf, resolving, valueOf, BACKUP } from './resolving.ts'

describe('the command in a command line', () => {
  test.each([
    ['b --stanza=main --pg1-path=/pg', 'backup'],
    ['--stanza=main --pg1-path=/pg backup', 'backup'],
    ['--delta rest --stanza=main --pg1-path=/pg', 'restore'],
    ['vers', 'version'],
    ['--version', 'version'],
    ['--help', 'help'],
    ['-V', 'version'],
    ['-h', 'help'],
    ['', 'help'],
    ['info', 'info'],
  ])('of %j is %s', async (line, command) => {
    expect((await resolving(line)).command).toBe(command)
  })

  test.each([
    ['--help backup', ['backup']],
    ['-h', []],
    ['-h backup', ['backup']],
    ['backup -h', ['backup']],
    ['backup --stanza=main -h', ['backup']],
    ['backup --help', ['backup']],
    ['backup --stanza=main --help', ['backup']],
    ['help backup repo1-path', ['backup', 'repo1-path']],
  ])('of %j is help', async (line, parameters) => {
    expect(await resolving(line)).toMatchObject({ command: 'help', parameters })
  })

  test('may have the role async', async () => {
    expect(await resolving(['--stanza=x', '--pg1-path=/p', 'archive-push:async', '/p/pg_wal'])).toMatchObject({
      command: 'archive-push',
      role: 'async',
      parameters: ['/p/pg_wal'],
    })
    expect((await resolving(['--stanza=x', 'archive-push', '/p/pg_wal/1'])).role).toBeUndefined()
  })

  test('is followed by parameters, and -- ends options', async () => {
    const line = ['archive-get', '--stanza=main', '--pg1-path=/pg', '000000010000000000000001', '--', '--strange']
    expect((await resolving(line)).parameters).toEqual(['000000010000000000000001', '--strange'])
  })

  test.each([
    [[''], 'command-invalid', 'the command is empty', 'commands are annotate'],
    [['ver'], 'command-invalid', 'ver is ambiguous: verify or version', 'write the full name of the command'],
    [
      ['a'],
      'command-invalid',
      'a is ambiguous: annotate, archive-allow, archive-get, archive-push or archive-status',
      'write the full name of the command',
    ],
    [['bakcup'], 'command-invalid', 'there is no command bakcup', 'did you mean backup?'],
    [['manif'], 'command-invalid', 'there is no command manif', ''],
    [['backup:local'], 'command-invalid', 'backup:local is not a command', 'write backup'],
    [['backup:async'], 'command-invalid', 'backup:async is not a command', 'write backup'],
    [['archive-push:local', 'x'], 'command-invalid', 'is not a command', 'write archive-push'],
    [['archive-push:async'], 'param-required', 'archive-push needs WAL-DIRECTORY', ''],
    [['--stanza=x'], 'command-required', 'there are options but no command', 'pgts help'],
    [['info', '--version'], 'option-invalid', 'option --version is not valid for command info', 'write pgts version'],
    [['info', 'extra'], 'param-invalid', "invalid parameter 'extra' for command info", 'options only'],
    [['archive-push', '--stanza=x'], 'param-required', 'archive-push needs WAL-PATH', 'usage: pgts archive-push'],
    [['archive-push', 'a', 'b'], 'param-required', "'b'", 'usage: pgts archive-push WAL-PATH'],
    [['repo-get', 'a', 'b'], 'param-required', "'b'", 'usage: pgts repo-get FILE'],
    [['archive-get', 'a', 'b', 'c'], 'param-invalid', "'c'", 'usage: pgts archive-get WAL-SEGMENT DESTINATION'],
  ])('%j is refused', async (argv, code, words, hint) => {
    const error = await failureOf(argv)
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
    expect(error.hints.join('\n')).toContain(hint)
  })
})

describe('an option of a command line', () => {
  test.each<[string, string, unknown]>([
    ['--process-max=3', 'process-max', 3],
    ['--process-max 3', 'process-max', 3],
    ['--start-fast', 'start-fast', true],
    ['--start-fast=y', 'start-fast', true],
    ['--start-fast=n', 'start-fast', false],
    ['--no-start-fast', 'start-fast', false],
    ['--no-online', 'online', false],
    ['--compress-level -3 --compress-type=lz4', 'compress-level', -3],
    ['--start', 'start-fast', true],
    ['--no-onl', 'online', false],
    ['--repo2-pa=/b --repo2-retention-full=1', 'repo2-path', '/b'],
    ['--repo256-path=/b', 'repo256-path', '/b'],
    ['--repo-path=/b', 'repo1-path', '/b'],
    ['--retention-full=7', 'repo1-retention-full', 7],
    ['--db2-path=/pg2', 'pg2-path', '/pg2'],
    ['--db-port=6000', 'pg1-port', 6000],
    ['--backup-standby --no-backup-standby', 'backup-standby', 'twice'],
    ['--no-backup-standby', 'backup-standby', 'n'],
    ['--exclude=a --exclude b/', 'exclude', ['a', 'b/']],
    [
      '--annotation=a=1 --annotation=b=x=y',
      'annotation',
      new Map([
        ['a', '1'],
        ['b', 'x=y'],
      ]),
    ],
    ['--buffer-size=64KiB', 'buffer-size', 65536],
    ['--archive-timeout=90', 'archive-timeout', 90_000],
    ['--archive-timeout=2M', 'archive-timeout', 120_000],
    ['--archive-timeout=500ms', 'archive-timeout', 500],
    ['--log-path=/var/log/x/', 'log-path', '/var/log/x'],
  ])('%s', async (options, name, value) => {
    if (value === 'twice') {
      expect((await failureOf(`${BACKUP} ${options}`)).code).toBe('option-invalid')
    } else {
      expect(await valueOf(name, `${BACKUP} ${options}`)).toEqual(value)
    }
  })

  test('--reset-x has its default, whatever file and environment set', async () => {
    const around = { env: { PGTS_PROCESS_MAX: '9', PGTS_REPO1_RETENTION_FULL: '3' } }
    expect(await valueOf('process-max', `${BACKUP} --reset-process-max`, around)).toBe(6)
    expect(await valueOf('repo1-retention-full', `${BACKUP} --reset-repo1-retention-full`, around)).toBeUndefined()
  })

  test.each([
    ['-x', 'option-invalid', '-x begins with a single dash', 'begin with --'],
    ['-V', 'option-invalid', 'option --version is not valid for command backup', ''],
    ['-h=1', 'option-invalid', '-h=... begins with a single dash', ''],
    ['-hV', 'option-invalid', '-hV begins with a single dash', ''],
    ['--proces-maks=2', 'option-invalid', 'there is no option --proces-maks', 'did you mean --process-max?'],
    ['--repo1-pth=/b', 'option-invalid', 'there is no option --repo1-pth', 'did you mean --repo1-path?'],
    ['--no-startfast', 'option-invalid', 'there is no option --no-startfast', 'did you mean --no-start-fast?'],
    [
      '--log-level=info',
      'option-invalid',
      'log-level-console, log-level-file or log-level-stderr',
      'write the full name',
    ],
    ['--repo-bundle', 'option-invalid', '--repo-bundle needs an index', 'write repo1-bundle'],
    ['--repo0-path=/b', 'option-invalid', 'between 1 and 256', ''],
    ['--repo257-path=/b', 'option-invalid', 'between 1 and 256', ''],
    ['--process1-max=1', 'option-invalid', 'takes no index', 'write process-max'],
    ['--1-path=1', 'option-invalid', 'begins with a number', ''],
    ['---path=1', 'option-invalid', 'begins with too many dashes', ''],
    [`--${'x'.repeat(70)}`, 'option-invalid', 'longer than any option name', ''],
    ['--no-process-max', 'option-invalid', 'process-max has no negative form', ''],
    ['--reset-stanza', 'option-invalid', 'stanza cannot be reset', ''],
    ['--no-online=y', 'option-invalid', '--no-online takes no value', 'write --no-online'],
    ['--reset-process-max=2', 'option-invalid', 'takes no value', ''],
    ['--process-max', 'option-invalid', '--process-max needs a value', '--process-max=VALUE'],
    ['--process-max --delta', 'option-invalid', '--process-max needs a value', ''],
    ['--process-max=', 'option-invalid-value', '--process-max has an empty value', ''],
    ['--process-max=1 --process-max=2', 'option-invalid', '--process-max is given twice', 'once'],
    ['--no-delta --delta', 'option-invalid', 'contradicts', ''],
    ['--reset-process-max --process-max=1', 'option-invalid', 'contradicts', ''],
    ['--retention-full=1 --repo1-retention-full=2', 'option-invalid', 'given twice', ''],
    [
      '--target=x',
      'option-invalid',
      'option --target is not valid for command backup',
      'it is valid for drill, move-target or restore',
    ],
    ['--process=1', 'option-invalid', 'option --process is not valid for command backup', ''],
    ['--repo1-cipher-pass=geheim', 'option-invalid', 'must not be on the command line', 'PGTS_REPO1_CIPHER_PASS'],
    ['--repo1-s3-host=x', 'option-invalid', 'repo1-storage-host (from the command line) is only valid with', ''],
    ['--repo1-hardlink --repo1-bundle', 'option-invalid', 'is only valid with repo1-bundle=n', ''],
  ])('%s is refused', async (option, code, words, hint) => {
    const error = await failureOf(`${BACKUP} ${option}`)
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
    expect(error.hints.join('\n')).toContain(hint)
    expect(error.message + error.hints.join()).not.toContain('geheim')
  })
})
