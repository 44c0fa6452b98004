import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test as plainTest } from 'vitest'
import { giveToTestUser, startCluster, type Cluster } from '../../support/postgres/postgres.ts'
import { Client, infoOf, SERVICE_VARIABLES } from '../../support/sites/client.ts'
import { objectStores, type Bucket } from '../../support/stores/object-stores.ts'
import { unarchivedSegment } from '../../support/sites/replica.ts'

// Two plugins of CloudNativePG: operasoftware (rows A, options and variables) and dalibo (rows B, variables only). No
// configuration file. Rows run in order: each uses what earlier ones made.

const store = objectStores.find(({ name }) => name === 's3')!
const test = plainTest.skipIf(store.missing !== undefined)

let bucket: Bucket
let cluster: Cluster
let opera: Client
let dalibo: Client
let R: readonly string[]
let pg: readonly string[]
const L = ['--log-level-stderr', 'warn', '--log-level-console', 'off']
const N = ['--stanza', 'cluster-example']
const lockOf = (client: Client) => join(client.bin, 'pgbackrest-lock')

beforeAll(async () => {
  if (store.missing !== undefined) return
  bucket = await store.bucket()
  const {
    'repo1-s3-key': key = '',
    'repo1-s3-key-secret': secret = '',
    'repo1-s3-region': region = '',
  } = bucket.options()
  const endpoint = `https://127.0.0.1:${bucket.port.tls}`
  const secrets = {
    PGBACKREST_REPO1_S3_KEY: key,
    PGBACKREST_REPO1_S3_KEY_SECRET: secret,
    PGBACKREST_REPO1_S3_KEY_TYPE: 'shared',
    PGBACKREST_REPO1_S3_REGION: region,
    PGBACKREST_REPO1_CIPHER_TYPE: 'aes-256-cbc',
    PGBACKREST_REPO1_CIPHER_PASS: 'pass of the cluster',
  }
  opera = new Client(secrets)
  R = ['--repo1-type', 's3', '--repo1-s3-endpoint', endpoint, '--repo1-storage-verify-tls=n']
  R = [...R, '--repo1-s3-bucket', bucket.name, '--repo1-path', '/opera', '--repo1-s3-uri-style', 'path']
  const archive = opera.script('archive', [...R, ...L, ...N, 'archive-push'])
  cluster = await startCluster({
    walSegsizeMb: 1,
    conf: { archive_mode: 'on', archive_command: `${archive} "$PWD/%p"` },
  })
  pg = ['--pg1-path', cluster.dataDir, '--pg1-user', 'postgres', '--pg1-socket-path', `${cluster.socketDir}/`]
  dalibo = new Client({
    ...secrets,
    ...SERVICE_VARIABLES,
    PGBACKREST_STANZA: 'cluster-dalibo',
    PGBACKREST_PG1_PATH: cluster.dataDir,
    PGBACKREST_PG1_USER: 'postgres',
    PGBACKREST_PG1_SOCKET_PATH: cluster.socketDir,
    PGBACKREST_LOG_LEVEL_CONSOLE: 'info',
    PGBACKREST_LOG_LEVEL_FILE: 'off',
    PGBACKREST_PROCESS_MAX: '2',
    PGBACKREST_START_FAST: 'y',
    PGBACKREST_DELTA: 'y',
    PGBACKREST_COMPRESS_TYPE: 'lz4',
    PGBACKREST_ARCHIVE_ASYNC: 'n',
    PGBACKREST_REPO1_TYPE: 's3',
    PGBACKREST_REPO1_PATH: '/dalibo',
    PGBACKREST_REPO1_RETENTION_FULL: '7',
    PGBACKREST_REPO1_S3_BUCKET: bucket.name,
    PGBACKREST_REPO1_S3_ENDPOINT: endpoint,
    PGBACKREST_REPO1_S3_URI_STYLE: 'path',
    PGBACKREST_REPO1_S3_VERIFY_TLS: 'n',
  })
  // Both set the lock path in the environment or on the command line.
  Object.assign(dalibo.env, { PGBACKREST_LOCK_PATH: lockOf(dalibo) })
}, 120_000)
afterAll(() => cluster?.[Symbol.asyncDispose]())

const walFile = (name: string) => join(cluster.dataDir, 'pg_wal', name)

async function switchWal(): Promise<string> {
  const [row] = await cluster.query("select pg_walfile_name(pg_logical_emit_message(true, 'test', 'x')) as name")
  await cluster.query('select pg_switch_wal()')
  return String(row!['name'])
}

describe('cnpg-plugin-pgbackrest of operasoftware', () => {
  const info = async (...more: string[]) =>
    infoOf(await opera.ok(['info', '--output', 'json', ...R, ...L, ...N, ...more]))

  test('A2: info of a missing stanza is an array of one with code 1', async () => {
    const stanzas = await info()
    expect(stanzas).toHaveLength(1)
    expect(stanzas[0]).toMatchObject({
      name: 'cluster-example',
      status: { code: 1, message: 'missing stanza path' },
      db: [],
      archive: [],
      backup: [],
    })
  })

  test('A1: stanza-create succeeds, and again', async () => {
    const create = ['stanza-create', ...R, ...pg, ...L, ...N, '--lock-path', lockOf(opera)]
    for (const _ of [1, 2]) expect(await opera.ok(create)).toBe('')
  })

  test('A3: several pushes at once without pg1-path succeed and print nothing', async () => {
    await unarchivedSegment(cluster)
    const names = [await switchWal(), await switchWal(), await switchWal()]
    const push = (name: string) => ['--compress-type', 'gz', ...R, ...L, ...N, 'archive-push', walFile(name)]
    expect(await Promise.all(names.map((name) => opera.ok(push(name))))).toEqual(['', '', ''])
    expect((await info())[0]?.archive).toMatchObject([{ id: '15-1', max: names[2] }])
    await cluster.query('alter system reset archive_command')
    await cluster.query('select pg_reload_conf()')
  })

  test('A5: backup with annotations is found by info --set', async () => {
    const retention = ['--repo1-retention-full-type', 'count', '--repo1-retention-full', '3']
    const stdout = await opera.ok(
      [
        ...['backup', '--annotation', 'cnpg-backup-name=backup-1', '--compress-type', 'gz', '--start-fast'],
        ...['--process-max', '2', '--annotation', 'env=test', ...R, ...retention, ...pg, ...L, '--type=full', ...N],
        ...['--lock-path', lockOf(opera), '--no-archive-check'],
      ],
      { TMPDIR: opera.directory('tmp') },
    )
    expect(stdout).toBe('')
    const [stanza] = await info()
    expect(stanza).toMatchObject({
      cipher: 'aes-256-cbc',
      status: { code: 0, message: 'ok' },
      db: [{ id: 1, version: '15' }],
    })
    const { label, type, prior, archive, timestamp } = stanza!.backup[0]!
    expect({ type, prior, archive, timestamp }).toMatchObject({
      type: 'full',
      prior: null,
      archive: { start: expect.stringMatching(/^[0-9A-F]{24}$/) as string },
      timestamp: { start: expect.any(Number) as number, stop: expect.any(Number) as number },
    })
    const [ofSet] = await info('--set', label)
    expect(ofSet?.backup).toMatchObject([
      {
        label,
        annotation: { 'cnpg-backup-name': 'backup-1', env: 'test' },
        lsn: { start: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/) as string },
      },
    ])
  })

  test('A6: restore with the command between its options', async () => {
    const { label } = (await info())[0]!.backup[0]!
    const target = join(opera.bin, 'pgdata')
    const options = [...N, '--lock-path', lockOf(opera), '--process-max', '2', ...R, ...L, '--pg1-path', target]
    // A warning: the original still exists.
    expect(await opera.run([...options, 'restore', '--set', label])).toMatchObject({ code: 0, stdout: '' })
    expect(existsSync(join(target, 'global/pg_control'))).toBe(true)
  })

  test('A4: archive-get without a server ends with 0 for a file, 1 for an absent one, and else with another code', async () => {
    const restored = ['--pg1-path', join(opera.bin, 'pgdata')]
    const { max } = (await info())[0]!.archive[0]!
    const destination = (name: string) => join(opera.directory('fetched'), name)
    const get = (name: string, env = {}) =>
      opera.run([...R, ...restored, ...L, ...N, 'archive-get', name, destination(name)], env)
    const absent = ['0000000100000000000000FF', '00000002.history', `${max}.partial`]
    const answers = await Promise.all([max, ...absent].map((name) => get(name)))
    expect(answers.map(({ code, stdout, stderr }) => ({ code, stdout, stderr }))).toEqual([
      { code: 0, stdout: '', stderr: '' },
      ...absent.map(() => ({ code: 1, stdout: '', stderr: '' })),
    ])
    expect(readdirSync(opera.directory('fetched'))).toEqual([max])
    const refused = await get(max, { PGBACKREST_REPO1_S3_KEY_SECRET: 'wrong' })
    expect(refused.code).toBeGreaterThan(1)
    expect(refused.stderr).toMatch(/ERROR: /)
  })

  test('A7: variables of Kubernetes services change nothing on stdout and stderr', async () => {
    const args = ['info', '--output', 'json', ...R, ...L, ...N]
    expect(infoOf(await opera.ok(args, SERVICE_VARIABLES))).toMatchObject([
      { name: 'cluster-example', status: { code: 0 } },
    ])
    // The archiver pushes it, too; from the second push on, there is a warning in any case.
    const push = [...R, ...L, ...N, 'archive-push', walFile(await switchWal())]
    expect((await opera.run(push)).code).toBe(0)
    const { code, stdout, stderr } = await opera.run(push)
    expect(await opera.run(push, SERVICE_VARIABLES)).toMatchObject({ code, stdout, stderr })
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
  })
})

describe('cnpg-plugin-pgbackrest of dalibo', () => {
  beforeAll(async () => {
    if (store.missing !== undefined) return
    await cluster.query(`alter system set archive_command = '${dalibo.script('archive', ['archive-push'])} "$PWD/%p"'`)
    await cluster.query('select pg_reload_conf()')
  })

  test('B1: info with stderr merged into stdout is JSON, before and after stanza-create', async () => {
    for (const command of ['pgbackrest info --output=json 2>&1', 'pgbackrest info --output json 2>&1']) {
      const { code, stdout } = await dalibo.sh(command)
      expect({ code, stanzas: infoOf(stdout) }).toMatchObject({
        code: 0,
        stanzas: [{ name: 'cluster-dalibo', repo: [{ key: 1, status: { code: 1 } }] }],
      })
    }
  })

  test('B2: stanza-create', async () => {
    expect(await dalibo.ok(['stanza-create', '--stanza=cluster-dalibo'])).toMatch(/completed successfully/)
  })

  test('B3, B4: archive-push and archive-get outside of the data directory', async () => {
    const name = await switchWal()
    await dalibo.ok(['archive-push', walFile(name)])
    const fetched = join(dalibo.directory('fetched'), 'RECOVERYXLOG')
    await dalibo.ok(['archive-get', name, fetched])
    expect(existsSync(fetched)).toBe(true)
    expect((await dalibo.run(['archive-get', '00000009.history', fetched])).code).toBe(1)
  })

  test('B5: backup with its type and repository in the environment', async () => {
    const env = { PGBACKREST_ARCHIVE_CHECK: 'n', PGBACKREST_TYPE: 'full', PGBACKREST_REPO: '1' }
    expect(await dalibo.ok(['backup'], env)).toMatch(/new backup label = \d{8}-\d{6}F\n/)
    const report = async () => infoOf((await dalibo.sh('pgbackrest info --output=json 2>&1')).stdout)
    expect(await report()).toMatchObject([
      { status: { code: 0 }, repo: [{ status: { code: 0 } }], backup: [{ type: 'full' }] },
    ])
    const isArchived = ([stanza]: Awaited<ReturnType<typeof report>>) =>
      stanza!.archive[0]!.max >= stanza!.backup[0]!.archive.stop
    await expect.poll(async () => isArchived(await report()), { timeout: 30_000 }).toBe(true)
  })

  test('B6: restore ignores variables of other commands, and keeps the text of restore_command', async () => {
    const target = dalibo.directory('pgdata')
    const command = '/controller/manager wal-restore --log-destination /controller/log/postgres.json %f %p'
    const env = {
      PGBACKREST_PG1_PATH: target,
      PGBACKREST_ARCHIVE_CHECK: 'n',
      PGBACKREST_TYPE: 'immediate',
      PGBACKREST_SET: 'latest',
      PGBACKREST_RECOVERY_OPTION: `restore_command=${command}`,
    }
    await dalibo.ok(['restore'], env)
    const settings = await dalibo.sh(`grep ^restore_command ${target}/postgresql.auto.conf`)
    expect(settings.stdout).toBe(`restore_command = '${command}'\n`)
    giveToTestUser(target)
    const byTime = {
      ...env,
      PGBACKREST_TYPE: 'time',
      PGBACKREST_TARGET: '2100-01-01 00:00:00+00',
      PGBACKREST_TARGET_TIMELINE: 'latest',
    }
    await dalibo.ok(['restore'], byTime)
    expect((await dalibo.sh(`grep ^recovery_target_time ${target}/postgresql.auto.conf`)).stdout).toMatch(/2100-01-01/)
  })
})
