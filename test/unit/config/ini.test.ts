import { describe, expect, test } from 'vitest'
import { BACKUP, failureOf, ini, resolving } from './resolving.ts'

const STANZA = '[main]\npg1-path=/pg\n'

async function warningsOf(text: string, line = BACKUP): Promise<string> {
  return (await resolving(`${line} --repo1-retention-full=1`, ini(text))).warnings.join('\n')
}

describe('a pgbackrest.conf', () => {
  test('is trimmed as by pgbackrest: a no-break space is part of a passphrase', async () => {
    const text = `\ufeff[global]\r\nrepo1-cipher-type=aes-256-cbc\r\nrepo1-cipher-pass =\t \u00a0p\u2003q\u00a0\f \r\n${STANZA}`
    const resolved = await resolving('info --stanza=main', ini(text))
    expect(resolved.options.repo[0]?.cipherPass).toBe('\u00a0p\u2003q\u00a0\f')
  })

  test('is read unchanged, with the defaults of pgBackRest', async () => {
    const text = [
      '# comment',
      '[global]',
      '  repo1-path = /backup  ',
      'repo1-retention-full=2',
      'compress-level=4',
      'link-map=pg_wal=/wal',
      '',
      '[global:backup]',
      'start-fast=y',
      '[main]',
      'pg1-path=/pg # not a comment',
      'pg1-port=5433',
      '[main:backup]',
      'exclude=a',
      'exclude=b',
    ].join('\n')
    const resolved = await resolving('backup --stanza=main', ini(text))
    expect(resolved.dialect).toBe('ini')
    expect(resolved.warnings).toEqual([])
    expect(resolved.stanzas).toEqual(['main'])
    if (resolved.command !== 'backup') throw new Error('not a backup')
    const { options } = resolved
    expect(options).toMatchObject({ compressType: 'gz', compressLevel: 4, processMax: 1, startFast: true })
    expect(options).toMatchObject({ logPath: '/var/log/pgbackrest', lockPath: '/tmp/pgbackrest', exclude: ['a', 'b'] })
    expect(options.repo).toMatchObject([{ key: 1, path: '/backup', retentionFull: 2, retentionArchive: 2 }])
    expect(options.pg).toMatchObject([{ key: 1, path: '/pg # not a comment', port: 5433, database: 'postgres' }])
    expect(resolved.values.get('repo1-path')?.origin).toBe('/c/x.conf line 3')
  })

  test.each([
    ['[global]\nfoo=1\nproces-max=2', 'line 3: there is no option proces-max; did you mean process-max?'],
    ['[global]\nno-delta=y', 'no-delta is ignored'],
    ['[global]\nreset-process-max=y', 'reset-process-max is ignored'],
    ['[global]\nstanza=x', 'stanza is ignored, it is only valid on the command line'],
    ['[global]\npg1-port=1', 'pg1-port is ignored in [global]'],
    ['[global:backup]\ntarget-action=pause\nlink-all=y', 'link-all is not valid in [global:backup]'],
    ['[main:backup]\nlink-all=y', 'link-all is not valid in [main:backup]'],
    ['[global]\nannotation=a=1\nannotation=a=2', 'names a more than once'],
  ])('with %j causes a warning', async (text, words) => {
    expect(await warningsOf(text)).toContain(words)
  })

  test('with options of other commands and sections that are not read causes no warning', async () => {
    expect(await warningsOf('[global]\nlink-all=y\n[other]\nfoo=1\n[global:restore]\nfoo=1')).toBe('')
  })

  test.each([
    ['process-max=1', 'format', 'line 1: there is text before the first [section]'],
    ['[global', 'format', 'line 1: a section begins with ['],
    ['[]', 'format', 'line 1: a section needs a name'],
    ['[global]\nprocess-max', 'format', 'line 2: a line must be option=value'],
    ['[global]\n=1', 'format', 'line 2: there is no option before the ='],
    ['[global]\nprocess-max=', 'option-invalid-value', 'line 2: process-max has no value'],
    ['[global]\nprocess-max=1\nprocess-max=2', 'option-invalid', 'line 3: process-max is set twice'],
    ['[global]\nrepo-path=/a\nrepo1-path=/b', 'option-invalid', 'repo1-path and repo-path in [global] are the same'],
    ['[main]\npg-path=/x\ndb-path=/y', 'option-invalid', 'needs an index'],
    ['[global]\nrepo300-path=/x', 'option-invalid', 'between 1 and 256'],
    ['[global]\nrepo-bundle=y', 'option-invalid', 'needs an index'],
    ['[global]\nstart-fast=yes', 'option-invalid-value', 'start-fast (from /c/x.conf line 2) must be y or n'],
    ['[global]\nprocess-max=1e3', 'option-invalid-value', 'must be a whole number'],
    ['[global]\narchive-timeout=0.1', 'option-invalid-value', 'must be a time'],
    ['[global]\nbuffer-size=3MiB', 'option-invalid-value', 'must be one of 16KiB'],
    ['[global]\nannotation=x', 'option-invalid', 'must be name=value'],
    ['[global]\nrepo1-path=x', 'option-invalid-value', 'must be an absolute path'],
    ['[global]\nrepo1-path=/a//b', 'option-invalid-value', 'must not contain //'],
    ['[global]\ncompress-type=zip', 'option-invalid-value', 'must be one of none, gz, lz4, zst, bz2'],
    ['[global]\ncompress-level=10', 'option-invalid-value', 'must be between -1 and 9'],
  ])('with %j is refused', async (text, code, words) => {
    const error = await failureOf(BACKUP, ini(`${text}\n`))
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
  })

  test('with a repeated option of another command causes no warning', async () => {
    expect(await warningsOf('[global]\narchive-mode=off\narchive-mode=off')).toBe('')
  })

  test('without the stanza is an error about pg1-path, with the files and stanzas as hints', async () => {
    const error = await failureOf('backup --stanza=other', ini(STANZA))
    expect(error).toMatchObject({ code: 'option-required', message: 'backup needs pg1-path' })
    expect(error.hints.join()).toContain('check the name of the stanza')
    expect(error.hints.slice(1)).toEqual([
      `configuration files: ${[...Object.keys(ini(STANZA).files ?? {})].join(', ')} (found)`,
      'stanzas in the configuration: main',
    ])
  })

  test.each([
    ['/usr/bin/pgts', '/etc/pgts/pgts.yaml (not found)'],
    [
      '/usr/bin/pgbackrest',
      '/etc/pgbackrest/pgbackrest.conf (not found), /etc/pgbackrest.conf (not found), /etc/pgbackrest/conf.d (not found)',
    ],
  ])('%s without a configuration names the files that were looked for', async (program, looked) => {
    for (const line of ['backup', 'backup --stanza=main']) {
      const error = await failureOf(line, { program })
      expect(error.code).toBe('option-required')
      expect(error.hints.slice(1)).toEqual([`configuration files: ${looked}`, 'the configuration has no stanza'])
    }
  })

  test('a stanza of the configuration that lacks pg1-path has no hints about files', async () => {
    const error = await failureOf('backup --stanza=main', ini('[main]\nrecovery-option=a=b\n'))
    expect(error.hints).toHaveLength(1)
  })

  test('a value from a file whose condition is not met is dropped, on the command line it is an error', async () => {
    const text = '[global]\narchive-copy=y\n'
    const resolved = await resolving(`${BACKUP} --no-online`, ini(text))
    expect(resolved.values.get('archive-copy')?.value).toBe(false)
    expect((await failureOf(`${BACKUP} --no-online --archive-copy`)).message).toBe(
      'archive-copy (from the command line) is only valid with archive-check=y',
    )
  })
})

test('secrets in a file that other users can read cause a warning', async () => {
  const text = '[global]\nrepo1-cipher-pass=geheim\n'
  const open = await resolving('info --stanza=main', { ...ini(text), mode: 0o644 })
  expect(open.warnings).toEqual([expect.stringContaining('/c/x.conf contains secrets')])
  expect((await resolving('info --stanza=main', { ...ini(text), mode: 0o640 })).warnings).toEqual([])
  expect((await resolving('info --stanza=main', { ...ini('[global]\n'), mode: 0o644 })).warnings).toEqual([])
})
