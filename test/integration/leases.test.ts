import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { STALE_MS } from '../../src/core/lease/life.ts'
import { objectStores, titleOf } from '../support/stores/object-stores.ts'
import { signal } from '../support/processes/processes.ts'
import { expectRefusal, seen } from '../support/refusal.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { giveToTestUser, type RunResult } from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'
import { unarchivedSegment } from '../support/sites/replica.ts'

/**
 * Two hosts that work on one stanza, as real programs: hosts are distinguished by their lock paths. One
 * repository on a shared disk, one in a bucket.
 */
const store = objectStores.find(({ name }) => name === 's3')!
type Host = 'a' | 'b'

let site: Site
beforeAll(async () => {
  const bucket = store.missing === undefined ? Object.entries(await (await store.bucket()).options()) : []
  site = await aSite({
    walSegsizeMb: 1,
    options: {
      'repo1-bundle': 'y',
      'archive-timeout': '600s',
      ...Object.fromEntries(bucket.map(([name, value]) => [name.replace('repo1', 'repo2'), value])),
      ...(bucket.length > 0 ? { 'repo2-bundle': 'y', 'repo2-retention-full': '9' } : {}),
    },
  })
  mkdirSync(join(site.dir, 'lock-b'))
  giveToTestUser(join(site.dir, 'lock-b'))
  await site.pgtsOk('stanza-create')
  for (const repo of bucket.length > 0 ? [1, 2] : [1]) await site.pgtsOk(`--repo=${repo}`, 'backup')
  // A backup waits for WAL as long as a test needs.
  await unarchivedSegment(site.cluster)
}, 120_000)
afterAll(() => site?.[Symbol.asyncDispose]())

describe.each([
  { repo: 1, title: 'a disk', missing: undefined },
  { repo: 2, title: titleOf(store), missing: store.missing },
])('in a repository on $title', ({ repo, missing }) => {
  const lockOf = (host: Host) => (host === 'b' ? [`--lock-path=${join(site.dir, 'lock-b')}`] : [])
  const on = (host: Host, ...args: string[]): Promise<RunResult> => {
    const every = ['stanza-create', 'stanza-upgrade', 'start', 'stop'].includes(args.at(-1)!)
    return site.pgts([...(every ? [] : [`--repo=${repo}`]), ...lockOf(host), ...args])
  }

  /** It does not check the host. */
  const lease = (...args: string[]) => site.pgts([`--repo=${repo}`, 'lease', ...args])

  interface Running {
    readonly pid: number
    readonly ended: Promise<RunResult>
    kill(signal: NodeJS.Signals): Promise<RunResult>
  }

  /** A full backup that waits for its first segment. */
  async function backupOn(host: Host): Promise<Running> {
    let started: (pid: number) => void = () => undefined
    const pid = new Promise<number>((resolve) => (started = resolve))
    const ended = site.pgts([`--repo=${repo}`, ...lockOf(host), '--type=full', 'backup'], { onStart: started })
    const running = await pid
    onTestFinished(async () => {
      signal(running, 'SIGKILL')
      await ended
    })
    return {
      pid: running,
      ended,
      kill: (signal) => {
        process.kill(running, signal)
        return ended
      },
    }
  }

  interface Row {
    state: string
    pid?: number
    command?: string
    lastSignMs?: number
  }
  async function leaseNow(): Promise<Row> {
    const { stdout } = await lease('--output=json')
    return (JSON.parse(stdout) as Row[])[0]!
  }
  const untilHeld = (pid: number) =>
    until('the lease of the backup', async () => (await leaseNow()).pid === pid, { everyMs: 200 })

  /** The message on host b: the holder of the lease, and the next step. */
  const holder = (pid: number) => ({
    code: 50,
    says: [
      new RegExp(`repo${repo} is in use: host \\S+ \\(process ${pid}, backup\\) holds the lease since \\d{4}-\\S+Z`),
      /last sign of life \d+ (seconds?|minutes) ago/,
      `pgts --stanza=main lease --repo=${repo} --break`,
    ],
    hint: /another lock-path/,
  })

  test.skipIf(missing !== undefined)(
    'commands that change a stanza are refused while the other host has the lease, others are not, and a killed holder blocks until lease --break',
    async () => {
      const backup = await backupOn('a')
      await untilHeld(backup.pid)
      const refused = holder(backup.pid)
      const label = labelOf(await on('b', '--output=json', 'info'))
      expectRefusal(await on('b', 'backup'), { ...refused, hint: /wait for this command to end/ })
      for (const args of [['stanza-create'], ['stanza-upgrade']]) expectRefusal(await on('b', ...args), refused)
      for (const args of [
        [`--set=${label}`, '--annotation=a=b', 'annotate'],
        ['pin', label],
        [`--set=${label}`, 'expire'],
      ]) {
        if (repo === 2 && args.at(-1) !== 'expire') continue
        const result = await on('b', ...args)
        expect(result.code, args.join(' ')).toBe(104)
        for (const words of refused.says) expect(seen(result)).toMatch(words)
      }
      expect((await on('b', 'stop')).code).toBe(0)
      expectRefusal(await on('b', '--force', 'stanza-delete'), refused)
      expect((await on('b', 'start')).code).toBe(0)
      expect((await site.pgts([`--repo=${repo}`, `--set=${label}`, '--output=text', 'verify'])).code).toBe(0)
      expect(labelOf(await on('b', '--output=json', 'info'))).toBe(label)
      const alive = await lease()
      expect(alive.stdout).toMatch(new RegExp(`^repo${repo}: held: host \\S+ \\(process ${backup.pid}, backup\\)`, 'm'))
      expectRefusal(await lease('--break'), {
        code: 50,
        says: ['the lease is not broken', `process ${backup.pid}`],
        hint: /its last sign of life is 10 minutes old[^]*--force/,
      })

      // It is killed: another host does not take the lease over, but its own host does, because it can detect the death.
      expect((await backup.kill('SIGKILL')).signal).toBe('SIGKILL')
      expectRefusal(await on('b', '--no-archive-check', 'backup'), refused)
      expect(await leaseNow()).toMatchObject({ state: 'held', pid: backup.pid, command: 'backup' })
      const next = await on('a', '--log-level-console=info', 'expire')
      expect(next.code).toBe(0)
      expect(seen(next)).toContain(`took over the lease of process ${backup.pid} on this host (backup), which is dead`)
      expect(await leaseNow()).toEqual({ repo, state: 'free' })
    },
    120_000,
  )

  test.skipIf(missing !== undefined)(
    'one of two concurrent backups continues, and its lease after a kill is removed only by lease --break',
    async () => {
      const both = await Promise.all([backupOn('a'), backupOn('b')])
      const first = await Promise.race(both.map(async ({ ended }, index) => ({ index, result: await ended })))
      const winner = both[1 - first.index]!
      expectRefusal(first.result, holder(winner.pid))
      await untilHeld(winner.pid)
      await winner.kill('SIGKILL')

      const loser: Host = first.index === 0 ? 'a' : 'b'
      expectRefusal(await on(loser, 'stanza-create'), holder(winner.pid))
      expectRefusal(await lease('--break'), { code: 50, says: ['is not broken'], hint: /--force/ })
      if (repo === 1) {
        makeSilent(winner.pid)
        expect(await leaseNow()).toMatchObject({ state: 'stale', pid: winner.pid })
        expect((await lease()).stdout).toMatch(/^repo1: stale: .*last sign of life 1\d minutes ago/)
        expectRefusal(await on(loser, 'stanza-create'), {
          ...holder(winner.pid),
          hint: /its last sign of life is at least 10 minutes old: check whether it still runs/,
        })
      }
      const broken = await lease('--break', ...(repo === 1 ? [] : ['--force']))
      expect(broken.code).toBe(0)
      expect(broken.stdout).toMatch(new RegExp(`repo${repo}: broken: host .*process ${winner.pid}`))
      expect((await on(loser, 'stanza-create')).code).toBe(0)
      expect((await lease()).stdout).toMatch(new RegExp(`^repo${repo}: free$`, 'm'))
    },
    120_000,
  )

  test.skipIf(missing !== undefined)(
    'a backup that receives SIGTERM releases its lease',
    async () => {
      const backup = await backupOn('a')
      await untilHeld(backup.pid)
      expect((await backup.kill('SIGTERM')).code).toBe(63)
      expect((await leaseNow()).state).toBe('free')
    },
    60_000,
  )
})

function labelOf({ stdout }: RunResult): string {
  return (JSON.parse(stdout) as [{ backup: { label: string }[] }])[0].backup[0]!.label
}

/** Change content and time of the lease file as if its process had ended some time ago. */
function makeSilent(pid: number): void {
  const path = join(site.repo, 'pgts/main/lease.json')
  const lease = JSON.parse(readFileSync(path, 'utf8')) as { pid: number; renewedMs: number }
  expect(lease.pid).toBe(pid)
  const silent = Date.now() - STALE_MS - 60_000
  writeFileSync(path, JSON.stringify({ ...lease, renewedMs: silent }))
  utimesSync(path, silent / 1000, silent / 1000)
}
