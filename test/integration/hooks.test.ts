import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { giveToTestUser } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

const PASSPHRASE = 'wq0t7B1sSxDieQfA8CMxAU'

type Event = Readonly<Record<string, unknown>>

let site: Site
let place: string
let counter = 0
const started: number[] = []
beforeAll(async () => {
  const options = {
    'repo1-cipher-type': 'aes-256-cbc',
    'repo1-cipher-pass': PASSPHRASE,
    'repo1-retention-full': '1',
  }
  site = await aSite({ walSegsizeMb: 1, options })
  await site.pgtsOk('stanza-create')
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())
beforeEach(() => {
  place = join(site.dir, `hooks-${++counter}`)
  mkdirSync(place)
  giveToTestUser(place)
})
afterEach(() => {
  for (const pid of started.splice(0)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }
})

/** A hook that appends its event to a file. */
const noting = (name: string) => `cat >>'${place}/${name}'`
const eventsOf = (name: string): Event[] =>
  existsSync(join(place, name))
    ? readFileSync(join(place, name), 'utf8')
        .split('\n')
        // The last one is empty, or not completely written yet.
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Event)
    : []
const logOf = (name: string) => readFileSync(join(site.dir, `log/main-${name}.log`), 'utf8')
const labels = async () => {
  const { stdout } = await site.pgtsOk('--output=json', 'info')
  return (JSON.parse(stdout) as { backup: { label: string }[] }[])[0]!.backup.map(({ label }) => label)
}

describe('hooks of a backup', () => {
  test('run before and after it, and the one after it can change the backup', async () => {
    const annotate = `'${site.program}' --config='${site.config}' --stanza=main --annotation=by=hook --set=$(ls -t '${site.repo}/backup/main' | grep -m1 'F$') annotate`
    const { stdout, stderr } = await site.pgtsOk(
      '--type=full',
      `--hook-backup-before=${noting('before')}`,
      `--hook-backup-after=${noting('after')}; ${annotate}`,
      'backup',
    )
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' })
    const [label] = await labels()
    expect(eventsOf('before')).toEqual([
      expect.objectContaining({
        hook: 'backup-before',
        stanza: 'main',
        type: 'full',
        host: expect.any(String) as string,
      }),
    ])
    expect(eventsOf('after')).toEqual([
      expect.objectContaining({
        hook: 'backup-after',
        ok: true,
        began: true,
        backup: expect.objectContaining({ label, type: 'full', repoKey: 1 }) as object,
      }),
    ])
    const { stdout: info } = await site.pgtsOk(`--set=${label}`, 'info')
    expect(info).toMatch(/annotation\(s\)\s+by: hook/)
  }, 120_000)

  test('that hang, fail and print secrets leave the backup and its exit code as they are', async () => {
    const before = await labels()
    const { code, stdout, stderr } = await site.pgts([
      '--hook-timeout=10s',
      "--hook-backup-before=trap '' TERM; while :; do sleep 1; done",
      `--hook-backup-after=grep cipher-pass '${site.config}'; exit 9`,
      'backup',
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/WARN: hook-backup-before failed: no end within 10s\n/)
    expect(stdout).toMatch(/WARN: hook-backup-after failed: exit code 9\n +repo1-cipher-pass *= *<redacted>\n/)
    expect(stdout + logOf('backup') + logOf('expire')).not.toContain(PASSPHRASE)
    expect(await labels()).toHaveLength(before.length + 1)
    await site.pgtsOk('verify')
    expect(await site.verifiedByPgbackrest()).toContain('status: ok')
  }, 120_000)

  test('refuse the backup if the one before it fails and is required, and report that', async () => {
    const before = await labels()
    const { code, stdout } = await site.pgts([
      '--hook-backup-before=exit 4',
      '--hook-backup-required',
      `--hook-backup-after=${noting('after')}`,
      'backup',
    ])
    expect(code).toBe(104)
    expect(stdout).toContain('[104]: no backup is taken, because hook-backup-before failed: exit code 4')
    expect(eventsOf('after')).toEqual([
      expect.objectContaining({ ok: false, began: true, error: expect.objectContaining({ code: 104 }) as object }),
    ])
    expect(await labels()).toEqual(before)
  }, 120_000)

  test('report a backup that did not begin, because another one runs', async () => {
    const first = site.pgts([`--hook-backup-before=echo $$ >'${place}/pid'; sleep 1000`, '--hook-timeout=1h', 'backup'])
    await until('the first backup', () => existsSync(join(place, 'pid')))
    const second = await site.pgts([
      `--hook-backup-before=${noting('before')}`,
      `--hook-backup-after=${noting('after')}`,
      'backup',
    ])
    expect(second.code).toBe(50)
    expect(eventsOf('before')).toEqual([])
    expect(eventsOf('after')).toEqual([
      expect.objectContaining({ ok: false, began: false, error: expect.objectContaining({ code: 50 }) as object }),
    ])
    await until('the pid', () => readFileSync(join(place, 'pid'), 'utf8').endsWith('\n'))
    process.kill(-Number(readFileSync(join(place, 'pid'), 'utf8')), 'SIGKILL')
    expect(await first).toMatchObject({ code: 0, stdout: expect.stringContaining('ended by SIGKILL') as string })
  }, 120_000)

  test('of drill and doctor report what these found', async () => {
    await site.pgtsOk('--type=full', 'backup')
    const drill = await site.pgts([
      `--drill-path=${place}/scratch`,
      `--hook-drill-after=${noting('drill')}; exit 3`,
      'drill',
    ])
    expect(drill.code).toBe(0)
    expect(drill.stdout).toContain('WARN: hook-drill-after failed: exit code 3')
    expect(eventsOf('drill')).toEqual([
      expect.objectContaining({
        hook: 'drill-after',
        ok: true,
        drill: expect.objectContaining({ result: 'passed', repoKey: 1 }) as object,
      }),
    ])
    const doctor = await site.pgts([`--doctor-window=3000d`, `--hook-doctor=${noting('doctor')}`, 'doctor'])
    expect(doctor.code).toBe(104)
    const [event] = eventsOf('doctor')
    expect(event).toMatchObject({
      hook: 'doctor',
      stanza: 'main',
      state: expect.stringMatching(/^(error|warning)$/) as string,
    })
    const rules = (event!['findings'] as { rule: string }[]).map(({ rule }) => rule)
    expect(rules).toContain('window')
    for (const rule of rules) expect(doctor.stdout).toContain(`[${rule}]`)
  }, 240_000)

  test('that leave a process running keep no lock of the stanza', async () => {
    await site.pgtsOk(`--hook-backup-before=setsid sleep 1000 & echo $! >'${place}/pid'`, 'backup')
    started.push(Number(readFileSync(join(place, 'pid'), 'utf8')))
    expect(() => process.kill(started[0]!, 0)).not.toThrow()
    await site.pgtsOk('backup')
    await site.pgbackrestOk('expire')
  }, 120_000)
})

describe.each([
  ['synchronous', 'n'],
  ['asynchronous', 'y'],
])('hook-archive-failure with %s archiving', (_, async) => {
  test('reports the begin of an outage once and its end, and PostgreSQL does not wait for it', async () => {
    const { cluster } = site
    // It hangs when the outage begins.
    const hook = join(place, 'hook')
    writeFileSync(
      hook,
      `#!/bin/sh\nevent=$(cat)\necho $$ >'${place}/pid'\nprintf '%s\\n' "$event" >>'${place}/events'\ncase $event in *begun*) exec sleep 1000 ;; esac\n`,
      { mode: 0o755 },
    )
    giveToTestUser(place)
    const command = `''${site.program}'' --config=${site.config} --stanza=main --archive-async=${async} --hook-archive-failure=${hook} --hook-timeout=1h --archive-timeout=5s archive-push %p`
    await cluster.query(`alter system set archive_command = '${command}'`)
    await cluster.query('select pg_reload_conf()')
    await archived()
    chmodSync(site.repo, 0)
    try {
      await endSegment()
      await until('the first event', () => eventsOf('events').length > 0)
      started.push(Number(readFileSync(join(place, 'pid'), 'utf8')))
      const failures = await failedCount()
      // More failures while the hook of the first one is still running.
      await until(
        'further failures',
        async () => {
          await endSegment()
          return (await failedCount()) > failures + 1
        },
        { everyMs: 300 },
      )
      expect(() => process.kill(started[0]!, 0)).not.toThrow()
      expect(eventsOf('events')).toEqual([
        expect.objectContaining({
          hook: 'archive-failure',
          state: 'begun',
          failures: 1,
          file: expect.stringMatching(/^0000000/) as string,
        }),
      ])
    } finally {
      chmodSync(site.repo, 0o750)
    }
    await until(
      'the end of the outage',
      async () => {
        await endSegment()
        return eventsOf('events').length > 1
      },
      { everyMs: 300 },
    )
    const [begun, ended] = eventsOf('events')
    expect(ended).toMatchObject({ state: 'ended', since: begun!['since'] })
    expect(ended!['failures']).toBeGreaterThan(1)
    await archived()
    expect(eventsOf('events')).toHaveLength(2)
  }, 180_000)
})

/** @returns its name */
async function endSegment(): Promise<string> {
  // Without new WAL there is nothing to switch.
  await site.cluster.query("select pg_create_restore_point('x')")
  const [row] = await site.cluster.query('select pg_walfile_name(pg_switch_wal()) as name')
  return String(row!['name'])
}

async function failedCount(): Promise<number> {
  return Number((await site.cluster.query('select failed_count from pg_stat_archiver'))[0]!['failed_count'])
}

/** The segment that is being written now is in the archive. */
async function archived(): Promise<void> {
  const name = await endSegment()
  await until(`the archived ${name}`, async () => {
    const [state] = await site.cluster.query(
      'select last_archived_wal >= $$' + name + '$$ as done from pg_stat_archiver',
    )
    return state!['done'] === true
  })
}
