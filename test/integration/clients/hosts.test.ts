import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { giveToTestUser } from '../../support/postgres/postgres.ts'
import { Client, infoOf } from '../../support/sites/client.ts'
import { unarchivedSegment, untilArchived } from '../../support/sites/replica.ts'
import { aSite, type Site } from '../../support/sites/site.ts'

// Clients that manage hosts with systemd or Patroni (rows G, H, I, J, K, L, M, P, T). Rows run in order: each uses what
// earlier ones made.

let site: Site
let client: Client
let config: string

beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, options: { 'archive-timeout': '10s', resume: 'n', 'link-all': 'y' } })
  client = new Client()
  config = `--config=${site.config}`
}, 120_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const run = (...args: string[]) => client.run([config, ...args])
const ok = (...args: string[]) => client.ok([config, ...args])
const settingOf = (target: string, name: string) =>
  new RegExp(`^${name} = '(.*)'$`, 'm').exec(readFileSync(join(target, 'postgresql.auto.conf'), 'utf8'))?.[1]

describe('before stanza-create', () => {
  test('H1: multigres finds its texts for a missing stanza and a missing configuration', async () => {
    const args = ['--stanza=main', '--output=json', '--log-level-console=off', 'info']
    expect(infoOf(await ok(...args))[0]!.repo.map(({ status }) => status.code)).toEqual([1])
    const { code, stdout, stderr } = await client.run(['--config=/no/such/pgbackrest.conf', ...args])
    expect({ code, output: stdout + stderr }).toMatchObject({
      code: 55,
      output: expect.stringContaining('unable to open missing file') as string,
    })
  })

  test('J: the status code of a missing stanza is 1', async () => {
    expect(infoOf(await ok('info', '--stanza=main', '--output=json'))[0]!.status.code).toBe(1)
  })

  test('G2: stanza-create ends with 49 when the store cannot be reached', async () => {
    const s3 = [
      '--repo1-type=s3',
      '--repo1-s3-bucket=b',
      '--repo1-s3-endpoint=127.0.0.1:9',
      '--repo1-s3-region=r',
      '--repo1-s3-uri-style=path',
      '--repo1-path=/r',
    ]
    const env = { PGBACKREST_REPO1_S3_KEY: 'k', PGBACKREST_REPO1_S3_KEY_SECRET: 's' }
    const { code, stdout } = await client.run([config, '--stanza=main', ...s3, '--io-timeout=1', 'stanza-create'], env)
    expect({ code, stdout }).toEqual({ code: 49, stdout: expect.stringContaining('ERROR: [049]: ') as string })
  })

  test('K: stanza-create and stanza-upgrade without a server connection; the second stanza-create says that it exists', async () => {
    await ok('--stanza=main', '--no-online', 'stanza-create')
    await ok('--stanza=main', '--no-online', 'stanza-upgrade')
    expect(await ok('--stanza=main', '--no-online', '--log-level-console=info', 'stanza-create')).toContain(
      'already exists',
    )
  })

  test('J: the status code of a stanza without backups is 2', async () => {
    expect(infoOf(await ok('info', '--stanza=main', '--output=json'))[0]!.status.code).toBe(2)
  })
})

describe('backups', () => {
  test('M: check succeeds, so stanza-create is not called', async () => {
    const script = `pgbackrest ${config} --stanza=main check || pgbackrest ${config} --stanza=main stanza-create --log-level-stderr=info`
    expect(await client.sh(script)).toMatchObject({ code: 0, stderr: '' })
  })

  test('G4: backup with debug output on stdout has the line of the new label', async () => {
    const stdout = await ok(
      '--stanza=main',
      '--log-level-console=debug',
      '--type=full',
      'backup',
      '--no-backup-standby',
    )
    expect(stdout).toMatch(/(new backup label = )([0-9]{8}[-][0-9]{6}[F])$/m)
  })

  test('I, H4: backup without times in the log, and expire', async () => {
    const stdout = await ok(
      '--stanza=main',
      '--log-level-console=info',
      'backup',
      '--log-timestamp=n',
      '--type',
      'incr',
      '--annotation',
      'k=v',
    )
    expect(stdout).toMatch(/^P00 {3}INFO: backup command begin /)
    await ok('--stanza=main', 'expire')
  })

  test('M: backup with warnings on stderr only', async () => {
    const stdout = await client.ok([
      config,
      '--stanza=main',
      '--log-level-console=off',
      '--log-level-stderr=warn',
      'backup',
      '--type=diff',
    ])
    expect(stdout).toBe('')
  })

  test('G3: check ends with 82 when WAL does not arrive', async () => {
    await unarchivedSegment(site.cluster)
    expect((await run('--stanza=main', '--archive-timeout=1', 'check')).code).toBe(82)
    await site.cluster.query('alter system reset archive_command')
    await site.cluster.query('select pg_reload_conf()')
    await untilArchived(site.cluster)
  })

  test('G8: foreign objects in the repository disturb no command', async () => {
    const [stanza] = infoOf(await ok('info', '--output=json'))
    const foreign = join(site.repo, 'backup/main', stanza!.backup[0]!.label, 'backup.log')
    for (const path of [foreign, join(site.repo, 'model-uuid.txt')]) {
      writeFileSync(path, 'x')
      giveToTestUser(path)
    }
    await ok('--stanza=main', '--type=full', 'backup')
    await ok('--stanza=main', '--repo1-retention-full=2', 'expire')
    expect(infoOf(await ok('info', '--output=json'))[0]!.status.code).toBe(0)
  })

  test('H3: verify has the status of each stanza in its output without --output', async () => {
    const good = await run('--stanza=main', '--log-level-console=info', 'verify')
    expect(good.code).toBe(0)
    expect(good.stdout).not.toMatch(/^\s*status: error/m)
    const [stanza] = infoOf(await ok('info', '--output=json'))
    const { label } = stanza!.backup.at(-1)!
    const [file, kept] = [join(site.repo, 'backup/main', label, 'pg_data/PG_VERSION.gz'), join(client.bin, 'kept')]
    copyFileSync(file, kept)
    writeFileSync(file, 'damaged')
    const bad = await run('--stanza=main', '--log-level-console=info', `--set=${label}`, 'verify')
    copyFileSync(kept, file)
    expect(bad.stdout).toMatch(/^\s*status: error/m)
    expect(bad.stdout).not.toContain('completed successfully')
  })
})

describe('restores', () => {
  const restoring = (target: string, ...args: string[]) =>
    ok('--stanza=main', `--pg1-path=${client.directory(target)}`, ...args, 'restore')
  const at = (target: string) => join(client.bin, target)

  test('G7: the bootstrap of Patroni takes a timeline in hex', async () => {
    await restoring('bootstrap', '--type=default', '--target-timeline=0x1')
    expect(settingOf(at('bootstrap'), 'recovery_target_timeline')).toBe('1')
    await restoring('immediate', '--set=latest', '--type=immediate', '--target-action=promote')
    expect(settingOf(at('immediate'), 'recovery_target_action')).toBe('promote')
  })

  test('H5: restore writes the value of a recovery option as it is given', async () => {
    const value = `pgbackrest --config=''/etc/x y.conf'' archive-get %f "%p"`
    await restoring('standby', '--type=standby', `--recovery-option=restore_command=${value}`)
    expect(settingOf(at('standby'), 'restore_command')).toBe(value)
  })

  test('J, K, L, M, P: delta restores over an existing directory', async () => {
    const past = ['--type=time', '--target=2100-01-01 00:00:00+00', '--target-action=promote', '--target-exclusive']
    for (const args of [
      ['--delta'],
      ['--delta', '--force', ...past],
      ['--delta', '--force', '--target-timeline=current', '--set=latest'],
      ['--force', '--delta', '--log-level-console=detail'],
    ])
      await restoring('bootstrap', ...args)
    await restoring(
      'tablespaces',
      `--tablespace-map-all=${at('ts')}`,
      '--recovery-option=recovery_target_inclusive=true',
    )
  })

  test('P: options that Patroni appends without no_params are refused with 31', async () => {
    const args = [
      '--stanza=main',
      '--delta',
      'restore',
      '--scope=main',
      '--role=replica',
      `--datadir=${at('p')}`,
      '--connstring=x',
    ]
    expect((await run(...args)).code).toBe(31)
  })

  test('K: archive-get by %f %p', async () => {
    const { max } = infoOf(await ok('info', '--output=json'))[0]!.archive[0]!
    await ok('--stanza=main', 'archive-get', max, join(client.bin, 'segment'))
  })
})

describe('the end of a stanza', () => {
  test('K, L: stop --force, start, and stanza-delete --force', async () => {
    await ok('--stanza=main', '--force', 'stop')
    await ok('--stanza=main', 'start')
    await ok('--stanza=main', 'stop', '--force')
    await ok('--stanza=main', '--force', 'stanza-delete')
    expect(infoOf(await ok('info', '--stanza=main', '--output=json'))[0]!.status.code).toBe(1)
  })

  test('L: pg-version-force and annotation of a configuration file are accepted', async () => {
    const own = join(client.bin, 'pigsty.conf')
    const pg = Object.entries(site.cluster.pgOptions()).map(([name, value]) => `${name}=${value}`)
    const repo = join(client.bin, 'pigsty')
    mkdirSync(repo)
    giveToTestUser(repo)
    const lines = [
      '[global]',
      `repo1-path=${repo}`,
      `lock-path=${join(client.bin, 'lock')}`,
      'log-level-file=off',
      'annotation=a=b',
      '[main]',
    ]
    writeFileSync(own, [...lines, ...pg, 'pg-version-force=15', ''].join('\n'))
    expect(await client.ok([`--config=${own}`, '--stanza=main', '--no-online', 'stanza-create'])).toBe('')
    expect(infoOf(await client.ok([`--config=${own}`, 'info', '--output=json']))[0]!.db).toMatchObject([
      { version: '15' },
    ])
  })

  test('T: log files have the names of the Debian package, and its configuration directory is searched', async () => {
    const { stdout } = await client.sh(`ls ${join(site.dir, 'log')}`)
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining(['main-backup.log', 'main-restore.log', 'main-stanza-create.log']),
    )
    const help = await client.run(['--stanza=main', 'check'])
    expect(help.stdout + help.stderr).toContain('/etc/pgbackrest')
  })
})
