import { describe, expect, test } from 'vitest'
import { CODECS } from '../../../src/codec/levels.ts'
import { optionNames, optionRow } from '../../../src/config/option-table.ts'
import { BACKUP, failureOf, ini, resolving, valueOf } from './resolving.ts'

const QUIET = `${BACKUP} --repo1-retention-full=1`
const conf = (lines: string) => ini(`[global]\nrepo1-retention-full=1\n${lines}\n[main]\npg1-path=/pg\n`)

describe('options that pgts does not support yet', () => {
  test.each([
    ['repo1-type=sftp\nrepo1-sftp-private-key-passphrase=geheim', 'repo1-type=sftp'],
    ['repo2-type=cifs', 'repo2-type=cifs'],
  ])('%s is refused', async (lines, words) => {
    const error = await failureOf('backup --stanza=main', conf(lines))
    expect(error.code).toBe('feature-not-supported')
    expect(error.message).toContain(`${words} (from /c/x.conf line `)
    expect(error.hints.join()).toContain('use pgbackrest')
    expect(error.message + error.hints.join()).not.toContain('geheim')
  })

  test.each([['check --stanza=main --pg1-path=/pg --report', 'report=y']])('%s is refused', async (line, words) => {
    expect((await failureOf(line)).message).toContain(words)
  })

  test.each(Object.entries(CODECS))(
    'compress-type=%s is refused unless this build writes it',
    async (type, { writes }) => {
      const outcome = resolving('backup --stanza=main', conf(`compress-type=${type}`))
      if (writes) expect((await outcome).options).toMatchObject({ compressType: type })
      else await expect(outcome).rejects.toMatchObject({ code: 'feature-not-supported' })
    },
  )

  test('that are harmless to ignore cause one warning together', async () => {
    const resolved = await resolving(
      'backup --stanza=main',
      conf('tcp-keep-alive-count=3\ntcp-keep-alive-idle=3\ndelta=y'),
    )
    expect(resolved.warnings).toEqual([
      'ignoring options that pgts does not support yet: tcp-keep-alive-count, tcp-keep-alive-idle',
    ])
  })

  test('with values that change nothing are neither refused nor warned about', async () => {
    const lines = 'repo1-type=posix\nrepo1-cipher-type=none\nbackup-standby=n\nresume=n\ndelta=n\nsck-keep-alive=y'
    expect((await resolving('backup --stanza=main', conf(lines))).warnings).toEqual([])
  })

  test('a passphrase without a cipher causes a warning that does not show it', async () => {
    const { warnings } = await resolving('backup --stanza=main', conf('repo1-cipher-pass=geheim'))
    expect(warnings).toEqual([
      expect.stringMatching(/^repo1-cipher-pass \(from .*line 3\) has no effect, because repo1-cipher-type is none/),
    ])
    expect(warnings.join()).not.toContain('geheim')
    const encrypted = 'repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=geheim'
    expect(await resolving('backup --stanza=main', conf(encrypted))).toMatchObject({
      warnings: [],
      options: { repo: [{ cipherType: 'aes-256-cbc', cipherPass: 'geheim' }] },
    })
  })

  test('delta is accepted for restore', async () => {
    const resolved = await resolving('restore --stanza=main --pg1-path=/pg --delta')
    expect(resolved).toMatchObject({ warnings: [], options: { delta: true } })
  })

  test('for SFTP are refused, not ignored', () => {
    const names = optionNames.filter((name) => name.startsWith('repo-sftp'))
    for (const name of names) expect(JSON.stringify(optionRow(name).support), name).toContain('refuse')
  })
})

describe('options of other hosts', () => {
  test('two repositories on other hosts may have the same path', async () => {
    const { options } = await resolving('info', conf('repo1-host=a\nrepo2-host=b'))
    expect(options.repo).toMatchObject([
      { host: 'a', hostUser: 'pgbackrest', hostType: 'ssh' },
      { host: 'b', hostUser: 'pgbackrest', hostType: 'ssh' },
    ])
  })

  test('a remote process has its repository on its own host', async () => {
    const { options } = await resolving('info:remote --remote-type=repo --repo=1', conf('repo1-host=a'))
    expect(options).toMatchObject({ remoteType: 'repo', repo: [{ host: undefined }] })
    expect((await resolving('info --repo1-local', conf('repo1-host=a'))).options.repo).toMatchObject([
      { host: undefined },
    ])
  })

  test('a remote process drops options that its command does not have, and needs no data directory', async () => {
    const line = 'stanza-create:remote --stanza=other --repo=1 --pg1-path=/pg --set=x --lock=a --lock=b --process=2'
    expect(await resolving(line, conf(''))).toMatchObject({ role: 'remote', options: { process: 2 } })
    await expect(resolving('backup:remote --stanza=none', ini('[global]\n'))).resolves.toBeDefined()
  })

  test.each(['--process=1', '--remote-type=repo', '--lock=x'])(
    '%s is only valid for a remote process',
    async (option) => {
      expect((await failureOf(`info ${option}`)).code).toBe('option-invalid')
    },
  )
})

describe('a cluster on another host', () => {
  test.each(['pg1-host-user=me', 'pg1-host-cmd=/p', 'pg1-host-config=/c', 'pg1-host-port=22', 'pg1-host-type=tls'])(
    '%s without pg1-host is no error in a file',
    async (line) => {
      const file = ini(`[global]\nrepo1-retention-full=1\n[main]\npg1-path=/pg\n${line}\n`)
      const { warnings, options } = await resolving('backup --stanza=main', file)
      expect(warnings).toEqual([])
      expect(options.pg).toMatchObject([{ host: undefined, hostUser: undefined, hostType: undefined }])
    },
  )

  test('is one of this host with pg1-local', async () => {
    const file = ini('[global]\nrepo1-retention-full=1\n[main]\npg1-path=/pg\npg1-host=db\n')
    for (const line of ['restore --stanza=main --pg1-local', 'restore --stanza=main --reset-pg1-host'])
      expect((await resolving(line, file)).options.pg).toMatchObject([{ path: '/pg', host: undefined }])
  })
})

describe('a command line as root', () => {
  test.each([
    ['backup --stanza=main --pg1-path=/pg', true],
    ['info', true],
    ['archive-push --stanza=main /wal', true],
    ['restore --stanza=main --pg1-path=/pg', false],
    ['restore --stanza=main --pg1-path=/pg --no-allow-root', true],
    ['info --allow-root', false],
    ['version', false],
    ['help', false],
  ])('%s: refused is %s', async (line, refused) => {
    if (!refused) {
      await resolving(line, { uid: 0 })
      return
    }
    const error = await failureOf(line, { uid: 0 })
    expect(error).toMatchObject({ code: 'option-invalid', message: 'pgts is running as root' })
    expect(error.hints).toEqual([expect.stringContaining('usually postgres'), expect.stringContaining('--allow-root')])
  })
})

describe('a command line with options that do not fit together', () => {
  test.each([
    ['backup --pg1-path=/pg', 'option-required', 'backup needs stanza', 'name the cluster: --stanza=NAME'],
    ['backup --stanza=main', 'option-required', 'backup needs pg1-path', 'check the name of the stanza'],
    ['restore --stanza=m --pg1-path=/p --type=time', 'option-required', 'restore needs target', 'set --target=...'],
    [
      'server --tls-server-ca-file=/ca --tls-server-cert-file=/cert --tls-server-key-file=/key',
      'option-required',
      'server needs tls-server-auth',
      'set tls-server-auth=..., for example tls-server-auth=db1.example.com=main',
    ],
    [
      'restore --stanza=m --pg1-path=/p --target=x',
      'option-invalid',
      'target (from the command line) is only valid with type=lsn, name, time or xid',
      '',
    ],
    [
      'restore --stanza=m --pg1-path=/p --type=full',
      'option-invalid-value',
      'type (from the command line) must be one of default',
      '',
    ],
    [
      'restore --stanza=m --pg1-path=/p --pg1-host=db',
      'host-invalid',
      'restore command must be run on the PostgreSQL host',
      "run it on host 'db'",
    ],
    ['info --set=x', 'option-invalid', 'set (from the command line) is only valid with stanza', ''],
    [
      'expire --stanza=m --repo=3',
      'option-invalid-value',
      'repo (from command line) is 3, but there is no repo3',
      'configured: repo1',
    ],
    ['info --repo2-path=/var/lib/pgts/', 'option-invalid-value', '', ''],
    [
      'info --repo1-path=/r --repo2-path=/r/',
      'option-invalid-value',
      'repo1-path and repo2-path are both /r',
      'set a different path',
    ],
    [
      `${QUIET} --db-timeout=2h --protocol-timeout=1h`,
      'option-invalid-value',
      'protocol-timeout=1h (from command line) must be longer',
      '',
    ],
    ['info --stanza=../x', 'option-invalid-value', "invalid stanza name '../x'", 'letters'],
    ['info --stanza=global', 'option-invalid-value', "invalid stanza name 'global'", 'global is reserved'],
    [`${QUIET} --compress-type=lz4 --compress-level=13`, 'option-invalid-value', 'must be between -5 and 12', ''],
    [
      `${QUIET} --compress-type=none --compress-level=1`,
      'option-invalid',
      'compress-level (from the command line) is only valid with compress-type=',
      '',
    ],
    [`${QUIET} --force`, 'option-invalid', 'force (from the command line) is only valid with online=n', ''],
  ])('%s', async (line, code, words, hint) => {
    // With only repo2 set there is no repo1, so repo2 may have the default path of repo1.
    if (words === '') {
      expect((await resolving(line)).options).toMatchObject({ repo: [{ key: 2 }] })
      return
    }
    const error = await failureOf(line)
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
    expect(error.hints.join('\n')).toContain(hint)
  })

  test('the default of one timeout follows the other timeout that was set', async () => {
    expect(await valueOf('protocol-timeout', `${QUIET} --db-timeout=2h`)).toBe(7_230_000)
    expect(await valueOf('db-timeout', `${QUIET} --protocol-timeout=10m`)).toBe(570_000)
    expect(await valueOf('db-timeout', `${QUIET} --protocol-timeout=20s`)).toBe(10_000)
  })

  test('the old option compress=n means compress-type=none', async () => {
    const resolved = await resolving(`${QUIET} --no-compress`)
    expect(resolved.options).toMatchObject({ compressType: 'none', compressLevel: 0 })
    const both = await resolving(`${QUIET} --no-compress --compress-type=lz4`)
    expect(both.options).toMatchObject({ compressType: 'lz4', compressLevel: 1 })
    expect(both.warnings.join()).toContain('are both set')
  })

  test.each<[string, number | undefined, string[]]>([
    ['', undefined, ['repo1-retention-full is not set']],
    ['--repo1-retention-full=3', 3, []],
    ['--repo1-retention-full=3 --repo1-retention-archive=1', 1, []],
    ['--repo1-retention-full=30 --repo1-retention-full-type=time', undefined, []],
    ['--repo1-retention-full=3 --repo1-retention-diff=2 --repo1-retention-archive-type=diff', 2, []],
    ['--repo1-retention-full=3 --repo1-retention-archive-type=diff', undefined, ['WAL will not expire']],
    ['--repo1-retention-full=3 --repo1-retention-archive-type=incr', undefined, ['WAL will not expire']],
  ])('the default of WAL retention is derived from %j', async (options, archive, warnings) => {
    const resolved = await resolving(`${BACKUP} ${options}`)
    expect(resolved.values.get('repo1-retention-archive')?.value).toBe(archive)
    expect(resolved.warnings).toEqual(warnings.map((words) => expect.stringContaining(words)))
  })

  test('a repository index exists if an option other than a default is set for it', async () => {
    const repos = async (line: string) => (await resolving(line)).options.repo.map(({ key }) => key)
    expect(await repos('info --repo3-path=/c --repo2-path=/b')).toEqual([2, 3])
    expect(await repos('info --reset-repo2-path')).toEqual([1])
    expect(await repos('help')).toEqual([])
    const pg = await resolving(`${QUIET} --pg3-path=/pg3 --pg3-port=1`)
    expect(pg.options.pg.map(({ key }) => key)).toEqual([1, 3])
  })
})
