import { describe, expect, test } from 'vitest'
import { commandBeginArgs, commandLineFor } from '../../../src/config/resolve.ts'
import { ini, resolving } from './resolving.ts'

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

  test('has parameters first', async () => {
    const resolved = await resolving(['archive-push', '--stanza=main', 'pg_wal/0000', '--pg1-path=/pg'])
    expect(commandBeginArgs(resolved)).toBe('[pg_wal/0000] --pg1-path=/pg --stanza=main')
  })

  test('never shows a secret', async () => {
    const secret = ini('[global]\nrepo1-gcs-user-project=x\nrepo1-s3-key=geheim\n')
    expect(commandBeginArgs(await resolving('info', secret))).not.toContain('geheim')
  })
})

test('another command is told what this one was told on its command line', async () => {
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
  ]
  const resolved = await resolving(argv, around)
  expect(commandLineFor(resolved, 'archive-get', '/work')).toEqual([
    '--config=/work/x.conf',
    '--no-log-timestamp',
    '--repo2-path=/b c',
    '--stanza=main',
  ])
})
