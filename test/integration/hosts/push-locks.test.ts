import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PushSite } from '../../support/hosts/push-site.ts'
import { signal } from '../../support/processes/processes.ts'
import type { RunResult } from '../../support/processes/test-user.ts'
import { until } from '../../support/until.ts'

const BACKUP = ['--stanza=main', '--type=full', 'backup']

/** A backup that is suspended while the repository host holds its locks. */
interface Suspended {
  readonly result: Promise<RunResult>
  /** Sends a signal to pgts, not to ssh. */
  signal(name: NodeJS.Signals): void
}

describe.runIf(canSwitchUsers)('locks and stop files of a repository host', { timeout: 180_000 }, () => {
  let site: PushSite
  beforeAll(async () => {
    site = await PushSite.start()
    await site.postgres.pgtsOk('--stanza=main', 'stanza-create')
  })
  afterAll(() => site[Symbol.asyncDispose]())

  const lockFile = () => join(site.repository.dir, 'lock/main-backup-1.lock')

  async function suspendedBackup(): Promise<Suspended> {
    let root = 0
    const result = site.postgres.pgts(BACKUP, { onStart: (pid) => (root = pid) })
    const send = (name: NodeJS.Signals) => void signal(root, name)
    await until('the lock of the backup', () => existsSync(lockFile()) && readFileSync(lockFile(), 'utf8') !== '')
    send('SIGSTOP')
    onTestFinished(() => send('SIGCONT'))
    return { result, signal: send }
  }

  test('a command of the repository host is refused during a backup of the PostgreSQL host, with its process', async () => {
    const backup = await suspendedBackup()
    const { pid } = JSON.parse(readFileSync(lockFile(), 'utf8')) as { pid: number }
    const expire = await site.repository.pgts(['--stanza=main', '--repo1-retention-full=1', 'expire'])
    expect(expire.code).toBe(50)
    expect(expire.stdout).toContain(`is held by process ${pid}`)
    backup.signal('SIGCONT')
    expect((await backup.result).code).toBe(0)
  })

  test('stop --force on the repository host ends a backup of the PostgreSQL host with [063]', async () => {
    const backup = await suspendedBackup()
    await site.repository.pgtsOk('--stanza=main', '--force', 'stop')
    backup.signal('SIGCONT')
    const { code, stdout } = await backup.result
    expect(stdout).toContain('[063]')
    expect(code).toBe(63)
    await until('the release of the locks', () => !existsSync(lockFile()))
  })

  test('a stop file on the repository host stops archiving and commands of the PostgreSQL host until start', async () => {
    const refused = await site.postgres.pgts(BACKUP)
    expect(refused.code).toBe(62)
    expect(refused.stdout).toContain('main.stop')
    await site.cluster.query('create table while_stopped as select 1')
    await site.cluster.query('select pg_switch_wal()')
    await until('a refused segment', async () => {
      const [row] = await site.cluster.query('select failed_count::int as n from pg_stat_archiver')
      return Number(row?.['n']) > 0
    })
    expect(site.cluster.log()).toContain("stop file exists on host 'repo-host'")
    await site.repository.pgtsOk('--stanza=main', 'start')
    await site.postgres.pgtsOk('--stanza=main', 'check')
  })

  test('a killed command leaves no lock, and the next one takes its lease over', async () => {
    const backup = await suspendedBackup()
    backup.signal('SIGKILL')
    await backup.result
    await until('the release of the locks', () => !existsSync(lockFile()))
    const { stdout } = await site.postgres.pgtsOk(...BACKUP)
    expect(stdout).toContain('new backup label')
    expect(readdirSync(join(site.repository.dir, 'repo/pgts/main'))).not.toContain('lease.json')
  })
})
