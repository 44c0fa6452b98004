import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { canSwitchUsers } from '../support/hosts/hosts.ts'
import { PullSite } from '../support/hosts/pull-site.ts'
import { allProcesses, signal } from '../support/processes/processes.ts'
import type { RunResult } from '../support/processes/test-user.ts'

let site: PullSite
beforeAll(async () => {
  if (!canSwitchUsers) return
  site = await PullSite.start({
    repository: { 'compress-type': 'gz', 'compress-level': '9', 'process-max': '2', 'job-retry-interval': '1' },
  })
  await site.cluster.query(
    'create table t as select g, md5(g::text) || md5((g + 7)::text) as v from generate_series(1, 400000) g; checkpoint',
  )
  await site.hosts.repository.pgtsOk('--stanza=main', 'stanza-create')
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const path = (name = '') => join(site.hosts.repository.dir, 'repo/backup/main', name)
const labels = () => (existsSync(path()) ? readdirSync(path()).filter((name) => /^\d{8}-\d{6}F$/.test(name)) : [])
const finished = () => labels().filter((label) => existsSync(path(`${label}/backup.manifest`)))

beforeEach(() => {
  if (!canSwitchUsers) return
  for (const label of labels()) if (!finished().includes(label)) rmSync(path(label), { recursive: true })
})

/** The processes that serve the cluster: all run jobs, number 0 also has locks and session. */
const serving = (number: RegExp) =>
  allProcesses().filter(({ args }) => {
    const given = args.find((arg) => arg.startsWith('--process='))?.slice('--process='.length)
    return args.includes(`--pg1-path=${site.cluster.dataDir}`) && given !== undefined && number.test(given)
  })

const isCopying = () => {
  const [label] = labels().filter((one) => !finished().includes(one))
  if (label === undefined) return false
  return readdirSync(path(label), { recursive: true }).length > 8 && serving(/^[1-9]/).length > 0
}

/** Runs a full backup; during the copy `strike` is called once. */
async function backUp(strike: (pid: number) => void): Promise<RunResult> {
  let pid = 0
  let ended = false
  const { repository } = site.hosts
  const run = repository
    .pgts(['--stanza=main', '--type=full', 'backup'], { onStart: (started) => (pid = started) })
    .finally(() => (ended = true))
  while (!ended && !isCopying()) await sleep(5)
  expect(ended, 'the moment was reached').toBe(false)
  strike(pid)
  return await run
}

/** Nothing of a backup is left: no process, no session on the server, no lock. */
async function expectReleased(): Promise<void> {
  const sessions =
    "select query from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
  await expect.poll(() => serving(/./), { timeout: 60_000 }).toEqual([])
  await expect.poll(() => site.cluster.query(sessions), { timeout: 60_000 }).toEqual([])
  expect((await site.hosts.repository.pgtsOk('--stanza=main', 'check')).code).toBe(0)
}

async function expectResumed(): Promise<void> {
  const before = finished().length
  const { stdout } = await site.hosts.repository.pgtsOk('--stanza=main', '--type=full', 'backup')
  expect(stdout).toMatch(/resume interrupted backup /)
  expect(finished().length).toBe(before + 1)
  const verified = await site.hosts.repository.pgtsOk('--stanza=main', 'verify')
  expect(verified.stdout).toContain('errors = 0')
}

const kill = (number: RegExp) => () => {
  const found = serving(number)
  expect(found).not.toEqual([])
  for (const { pid } of found) signal(pid, 'SIGKILL')
}

const onHosts = test.runIf(canSwitchUsers)

onHosts(
  'a job is repeated over a new connection when the process that runs it is killed',
  async () => {
    const { code, stdout } = await backUp(kill(/^[1-9]/))
    expect(code, stdout).toBe(0)
    expect(stdout).toMatch(/P0\d +WARN: backup-file job failed, retry 1 of \d+ after 0 ms: .*pg-host/)
    const verified = await site.hosts.repository.pgtsOk('--stanza=main', 'verify')
    expect(verified.stdout).toContain('errors = 0')
    await expectReleased()
  },
  120_000,
)

onHosts(
  'a backup fails when the process with its session is killed, and the next one resumes it',
  async () => {
    const { code, stdout } = await backUp(kill(/^0$/))
    expect(code, stdout).toBe(49)
    await expectReleased()
    await expectResumed()
  },
  120_000,
)

onHosts(
  'the other host ends its processes and backup mode when the backup is killed, and the next one resumes it',
  async () => {
    await backUp((pid) => signal(pid, 'SIGKILL'))
    await expectReleased()
    await expectResumed()
  },
  120_000,
)
