import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Cluster,
  dataChecksum,
  giveToTestUser,
  makeTestDir,
  pgts,
  pgtsProgram,
  runAs,
  runOk,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'
import { objectStores, titleOf } from '../support/stores/object-stores.ts'
import { Terminal } from '../support/processes/terminal.ts'
import { PGBACKREST } from '../support/processes/programs.ts'
import { until } from '../support/until.ts'

/** Every file below a directory with its mode, time and content. */
function tree(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const path = join(directory, name)
      const { mode, mtimeMs } = statSync(path)
      const text = statSync(path).isFile() ? readFileSync(path, 'latin1') : ''
      return `${name} ${mode.toString(8)} ${mtimeMs} ${text}`
    })
}

interface Host {
  readonly dir: string
  readonly cluster: Cluster
  /** Options that keep everything of this run in `dir`. */
  readonly options: readonly string[]
  init(...options: string[]): ReturnType<typeof pgts>
}

async function aHost(version: 13 | 15 | 17 | 18, file: string, conf: Record<string, string> = {}): Promise<Host> {
  const dir = makeTestDir('init')
  const cluster = await startCluster({ version, conf })
  const options = [
    `--config=${dir}/etc/${file}`,
    `--pg1-path=${cluster.dataDir}`,
    `--pg1-user=${cluster.user}`,
    `--log-path=${dir}/log`,
    `--lock-path=${dir}/lock`,
    `--repo1-path=${dir}/repo`,
  ]
  const init = (...more: string[]) => {
    const names = more.map((option) => option.split('=')[0])
    const kept = options.filter((option) => !names.includes(option.split('=')[0]))
    return pgts([...kept, ...more, 'init'], { cwd: dir, deadlineMs: 90_000 })
  }
  return { dir, cluster, options, init }
}

const reportOf = (stdout: string): Record<string, never> => JSON.parse(stdout) as Record<string, never>

describe('with options only', () => {
  let host: Host
  beforeAll(async () => {
    host = await aHost(17, 'pgts.yaml')
    await host.cluster.query('create table t as select i, md5(i::text) from generate_series(1, 1000) i')
  }, 60_000)
  afterAll(() => host?.cluster[Symbol.asyncDispose]())

  test('ends with 37 and lists the missing options when there is no terminal', async () => {
    const { code, stdout } = await host.init()
    expect(code).toBe(37)
    for (const flag of ['--stanza', '--repo1-type', '--repo1-retention-full', '--write-config', '--apply-settings'])
      expect(stdout).toContain(flag)
    expect(stdout).toContain('--yes uses the proposals: stanza=main repo1-type=posix')
    expect(readdirSync(host.dir)).toEqual([])
  })

  test('--dry-run changes nothing and shows files, settings and steps', async () => {
    const auto = join(host.cluster.dataDir, 'postgresql.auto.conf')
    const before = [tree(host.dir), readFileSync(auto, 'utf8')]
    const { code, stdout } = await host.init('--dry-run')
    expect(code).toBe(0)
    expect(stdout).toContain(`path: ${host.dir}/repo`)
    expect(stdout).toContain('archive_mode: off -> on (needs a restart)')
    expect(stdout).toContain('Nothing was changed (--dry-run).')
    expect([tree(host.dir), readFileSync(auto, 'utf8')]).toEqual(before)
  })

  test('--yes writes the configuration and the settings, and shows the restart that is left', async () => {
    const { code, stdout } = await host.init('--yes')
    expect(code).toBe(0)
    const config = join(host.dir, 'etc/pgts.yaml')
    expect(statSync(config)).toMatchObject({ uid: testUser.uid, gid: testUser.gid })
    expect(statSync(config).mode & 0o777).toBe(0o640)
    expect(readdirSync(join(host.dir, 'etc'))).toEqual(['pgts.yaml'])
    expect(stdout).toMatch(/init is not complete\.\n {2}stanza-create: done, check: pending, backup: pending/)
    expect(stdout).toMatch(/restart the server: \S+\/pg_ctl restart -w -m fast -D /)
    // Lines with paths are as long as the paths.
    for (const line of stdout.split('\n').filter((line) => !line.includes('/'))) expect(line.length).toBeLessThan(81)
    const [row] = await host.cluster.query("select setting from pg_file_settings where name = 'archive_command'")
    expect(row!['setting']).toContain(`${pgtsProgram()} --config=${config} --stanza=main archive-push %p`)
  })

  test('a second run after the restart checks archiving and makes the first backup', { timeout: 90_000 }, async () => {
    await host.cluster.restart()
    const { code, stdout } = await host.init('--yes')
    expect(code).toBe(0)
    expect(stdout).toContain('The settings of the server are as needed')
    expect(stdout).toContain('stanza-create: done, check: done, backup: done')
    const { stdout: info } = await pgts([`--config=${host.dir}/etc/pgts.yaml`, 'info'])
    expect(info).toMatch(/stanza: main\n {4}status: ok\n[^]*full backup: \d{8}-\d{6}F\n/)
  })

  test('a third run finds no difference, changes no file and asks nothing', { timeout: 60_000 }, async () => {
    const before = tree(join(host.dir, 'etc'))
    const { code, stdout, stderr } = await host.init('--output=json')
    expect(code).toBe(0)
    expect(stderr).toContain('has stanza main already')
    expect(reportOf(stdout)).toMatchObject({
      stanza: 'main',
      complete: true,
      configuration: { state: 'unchanged', differences: [] },
      server: { archiver: 'pgts', settings: [], restart: { state: 'not needed', command: null } },
      steps: [
        { name: 'stanza-create', state: 'done' },
        { name: 'check', state: 'done' },
        { name: 'backup', state: 'not needed' },
      ],
    })
    expect(tree(join(host.dir, 'etc'))).toEqual(before)
  })

  test('another repository path than that of the file is a difference that is only shown', async () => {
    const { stdout } = await host.init('--repo1-path=/elsewhere', '--dry-run')
    expect(stdout).toContain(`differs: repo1-path is ${host.dir}/repo, this run has /elsewhere`)
  })
})

describe('with a pgbackrest.conf and an archive_command of another program', () => {
  let host: Host
  beforeAll(async () => {
    host = await aHost(15, 'pgbackrest.conf')
    mkdirSync(join(host.dir, 'include'))
    writeFileSync(join(host.dir, 'include/wal.conf'), "archive_mode = on\narchive_command = 'cp %p /nowhere/%f'\n")
    giveToTestUser(join(host.dir, 'include'))
    const conf = join(host.cluster.dataDir, 'postgresql.conf')
    writeFileSync(conf, `${readFileSync(conf, 'utf8')}\ninclude_dir = '${host.dir}/include'\n`)
    await host.cluster.restart()
    await host.cluster.query('create table t as select i, md5(i::text) from generate_series(1, 1000) i')
  }, 60_000)
  afterAll(() => host?.cluster[Symbol.asyncDispose]())

  test('keeps the command and says what replacing it means', async () => {
    const { code, stdout } = await host.init('--yes')
    expect(code).toBe(0)
    expect(stdout).toContain('The server archives with a copy command:\n  cp %p /nowhere/%f')
    expect(stdout).toContain('no more WAL is copied to its target')
    expect(stdout).toContain('archive_command is kept: a copy command archives')
    expect(stdout).toContain('let pgts archive: init --replace-archive-command')
    const [row] = await host.cluster.query('show archive_command')
    expect(row!['archive_command']).toBe('cp %p /nowhere/%f')
  })

  test('replaces it with consent, and pgbackrest restores the first backup', { timeout: 120_000 }, async () => {
    const { code, stdout } = await host.init('--yes', '--replace-archive-command')
    expect(code).toBe(0)
    expect(stdout).toContain(`now set in ${host.dir}/include/wal.conf line 2`)
    expect(stdout).toContain('stanza-create: done, check: done, backup: done')
    const expected = await dataChecksum(host.cluster)
    await host.cluster.stop()
    const target = join(host.dir, 'restored')
    mkdirSync(target, { mode: 0o700 })
    giveToTestUser(target)
    const config = `--config=${host.dir}/etc/pgbackrest.conf`
    await runOk(PGBACKREST, [
      config,
      '--stanza=main',
      `--pg1-path=${target}`,
      '--type=immediate',
      '--target-action=promote',
      'restore',
    ])
    const restored = await startCluster({ version: 15, dir: target, conf: { archive_mode: 'off' } })
    await restored.untilPrimary()
    expect(await dataChecksum(restored)).toEqual(expected)
    await restored.stop()
  })
})

describe('at a terminal of 80x24', () => {
  let host: Host
  beforeAll(async () => {
    host = await aHost(13, 'pgts.yaml')
  }, 60_000)
  afterAll(() => host?.cluster[Symbol.asyncDispose]())

  const inTerminal = () => new Terminal([pgtsProgram(), ...host.options, 'init'], host.dir)

  test('^C at a question changes nothing', { timeout: 60_000 }, async () => {
    await using terminal = inTerminal()
    await terminal.until('Name of the stanza')
    terminal.type('\x03')
    expect(await terminal.end()).toBe(63)
    expect(terminal.screen).toContain('[063]: init was ended by ^C: nothing was changed')
    expect(readdirSync(host.dir)).toEqual([])
  })

  test('typed answers are used, and wrong ones are asked again', { timeout: 60_000 }, async () => {
    await using terminal = inTerminal()
    await terminal.answer('Name of the stanza', 'prod')
    await terminal.answer('Repository (posix, s3, azure, gcs) [posix]', 'disk')
    await terminal.answer('choose one of: posix, s3, azure, gcs', '')
    await terminal.answer('Full backups to keep [2]', 'many')
    await terminal.until('enter a number from 1')
    await terminal.answer('Full backups to keep [2]', '3')
    await terminal.answer('Encryption (none, aes-256-cbc) [none]', 'aes')
    await terminal.answer('etc/pgts.yaml? [Y/n]', '')
    await terminal.answer('Change these settings by ALTER SYSTEM? [Y/n]', 'y')
    await terminal.answer('Restart the server now, which ends all connections? [y/N]', 'n')

    await terminal.answer('Make the first backup when the server archives? [Y/n]', '')
    expect(await terminal.end()).toBe(0)
    const config = readFileSync(join(host.dir, 'etc/pgts.yaml'), 'utf8')
    expect(config).toContain('  prod:\n')
    expect(config).toContain('retention-full: 3')
    const [, passphrase] = /cipher-pass: (\S{48})\n/.exec(config)!
    expect(terminal.screen).not.toContain(passphrase)
    expect(terminal.screen).toContain('cipher-pass: <redacted>')
    expect(terminal.screen).toContain('init is not complete.')
    expect(terminal.screen).toContain('without its passphrase no backup can be restored')
  })
})

test(
  '^C while settings are applied shows what is done, and another run does the rest',
  { timeout: 120_000 },
  async () => {
    const host = await aHost(15, 'pgts.yaml', { archive_mode: 'on' })
    await using _cluster = host.cluster
    // The server refuses to reload a file with a syntax error, so init waits for its settings.
    const conf = join(host.cluster.dataDir, 'postgresql.conf')
    const valid = readFileSync(conf, 'utf8')
    writeFileSync(conf, `${valid}\nnot a setting\n`)
    await using terminal = new Terminal([pgtsProgram(), ...host.options, '--yes', 'init'], host.dir)
    await terminal.until('alter system: archive_command')
    terminal.type('\x03')
    expect(await terminal.end()).toBe(63)
    expect(terminal.screen).toContain(
      `init is not complete.\n  done: ${host.dir}/etc/pgts.yaml, stanza-create\n` +
        '  not done: settings of the server (some may be written), check, backup\n' +
        'Run init again: it does what is missing.\n',
    )
    writeFileSync(conf, valid)
    const { code, stdout } = await host.init('--yes')
    expect(code, stdout).toBe(0)
    expect(stdout).toContain('stanza-create: done, check: done, backup: done')
  },
)

describe('when something prevents it', () => {
  let host: Host
  beforeAll(async () => {
    host = await aHost(18, 'pgts.yaml')
  }, 60_000)
  afterAll(() => host?.cluster[Symbol.asyncDispose]())

  test('an unreachable bucket ends it before anything is written', { timeout: 60_000 }, async () => {
    const secrets = join(host.dir, 'secrets')
    writeFileSync(secrets, 'repo1-s3-key=key\nrepo1-s3-key-secret=verysecret\n', { mode: 0o600 })
    giveToTestUser(secrets)
    const before = tree(host.dir)
    const { code, stdout, stderr } = await host.init(
      '--yes',
      '--repo1-type=s3',
      '--repo1-s3-bucket=b',
      '--repo1-s3-endpoint=127.0.0.1:1',
      `--init-secrets=${secrets}`,
      `--spool-path=${host.dir}/spool`,
      '--io-timeout=1s',
    )
    expect(code).not.toBe(0)
    expect(stdout + stderr).toContain('the repository cannot be reached with these settings')
    expect(stdout + stderr).toContain('s3-key-secret: <redacted>')
    expect(stdout + stderr).not.toContain('verysecret')
    expect(tree(host.dir)).toEqual(before)
  })

  test('a directory that cannot be written is named with the command for root', async () => {
    const closed = join(host.dir, 'closed')
    mkdirSync(closed)
    chmodSync(closed, 0o555)
    giveToTestUser(closed)
    const { code, stdout } = await host.init('--yes', `--config=${closed}/etc/pgts.yaml`)
    expect(code).toBe(47)
    expect(stdout).toContain(`cannot create ${closed}/etc: ${closed} is not writable`)
    expect(stdout).toContain(`sudo install -d -o ${testUser.name}`)
    expect(existsSync(join(host.dir, 'repo'))).toBe(false)
  })

  test('a wrong password ends it with 56', async () => {
    const hba = join(host.cluster.dataDir, 'pg_hba.conf')
    const before = readFileSync(hba, 'utf8')
    await host.cluster.query("alter role postgres password 'right'")
    writeFileSync(hba, 'local all all scram-sha-256\n')
    await host.cluster.query('select pg_reload_conf()')
    const isRefused = () =>
      host.cluster.client().then(
        (client) => client.end().then(() => false),
        () => true,
      )
    await until('the server to require a password', isRefused)
    const { code, stdout } = await pgts([...host.options, '--yes', 'init'], { env: { PGPASSWORD: 'wrong' } })
    writeFileSync(hba, before)
    expect(code).toBe(56)
    expect(stdout).toContain('password authentication failed')
  })

  test('a directory that is no cluster ends it with 73', async () => {
    const { code, stdout } = await host.init(`--pg1-path=${host.dir}`)
    expect(code).toBe(73)
    expect(stdout).toContain('is not a data directory of PostgreSQL')
  })
})

describe.each(objectStores.map((store) => ({ title: titleOf(store), store })))(
  'a repository in $title',
  ({ store }) => {
    test.skipIf(store.missing !== undefined)(
      'is set up with secrets of a file, up to the first backup',
      { timeout: 120_000 },
      async () => {
        const bucket = await store.bucket()
        await using cluster = await startCluster({ version: 18, walSegsizeMb: 1, conf: { archive_mode: 'on' } })
        const dir = makeTestDir('init-store')
        const isSecret = (name: string) =>
          /^repo1-(s3-key|s3-key-secret|azure-account|azure-key|azure-endpoint|gcs-key)$/.test(name)
        const all = Object.entries(bucket.options())
        const secrets = all.filter(([name]) => isSecret(name))
        writeFileSync(join(dir, 'secrets'), secrets.map(([name, value]) => `${name}=${value}\n`).join(''), {
          mode: 0o600,
        })
        giveToTestUser(join(dir, 'secrets'))
        const options = [
          `--config=${dir}/pgts.yaml`,
          `--pg1-path=${cluster.dataDir}`,
          `--pg1-user=${cluster.user}`,
          ...['log', 'lock', 'spool'].map((name) => `--${name}-path=${dir}/${name}`),
          ...all.filter(([name]) => !isSecret(name)).map(([name, value]) => `--${name}=${value}`),
          `--init-secrets=${dir}/secrets`,
        ]
        const { code, stdout, stderr } = await pgts([...options, '--yes', 'init'], { deadlineMs: 100_000 })
        expect(code, stdout + stderr).toBe(0)
        expect(stdout).toContain('stanza-create: done, check: done, backup: done')
        for (const [, value] of secrets) if (value.length > 20) expect(stdout + stderr).not.toContain(value)
        expect(readFileSync(join(dir, 'pgts.yaml'), 'utf8')).toContain('archive-async: true')
        expect([...(await bucket.objects()).keys()].join('\n')).toMatch(/backup\/main\/\d{8}-\d{6}F\/backup\.manifest/)
      },
    )
  },
)

test.skipIf(process.getuid?.() !== 0)(
  'run by root, everything belongs to the user of the server',
  { timeout: 90_000 },
  async () => {
    const host = await aHost(17, 'pgts.yaml', { archive_mode: 'on' })
    await using _cluster = host.cluster
    const root = { name: 'root', uid: 0, gid: 0, switched: false }
    const { code, stdout } = await runAs(root, pgtsProgram(), [...host.options, '--yes', 'init'], {
      deadlineMs: 80_000,
    })
    expect(code, stdout).toBe(0)
    expect(stdout).toContain('stanza-create: done, check: done, backup: done')
    // The archiver may be renaming a file.
    const isOfRoot = (name: string) => statSync(join(host.dir, name), { throwIfNoEntry: false })?.uid === 0
    expect(readdirSync(host.dir, { recursive: true, encoding: 'utf8' }).filter(isOfRoot)).toEqual(['etc'])
    expect(statSync(join(host.dir, 'etc'))).toMatchObject({ gid: testUser.gid, mode: 0o40750 })
  },
)
