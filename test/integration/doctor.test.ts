import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { DoctorReport } from '../../src/commands/doctor.ts'
import { writePushStatus, type PushStatus } from '../../src/core/archive/status/push-status.ts'
import { spoolPaths } from '../../src/core/archive/spool/spool-files.ts'
import { doctorRules } from '../../src/core/doctor/rules.ts'
import { loadBackupInfo, saveBackupInfo } from '../../src/core/backup-info-store.ts'
import type { BackupInfo } from '../../src/format/backup-info.ts'
import type { DrillRecord } from '../../src/core/drill/record.ts'
import { saveDrill } from '../../src/core/drill/store.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { textToBytes } from '../../src/util/byte-string.ts'
import { removeTreeSync } from '../../src/util/remove-tree.ts'
import { smallDisk } from '../support/faults/small-disk.ts'
import {
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  runAs,
  type RunResult,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'
import { FAILING_COMMAND, unarchivedSegment } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { objectStores } from '../support/stores/object-stores.ts'
import { makeCertificates } from '../support/stores/tls.ts'
import { until } from '../support/until.ts'

const s3 = objectStores.find(({ name }) => name === 's3')!
/** Rules that tests of this file provoked; the last test compares them with the list. */
const provoked = new Set<string>()
let site: Site

beforeAll(async () => {
  site = await aSite({
    version: 18,
    walSegsizeMb: 1,
    // fsync: the default of tests is off, which is a finding.
    conf: { fsync: 'on', archive_timeout: '60s' },
    options: { ...(await secondRepository()), 'compress-level': '1' },
  })
  chmodSync(site.repo, 0o750)
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('check')
  for (const repo of keys) await site.pgtsOk(`--repo=${repo}`, '--type=full', 'backup')
  for (const repo of keys) await site.pgtsOk(`--repo=${repo}`, 'verify')
  await recordDrill(aDrill())
}, 120_000)
afterAll(async () => site[Symbol.asyncDispose]())

/** Remove the spool of archiving, to which the server may archive a segment at the same time. */
function removeSpool(): void {
  removeTreeSync(textToBytes(join(site.dir, 'spool/archive')))
}

/** The site is healthy again for the next test, also after a test that failed. */
afterEach(async () => {
  removeSpool()
  rmSync(join(site.dir, 'lock/main.stop'), { force: true })
  rmSync(join(site.cluster.dataDir, 'pgts.copy'), { force: true })
  chmodSync(join(site.dir, 'spool'), 0o755)
  chmodSync(site.repo, 0o750)
  await reset()
}, 60_000)

/** Every segment so far is in the archive. */
async function archived(): Promise<void> {
  // Its commit comes first: the server does not end a segment without a record.
  await site.cluster.query('select txid_current()')
  const [row] = await site.cluster.query('select pg_walfile_name(pg_switch_wal()) as segment')
  const segment = String(row?.['segment'])
  // An archiver whose command could not be started ends; a new connection starts the next one.
  const query = `select 1 from pg_stat_archiver where last_archived_wal >= '${segment}'`
  const isArchived = async () => (await site.cluster.query(query, [], 'postgres')).length > 0
  await until('the segment to be archived', isArchived, { everyMs: 100 })
}

const keys = s3.missing === undefined ? [1, 2] : [1]

/** An encrypted one in S3, if its server is installed. */
async function secondRepository(): Promise<Record<string, string>> {
  if (s3.missing !== undefined) return {}
  const options = Object.entries(await (await s3.bucket()).options())
  return {
    ...Object.fromEntries(options.map(([name, value]) => [name.replace('repo1-', 'repo2-'), value])),
    'repo2-retention-full': '9',
    'repo2-cipher-type': 'aes-256-cbc',
    'repo2-cipher-pass': 'correct horse battery staple',
  }
}

/** pgts with the configuration of the site, or with that of `--config`. */
function run(args: readonly string[]): Promise<RunResult> {
  const config = args.some((arg) => arg.startsWith('--config=')) ? [] : [`--config=${site.config}`]
  return runAs(testUser, pgtsProgram(), [...config, '--stanza=main', ...args])
}

/** The report about repo1 unless `--repo` is given, whatever the exit code. */
async function report(...args: string[]): Promise<DoctorReport> {
  const repo = args.some((arg) => arg.startsWith('--repo=')) ? [] : ['--repo=1']
  const result = await run([...repo, ...args, '--output=json', 'doctor'])
  if (!result.stdout.startsWith('{')) throw new Error(`no report: ${result.stdout}${result.stderr}`)
  const found = JSON.parse(result.stdout) as DoctorReport
  expect(result.code).toBe(found.findings.some(({ severity }) => severity !== 'notice') ? 104 : 0)
  return found
}

async function findings(...args: string[]): Promise<DoctorReport['findings']> {
  const { findings: found } = await report(...args)
  for (const { rule } of found) provoked.add(rule)
  return found
}

/** `rule severity` of every finding. */
async function found(...args: string[]): Promise<string[]> {
  return (await findings(...args)).map(({ rule, severity }) => `${rule} ${severity}`)
}

const one = (all: DoctorReport['findings'], rule: string) => all.find((finding) => finding.rule === rule)

async function setting(name: string, value: string): Promise<void> {
  await site.cluster.query(`alter system set ${name} = '${value.replaceAll("'", "''")}'`)
  await site.cluster.query('select pg_reload_conf()')
  await until(`${name} to change`, async () => {
    const [row] = await site.cluster.query(
      `select setting, pending_restart as pending, unit from pg_settings where name = '${name}'`,
    )
    return row?.['pending'] === true || row?.['unit'] !== null || row?.['setting'] === value
  })
}

async function reset(): Promise<void> {
  await site.cluster.query('alter system reset all')
  await site.cluster.query('select pg_reload_conf()')
  await until('the settings to be reset', async () => {
    const rows = await site.cluster.query(`select 1 from pg_settings where sourcefile like '%auto.conf'`)
    return rows.length === 0
  })
}

const inRepo = (...parts: string[]) => join(site.repo, ...parts)

/** Run `work` while backup.info of repo1 is changed. */
async function withBackupInfo(change: (info: BackupInfo) => BackupInfo, work: () => Promise<void>): Promise<void> {
  const names = ['backup.info', 'backup.info.copy'].map((name) => inRepo('backup/main', name))
  const before = names.map((name) => readFileSync(name))
  const repository = { key: 1, display: 'repo1', storage: posixStorage(site.repo) }
  await saveBackupInfo(repository, 'main', change(await loadBackupInfo(repository, 'main')))
  names.forEach((name) => giveToTestUser(name))
  try {
    await work()
  } finally {
    names.forEach((name, index) => writeFileSync(name, before[index]!))
  }
}

/** All backups as if they had been taken at another time. */
const shifted = (seconds: number) => (info: BackupInfo) => ({
  ...info,
  backups: info.backups.map((backup) => ({
    ...backup,
    timestampStart: backup.timestampStart + seconds,
    timestampStop: backup.timestampStop + seconds,
  })),
})

/** The configuration with lines replaced; `undefined` removes one. */
function otherConfig(changes: Readonly<Record<string, string | undefined>>, mode = 0o640): string {
  const lines = readFileSync(site.config, 'utf8').split('\n')
  const kept = lines.filter((line) => !Object.hasOwn(changes, line.split('=')[0] ?? ''))
  const added = Object.entries(changes).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  const path = join(makeTestDir('conf'), 'pgbackrest.conf')
  writeFileSync(path, [kept[0], ...added, ...kept.slice(1)].join('\n'), { mode })
  giveToTestUser(path)
  return `--config=${path}`
}

/** As `pgts drill` records it. */
const aDrill = (more: Partial<DrillRecord> = {}): DrillRecord => ({
  ...{ startedMs: Date.now() - 3_600_000, host: 'db', pgts: '0', label: 'LABEL', type: 'immediate' },
  ...{ result: 'passed', durations: { totalMs: 1 }, checks: [] },
  ...more,
})

async function recordDrill(record: DrillRecord): Promise<void> {
  rmSync(inRepo('pgts/main/drill'), { recursive: true, force: true })
  const repository = { key: 1, display: 'repo1', storage: posixStorage(site.repo) }
  await saveDrill(repository, 'main', record, new AbortController().signal)
  giveToTestUser(inRepo('pgts/main'))
}

describe('a healthy site', () => {
  test('yields nothing, and exit code 0', async () => {
    const text = await site.pgts(['doctor'])
    expect(text).toMatchObject({ code: 0, stdout: '', stderr: '' })
    const all = await run(['--output=json', 'doctor'])
    const { state, findings, notChecked, checked } = JSON.parse(all.stdout) as DoctorReport
    expect({ state, findings, notChecked, checked }).toEqual({
      ...{ state: 'ok', findings: [], notChecked: [], checked: doctorRules.length },
    })
  })

  test('is one line for a monitoring plugin', async () => {
    const { stdout, code } = await site.pgts(['--output=nagios', 'doctor'])
    expect([stdout, code]).toEqual(['PGTS OK - main: no findings | errors=0 warnings=0\n', 0])
  })

  test.skipIf(!testUser.switched)(
    'yields nothing to root, who reads what the owner of the cluster can read',
    async () => {
      const root = { ...testUser, uid: 0, gid: 0, switched: false, name: 'root' }
      const args = [`--config=${site.config}`, 'doctor']
      expect(await runAs(root, pgtsProgram(), args)).toMatchObject({ code: 0, stdout: '', stderr: '' })
      const config = otherConfig({}, 0o600).replace('--config=', '')
      chownSync(config, 0, 0)
      const closed = await runAs(root, pgtsProgram(), [`--config=${config}`, '--output=json', 'doctor'])
      const [finding, ...more] = (JSON.parse(closed.stdout) as DoctorReport).findings
      expect(more).toEqual([])
      expect(finding).toMatchObject({ rule: 'config-unreadable', message: `${testUser.name} cannot read ${config}` })
      provoked.add('config-unreadable')
    },
  )
})

describe('settings of the server', () => {
  test('archive_timeout, fsync, full_page_writes, a setting that needs a restart', async () => {
    await setting('archive_timeout', '0')
    await setting('fsync', 'off')
    await setting('full_page_writes', 'off')
    await setting('archive_mode', 'always')
    const all = await findings()
    await reset()
    expect(all.map(({ rule, severity }) => `${rule} ${severity}`)).toEqual([
      ...['fsync error', 'fsync error', 'pending-restart warning', 'archive-timeout notice'],
    ])
    expect(all.map(({ message }) => message)).toEqual([
      ...['fsync is off', 'full_page_writes is off'],
      ...['the server was not restarted since archive_mode changed', 'archive_timeout is 0'],
    ])
  })

  test('replication slots that keep WAL without limit, and a large pg_wal', async () => {
    await site.cluster.query(`select pg_create_physical_replication_slot('gone', true)`)
    await setting('min_wal_size', '2MB')
    await setting('max_wal_size', '2MB')
    for (let i = 0; i < 8; i++) await site.cluster.query('select txid_current(); select pg_switch_wal()')
    const all = await findings()
    await site.cluster.query(`select pg_drop_replication_slot('gone')`)
    await reset()
    expect(one(all, 'idle-slot')).toMatchObject({
      message: expect.stringMatching(/^replication slot gone is idle and keeps \d+(\.\d)?MB of WAL$/) as string,
    })
    expect(one(all, 'idle-slot')?.next.at(-1)).toMatch(/^psql -h .* -c 'select pg_drop_replication_slot/)
    expect(one(all, 'slot-limit')).toMatchObject({ severity: 'warning' })
    expect(one(all, 'pg-wal-size')?.message).toMatch(/^pg_wal has \d+(\.\d)?MB, and the settings explain 2MB$/)
  })
})

describe('archiving', () => {
  test('an archive_command of another program, and one that cannot be found', async () => {
    await setting('archive_command', 'PATH=/nowhere pgts --config=/nowhere.conf --stanza=other archive-push %p')
    // The archiver may call each value and fail, which is another finding.
    const ofCommand = async () => (await findings()).filter(({ rule }) => rule === 'archive-command')
    expect((await ofCommand()).map(({ message }) => message.replace(/; it is: .*/, ''))).toEqual([
      expect.stringMatching(/^archive_command starts pgts, which is in no directory of the server's PATH/),
      'archive_command names stanza other, and this is main',
      'archive_command names /nowhere.conf, which does not exist',
    ])
    await setting('archive_command', 'cp %p /somewhere')
    expect((await ofCommand())[0]?.message).toMatch(/^archive_command calls neither pgts nor pgbackrest/)
    await setting('archive_command', '')
    expect((await ofCommand()).map(({ severity }) => severity)).toEqual(['error'])
  })

  test('an archive_command that fails, files that wait, a stop file; the commands can be pasted', async () => {
    await archived()
    const segment = await unarchivedSegment(site.cluster)
    const ready = join(site.cluster.dataDir, 'pg_wal/archive_status', `${segment}.ready`)
    utimesSync(ready, new Date(), new Date(Date.now() - 965_000))
    await site.pgtsOk('stop')
    const all = await findings()
    expect(one(all, 'archive-failing')).toMatchObject({
      severity: 'error',
      message: expect.stringMatching(
        new RegExp(`^archive_command failed for ${segment} at 20.* failures so far$`),
      ) as string,
    })
    expect(one(all, 'archive-failing')?.next.at(-1)).toBe(`cd ${site.cluster.dataDir} && ${FAILING_COMMAND}`)
    expect(one(all, 'archive-waiting')).toMatchObject({
      severity: 'error',
      message: expect.stringMatching(`WAL file\\(s\\) .* wait; the oldest, ${segment}, for 16 min`) as string,
    })

    const stopped = one(all, 'archive-stopped')!
    const path = { PATH: `${dirname(pgtsProgram())}:${process.env['PATH']}` }
    for (const line of stopped.next)
      expect(await runAs(testUser, 'sh', ['-c', line], { env: path })).toMatchObject({ code: 0 })
    await reset()
    await archived()
    expect(await found()).toEqual([])
  }, 120_000)

  const status = (more: Partial<PushStatus>): PushStatus => ({
    ...{ pid: process.pid, state: 'idle', startedMs: Date.now(), updatedMs: Date.now(), inHand: [] },
    ...{ queue: { files: 0, bytes: 0 }, pushed: { files: 0, bytes: 0 }, rate: { files: 0, bytes: 0, ms: 0 } },
    repositories: [{ key: 1 }],
    ...more,
  })

  test('the background process: stuck, blocked, a failing repository, a dropped queue, its errors', async () => {
    const spool = spoolPaths(join(site.dir, 'spool'), 'main')
    for (const path of [spool.own, spool.out]) mkdirSync(path, { recursive: true })
    const write = (more: Partial<PushStatus>) => {
      writePushStatus(spool, status(more))
      writeFileSync(join(spool.own, 'push.pid'), `${process.pid}\n`)
      giveToTestUser(join(site.dir, 'spool'))
    }
    const failure = { sinceMs: Date.now() - 240_000, failures: 3, nextTryMs: 0, message: 'no route to host' }
    write({
      updatedMs: Date.now() - 120_000,
      state: 'blocked',
      why: 'the spool is full',
      repositories: [{ key: 1, trouble: failure }],
    })
    const all = await findings('--archive-async')
    expect(all.map(({ rule, message }) => `${rule}: ${message.replace(/(?<= min) \d+ s/, '')}`)).toEqual([
      `archive-background: the background process (pid ${process.pid}) has not written its status for 2 min`,
      `archive-background: the background process (pid ${process.pid}) cannot work: the spool is full`,
      'archive-background: no WAL can be stored for 4 min: no route to host',
    ])
    write({ inHand: [{ file: '000000010000000000000001', sinceMs: Date.now() - 90_000 }] })
    expect(await found('--archive-async')).toEqual(['archive-background warning'])
    write({ dropped: { file: '000000010000000000000001', files: 2, timeMs: Date.now() } })
    expect(await found('--archive-async')).toEqual(['archive-dropped error'])
    write({ dropped: { file: '000000010000000000000001', files: 2, timeMs: 1 } })
    expect(await found('--archive-async')).toEqual([])
    writeFileSync(join(spool.out, '000000010000000000000001.error'), '103\nunable to find a valid repository')
    giveToTestUser(join(site.dir, 'spool'))
    const failing = await findings('--archive-async')
    expect(failing.map(({ message }) => message)).toEqual([
      'the background process cannot push 000000010000000000000001: [103] unable to find a valid repository',
    ])
    removeSpool()
    chmodSync(join(site.dir, 'spool'), 0o500)
    expect(await found('--archive-async')).toEqual(['spool error'])
    chmodSync(join(site.dir, 'spool'), 0o755)
  })

  test('a copy that archives into the stanza of the original', async () => {
    // archive_timeout ends no segment in the next minute, which could not be archived.
    await archived()
    const mark = join(site.cluster.dataDir, 'pgts.copy')
    writeFileSync(mark, '{}')
    giveToTestUser(mark)
    expect(await found()).toEqual(['archive-copy error'])
    rmSync(mark)
  })
})

describe('repositories', () => {
  test('missing WAL, and a repository that has less than another', async () => {
    const commit = () => site.cluster.query('select txid_current(); select pg_switch_wal()')
    for (let i = 0; i < 4; i++) await commit()
    await archived()
    const wal = inRepo('archive/main/18-1/0000000100000000')
    const segments = readdirSync(wal)
      .filter((name) => /^[0-9A-F]{24}-/.test(name))
      .sort()
    const aside = makeTestDir('aside')
    renameSync(join(wal, segments.at(-3)!), join(aside, 'segment'))
    const all = await findings()
    expect(one(all, 'wal-gap')).toMatchObject({
      severity: 'error',
      message: expect.stringMatching(
        `^1 WAL segment\\(s\\) from ${segments.at(-3)!.slice(0, 24)} on are missing`,
      ) as string,
    })
    renameSync(join(aside, 'segment'), join(wal, segments.at(-3)!))
    if (keys.length === 1) return
    for (const name of segments.slice(-4)) renameSync(join(wal, name), join(aside, name))
    const result = await site.pgts(['--output=json', 'doctor'])
    for (const name of segments.slice(-4)) renameSync(join(aside, name), join(wal, name))
    const lags = one((JSON.parse(result.stdout) as DoctorReport).findings, 'repository-lags')
    provoked.add('repository-lags')
    expect(lags).toMatchObject({ repoKey: 1, message: expect.stringContaining('and repo2 has') as string })
  })

  test('one that cannot be read, one without the stanza, one that others can read', async () => {
    // As above.
    await archived()
    const names = ['backup.info', 'backup.info.copy'].map((name) => inRepo('backup/main', name))
    const whole = names.map((name) => readFileSync(name))
    for (const name of names) writeFileSync(name, 'no backup.info')
    const all = await report()
    expect(all.findings).toMatchObject([{ rule: 'repository-unreadable', severity: 'error', repoKey: 1 }])
    provoked.add('repository-unreadable')
    names.forEach((name, index) => writeFileSync(name, whole[index]!))

    for (const kind of ['archive', 'backup']) renameSync(inRepo(kind, 'main'), inRepo(kind, 'aside'))
    expect(await found()).toEqual(['stanza-missing error'])
    for (const kind of ['archive', 'backup']) renameSync(inRepo(kind, 'aside'), inRepo(kind, 'main'))

    chmodSync(site.repo, 0o755)
    expect(await found()).toEqual(['repository-permissions warning'])
    chmodSync(site.repo, 0o757)
    expect(await found()).toEqual(['repository-permissions error'])
    chmodSync(site.repo, 0o750)
  })

  test('verify that never ran, or long ago', async () => {
    const file = inRepo('pgts/main/verify.json')
    const before = readFileSync(file, 'utf8')
    expect(await found('--doctor-verify-age=1s')).toEqual(['verify-age warning'])
    rmSync(file)
    expect(await found()).toEqual(['verify-age notice'])
    writeFileSync(file, before)
    giveToTestUser(file)
  })
})

describe('backups', () => {
  test('no drill, one that failed, one that could not run, one long ago', async () => {
    const path = inRepo('pgts/main/drill')
    rmSync(path, { recursive: true })
    expect(await found()).toEqual(['drill-age notice'])
    await recordDrill(aDrill({ result: 'failed', problem: { code: 81, message: 'a file is missing' } }))
    const [failed] = await findings()
    expect(failed).toMatchObject({
      severity: 'error',
      message: expect.stringMatching(/^the drill of LABEL 1 h( \d+ s)? ago failed: a file is missing$/) as string,
    })
    await recordDrill(aDrill({ result: 'error' }))
    expect(await found()).toEqual(['drill-age warning'])
    await recordDrill(aDrill())
    expect(await found('--doctor-drill-age=10m')).toEqual(['drill-age warning'])
    expect(await found()).toEqual([])
  })

  test('the last one is older than promised, or than the schedule; also the last full', async () => {
    expect(await found('--doctor-backup-age=1s')).toEqual(['backup-age error'])
    await withBackupInfo(shifted(-60 * 86_400), async () => {
      const all = await findings()
      expect(one(all, 'backup-age')?.message).toMatch(
        /^the last backup is 60 d.* old; the limit without a known schedule is 8 d/,
      )
      expect(one(all, 'full-age')?.message).toMatch(/^the last full backup is 60 d.* old; the limit is 35 d/)
      expect(one(all, 'backup-age')?.next.at(-1)).toMatch(/ --stanza=main --repo=1 backup$/)
    })
  })

  test('one has damaged pages, one was interrupted, one is from the future', async () => {
    await withBackupInfo(
      (info) => ({ ...info, backups: info.backups.map((backup) => ({ ...backup, error: true })) }),
      async () => expect(await found()).toEqual(['backup-page-errors error']),
    )
    await withBackupInfo(shifted(3600), async () => {
      const [finding] = await findings()
      expect(finding).toMatchObject({
        rule: 'clock',
        severity: 'error',
        message: expect.stringContaining('from the future') as string,
      })
    })
    const interrupted = inRepo('backup/main/20200101-000000F')
    mkdirSync(interrupted)
    writeFileSync(join(interrupted, 'backup.manifest.copy'), '')
    const old = new Date(Date.now() - 7_200_000)
    utimesSync(join(interrupted, 'backup.manifest.copy'), old, old)
    giveToTestUser(interrupted)
    const [finding] = await findings()
    rmSync(interrupted, { recursive: true })
    expect(finding).toMatchObject({
      rule: 'backup-interrupted',
      message: expect.stringMatching(/^backup 20200101-000000F was interrupted 2 h( \d+ s)? ago$/) as string,
    })
  })

  test('the promised window, and a lock without progress', async () => {
    const [finding] = await findings('--doctor-window=30d')
    expect(finding).toMatchObject({
      rule: 'window',
      message: expect.stringMatching(/^recovery is possible for the last .*; doctor-window is 30 d$/) as string,
    })
    expect(await found('--doctor-window=1s')).toEqual([])

    const lock = join(site.dir, 'lock/main-backup-1.lock')
    writeFileSync(lock, '{"execId":"1-00000000","pid":1}')
    giveToTestUser(lock)
    const holder = spawn('flock', ['-x', lock, 'sleep', '60'], { stdio: 'ignore', detached: true })
    try {
      await until('the lock', () => spawnSync('flock', ['-xn', lock, 'true']).status !== 0)
      const old = new Date(Date.now() - 8 * 3_600_000)
      utimesSync(lock, old, old)
      const [stale] = await findings()
      expect(stale).toMatchObject({ rule: 'stale-lock', next: ['ps -fp 1', '# if it is stuck', 'kill 1'] })
    } finally {
      process.kill(-holder.pid!, 'SIGKILL')
      rmSync(lock)
    }
  })
})

describe('configuration and security', () => {
  test('options without effect, no retention, secrets that others can read', async () => {
    const conf = otherConfig({ 'retention-ful': '3', priority: '5', 'repo1-retention-full': undefined })
    const all = await findings(conf)
    expect(
      all.map(({ rule, severity, message }) => `${rule} ${severity}: ${message.replace(/^.*line \d+: /, '')}`),
    ).toEqual([
      'config-warnings warning: there is no option retention-ful',
      'retention warning: repo1-retention-full is not set',
      'config-warnings notice: ignoring options that pgts does not support yet: priority',
    ])
    const exposed = otherConfig({ 'repo1-cipher-pass': 'x' }, 0o644)
    expect(await found(exposed)).toContain('config-exposed error')
  })

  test('a store without verified TLS or encryption, whose certificates end, and whose clock differs', async () => {
    await using store = await wrongStore()
    const conf = otherConfig({
      ...{ 'repo3-type': 's3', 'repo3-s3-bucket': 'bucket', 'repo3-s3-region': 'here', 'repo3-path': '/repo' },
      ...{ 'repo3-s3-endpoint': `127.0.0.1:${store.port}`, 'repo3-s3-uri-style': 'path', 'repo3-s3-key': 'k' },
      ...{ 'repo3-s3-key-secret': 's', 'repo3-storage-verify-tls': 'n', 'repo3-storage-ca-file': store.caFile },
      'repo3-retention-full': '1',
    })
    const all = await findings(conf, '--repo=3')
    const shown = all.map(({ rule, severity, message }) => `${rule} ${severity}: ${message}`)
    expect(shown).toContain('tls-unverified warning: repo3-storage-verify-tls is off')
    expect(shown).toContain('unencrypted notice: repo3-cipher-type is none, and the repository is in an object store')
    expect(shown.join('\n')).toMatch(
      /certificate error: certificate '127\.0\.0\.1' of https:\/\/127\.0\.0\.1:\d+ ends in [45] d/,
    )
    expect(shown.join('\n')).toMatch(/certificate warning: certificate 'CN=pgts test' in \/.* ends in (19|20) d/)
    expect(shown.join('\n')).toMatch(/clock error: the clock of this host is (9|10) min.* behind that of the store/)
    expect(all.every(({ repoKey }) => repoKey === 3)).toBe(true)
  })

  test.skipIf(process.getuid?.() !== 0)('a disk that is nearly full', async () => {
    const disk = smallDisk('4m')
    if (disk === undefined) return
    writeFileSync(join(disk, 'file'), Buffer.alloc(3.95 * 1024 * 1024))
    const [finding] = await findings(`--lock-path=${disk}`)
    expect(finding).toMatchObject({ rule: 'disk-space', severity: 'error', next: [`df -h ${disk}`] })
    expect(finding?.message).toMatch(/^\d+(\.\d)?KB \(\d\.\d%\) is free where the lock path is: /)
  })
})

test('an archive_library, which PostgreSQL uses instead of archive_command', async () => {
  await setting('archive_command', '')
  await setting('archive_library', 'basic_archive')
  expect(await found()).toEqual(['archive-library error'])
})

describe('another cluster', () => {
  test('an old server that does not archive, without checksums, without backup; its stanza is that of another one', async () => {
    await using other = await startCluster({
      version: 12,
      dataChecksums: false,
      walSegsizeMb: 1,
      conf: { wal_level: 'minimal', max_wal_senders: '0', archive_mode: 'off', fsync: 'on' },
    })
    const place = Object.entries(other.pgOptions()).map(([name, value]) => `--${name}=${value}`)
    const all = await findings(...place)
    const named = all.map(({ rule, severity }) => `${rule} ${severity}`)
    expect(named).toEqual([
      ...['archive-mode error', 'wal-level error', 'stanza-mismatch error'],
      ...['data-checksums notice', 'postgres-version notice'],
    ])
    const repo = join(makeTestDir('repo'), 'repo')
    const config = otherConfig({ 'repo1-path': repo })
    const own = (...args: string[]) => run([...place, config, ...args])
    const only = keys.length === 2 ? ['--repo2-path=/other'] : []
    expect((await own(...only, 'stanza-create')).code).toBe(0)
    expect(await found(...place, config)).toContain('backup-missing error')
  })

  test('a server that is down hides no finding about the repositories, and no pg1-path is no finding', async () => {
    const nothing = makeTestDir('socket')
    const all = await report(`--pg1-socket-path=${nothing}`, '--doctor-backup-age=1s')
    expect(all.findings.map(({ rule }) => rule)).toEqual(['server-unreadable', 'backup-age'])
    expect(all.notChecked.map(({ fact }) => fact)).toContain('server')
    const text = (await site.pgts([`--pg1-socket-path=${nothing}`, '--repo=1', 'doctor'])).stdout
    expect(text).toMatch(/^stanza main: 1 error\n\nerror \[server-unreadable\]: /)
    const prose = text.split('\n').filter((line) => !/psql|pgts /.test(line))
    expect(Math.max(...prose.map((line) => line.length))).toBeLessThanOrEqual(80)
    const repositoryHost = otherConfig({
      ...Object.fromEntries(Object.keys(site.cluster.pgOptions()).map((name) => [name, undefined])),
    })
    expect(await report(repositoryHost)).toMatchObject({ state: 'ok', notChecked: [] })
  })

  test('every stanza of the configuration is examined without --stanza', async () => {
    const config = otherConfig({})
    const path = config.replace('--config=', '')
    writeFileSync(path, `${readFileSync(path, 'utf8')}\n[second]\npg1-path=/nowhere\n`)
    const result = await runAs(testUser, pgtsProgram(), [config, '--repo=1', '--output=nagios', 'doctor'])
    expect(result.code).toBe(2)
    const [first, second] = result.stdout.trim().split('\n')
    expect(first).toBe('PGTS OK - main: no findings | errors=0 warnings=0')
    expect(second).toMatch(/^PGTS CRITICAL - second: 3 errors: server-unreadable, cluster-unreadable, stanza-missing /)
    expect((await runAs(testUser, pgtsProgram(), [`--config=/dev/null`, 'doctor'])).code).toBe(27)
  })
})

/** An HTTPS server with a certificate that ends in 5 days, an authority that ends in 20, and a clock 10 minutes ahead. */
async function wrongStore(): Promise<AsyncDisposable & { readonly port: number; readonly caFile: string }> {
  const dir = makeTestDir('store')
  const { certFile, keyFile, caFile } = makeCertificates(join(dir, 'tls'), { days: 5, authorityDays: 20 })
  const server: Server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (_, response) => {
    response.sendDate = false
    response.writeHead(403, { date: new Date(Date.now() + 600_000).toUTCString() }).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    caFile,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('every rule was provoked by a test of this file', () => {
  const others = [
    ...(testUser.switched ? [] : ['config-unreadable', 'disk-space']),
    ...(keys.length === 2 ? [] : ['repository-lags']),
  ]
  expect(doctorRules.map(({ id }) => id).filter((id) => !provoked.has(id) && !others.includes(id))).toEqual([])
})
