import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Installation } from '../support/processes/installation.ts'
import { allProcesses, isGone, signal } from '../support/processes/processes.ts'
import {
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  reachableNode,
  runAs,
  testUser,
  type RunOptions,
  type RunResult,
} from '../support/processes/test-user.ts'
import { dataChecksum } from '../support/postgres/data-checksum.ts'
import { aReplica, readyOf, restored } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

/** Synchronous archive-push and archive-get of real servers through resident processes. */

interface Call extends RunResult {
  /** Node was started for this call. */
  readonly node: boolean
}

class Calls {
  readonly #node: string
  readonly #record: string

  constructor(
    readonly site: Site,
    readonly program = pgtsProgram(),
  ) {
    const dir = makeTestDir('node')
    this.#node = join(dir, 'node')
    this.#record = join(dir, 'record')
    writeFileSync(
      this.#node,
      `#!/bin/sh\nprintf '%s ' "$@" >>'${this.#record}'\necho >>'${this.#record}'\nexec '${reachableNode()}' "$@"\n`,
    )
    chmodSync(this.#node, 0o755)
    giveToTestUser(dir)
  }

  /** Push a segment as PostgreSQL does; every success is compared with the repository. */
  async push(name: string, { words = [], repos = ['repo'], ...options }: PushOptions = {}): Promise<Call> {
    const { config, cluster } = this.site
    const wal = join(cluster.dataDir, 'pg_wal', name)
    const path = options.cwd === undefined ? `pg_wal/${name}` : wal
    const args = [`--config=${config}`, '--stanza=main', ...words, 'archive-push', path]
    rmSync(this.#record, { force: true })
    const result = await runAs(testUser, this.program, args, {
      cwd: cluster.dataDir,
      deadlineMs: 90_000,
      ...options,
      env: { PGTS_NODE: this.#node, ...options.env },
    })
    if (result.code === 0) for (const repo of repos) expect(this.stored(name, repo)).toEqual([sha1Of(wal)])
    const calls = existsSync(this.#record) ? readFileSync(this.#record, 'utf8') : ''
    return { ...result, node: calls.includes(' archive-push ') }
  }

  /** SHA-1 in the name of each stored form of a segment. */
  stored(name: string, repo = 'repo'): string[] {
    const archive = join(this.site.dir, repo, 'archive', 'main', `${this.site.cluster.version}-1`)
    const directory = join(archive, name.slice(0, 16))
    const names = existsSync(directory) ? readdirSync(directory) : []
    // A killed process leaves its temporary file.
    return names
      .filter((found) => found.startsWith(`${name}-`) && !found.endsWith('.tmp'))
      .map((found) => found.slice(25, 65))
  }

  /** The resident processes of this site. */
  residents(kind = 'push'): number[] {
    return allProcesses()
      .filter(({ args }) => args.includes(`--config=${this.site.config}`) && args.includes(`archive-${kind}:async`))
      .map(({ pid }) => pid)
  }

  async resident(): Promise<number> {
    await until('one resident process', () => this.residents().length === 1)
    return this.residents()[0]!
  }

  untilEnded(pid: number): Promise<void> {
    return until('the end of the resident process', () => isGone(pid), { details: () => this.log() })
  }

  log(): string {
    return readFileSync(join(this.site.dir, 'log', 'main-archive-push-async.log'), 'utf8')
  }

  /** Call until a call is answered without Node: from then on the resident process is known. */
  async warm(next: () => string): Promise<number> {
    for (let attempt = 0; attempt < 10; attempt++) {
      const call = await this.push(next())
      expect(call).toMatchObject({ code: 0, stdout: '', stderr: '' })
      if (!call.node) return this.resident()
    }
    throw new Error(`every call started Node\n${this.log()}`)
  }
}

type PushOptions = RunOptions & { readonly words?: readonly string[]; readonly repos?: readonly string[] }

function sha1Of(path: string): string {
  return createHash('sha1').update(readFileSync(path)).digest('hex')
}

/** A server whose segments wait until a test pushes them. */
async function waitingSite(options: Readonly<Record<string, string>> = {}, program = pgtsProgram()) {
  const site = await aSite({ program, walSegsizeMb: 1, conf: { archive_command: 'false', fsync: 'off' }, options })
  await site.pgtsOk('--no-online', 'stanza-create')
  let used = 0
  const more = async (count: number) => {
    for (let made = 0; made < count; made++)
      await site.cluster.query("select pg_logical_emit_message(true, 'x', repeat('x', 1000)), pg_switch_wal()")
    await until('segments', () => readyOf(site.cluster).length >= used + count)
  }
  const next = () => {
    const name = readyOf(site.cluster)[used++]
    if (name === undefined) throw new Error('no segment is left')
    return name
  }
  return { site, calls: new Calls(site, program), more, next }
}

const QUIET = { code: 0, stdout: '', stderr: '' }

test('a resident process pushes segments, and every fault leaves a call to Node', { timeout: 240_000 }, async () => {
  const { site, calls, more, next } = await waitingSite()
  await using _site = site
  await more(40)
  expect(await calls.push(next(), { words: ['--no-archive-resident'] })).toMatchObject({ ...QUIET, node: true })
  expect(calls.residents()).toEqual([])
  expect(await calls.push(next(), { words: ['--log-level-console=info'] })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('INFO: pushed WAL file') as string,
  })
  expect(calls.residents()).toEqual([])

  // The first call starts it, and calls of tools whose working directory is another one are answered, too.
  expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  let pid = await calls.warm(next)
  expect(await calls.push(next(), { cwd: '/' })).toMatchObject({ ...QUIET, node: false })

  // Killed at any moment of a call.
  for (let delayMs = 0; delayMs < 100; delayMs += 20) {
    const [call] = await Promise.all([calls.push(next()), sleep(delayMs).then(() => signal(pid, 'SIGKILL'))])
    expect(call).toMatchObject({ code: 0, stdout: '' })
    pid = await calls.warm(next)
  }

  // Stopped: a call does not wait for it for long.
  signal(pid, 'SIGSTOP')
  expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  signal(pid, 'SIGCONT')
  await calls.warm(next)

  // A stopped stanza, and a segment that the archive has with other content: the errors are those of a call of Node.
  await site.pgtsOk('stop')
  expect(await calls.push(next())).toMatchObject({ code: 62, node: true })
  await site.pgtsOk('start')
  const name = next()
  expect(await calls.push(name)).toMatchObject(QUIET)
  const other = '0'.repeat(40)
  const directory = join(site.dir, 'repo', 'archive', 'main', `${site.cluster.version}-1`, name.slice(0, 16))
  for (const found of readdirSync(directory).filter((found) => found.startsWith(name)))
    renameSync(join(directory, found), join(directory, found.replace(/-[0-9a-f]{40}/, `-${other}`)))
  await calls.warm(next)
  const refused = await calls.push(name)
  const words = ['--no-archive-resident']
  expect(refused).toMatchObject({ code: 45, node: true, stderr: (await calls.push(name, { words })).stderr })

  // A repository that is added receives the next segment.
  pid = await calls.warm(next)
  mkdirSync(join(site.dir, 'repo2'))
  giveToTestUser(join(site.dir, 'repo2'))
  const config = readFileSync(site.config, 'utf8')
  writeFileSync(site.config, config.replace('[global]', `[global]\nrepo2-path=${join(site.dir, 'repo2')}`))
  await site.pgtsOk('--no-online', 'stanza-create')
  expect(await calls.push(next(), { repos: ['repo', 'repo2'] })).toMatchObject({ ...QUIET, node: true })
  await calls.untilEnded(pid)
  pid = await calls.warm(next)
  expect(calls.stored(next())).toEqual([])

  // A server stops while the process lives, and the process ends by itself. After a restart another one is started.
  const began = performance.now()
  await site.cluster.stop('fast')
  expect(performance.now() - began).toBeLessThan(30_000)
  await calls.untilEnded(pid)
  await site.cluster.start()
  expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  pid = await calls.warm(next)
  signal(pid, 'SIGTERM')
  await calls.untilEnded(pid)
  expect(readdirSync(join(site.dir, 'spool', 'archive', 'main', 'pgts'))).toEqual([])
})

test('archiving goes on when the spool cannot be written', async () => {
  const { site, calls, more, next } = await waitingSite()
  await using _site = site
  await more(2)
  chmodSync(join(site.dir, 'spool'), 0o500)
  for (let call = 0; call < 2; call++) expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  expect(calls.residents()).toEqual([])
  chmodSync(join(site.dir, 'spool'), 0o700)
})

test('a resident process ends when pgts is upgraded', async () => {
  const installation = new Installation()
  const { site, calls, more, next } = await waitingSite({}, join(installation.dir, 'bin', 'pgts'))
  await using _site = site
  await more(20)
  const pid = await calls.warm(next)
  const dist = join(installation.dir, 'dist')
  cpSync(dist, `${dist}.new`, { recursive: true })
  renameSync(dist, `${dist}.old`)
  renameSync(`${dist}.new`, dist)
  giveToTestUser(installation.dir)
  await calls.untilEnded(pid)
  expect(calls.log()).toMatch(/ended because .*main\.cjs has changed/)
  await calls.warm(next)
})

test('two servers with one stanza and one spool do not mix their segments', async () => {
  const first = await waitingSite()
  await using _first = first.site
  const second = await waitingSite({ 'spool-path': join(first.site.dir, 'spool') })
  await using _second = second.site
  for (const { more, calls, next } of [first, second]) {
    await more(12)
    await calls.warm(next)
  }
  for (let round = 0; round < 3; round++)
    for (const { calls, next } of [first, second]) expect(await calls.push(next())).toMatchObject(QUIET)
  for (const { calls } of [first, second]) expect(calls.residents()).toHaveLength(1)
})

test(
  'a restored server replays through a resident process up to the end of the archive',
  { timeout: 120_000 },
  async () => {
    await using site = await aSite({ walSegsizeMb: 1 })
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('backup')
    const { cluster } = site
    await cluster.query('create table t as select i, md5(i::text) from generate_series(1, 60000) i')
    await cluster.query('select pg_switch_wal()')
    await until('the archiver', () => readyOf(cluster).length === 0)
    const expected = await dataChecksum(cluster)
    await cluster.stop()

    const replica = aReplica(site, { options: { 'archive-async': 'n' } })
    const record = join(replica.dir, 'starts')
    const node = join(replica.dir, 'node')
    writeFileSync(node, `#!/bin/sh\necho "$*" >>'${record}'\nexec '${reachableNode()}' "$@"\n`)
    chmodSync(node, 0o755)
    giveToTestUser(replica.dir)
    const restoreCommand = `PGTS_NODE=${node} '${pgtsProgram()}' --config=${replica.config} --stanza=main archive-get %f "%p"`
    await using copy = await restored(site, { ...replica, restoreCommand })
    await copy.untilPrimary()
    expect(await dataChecksum(copy)).toEqual(expected)
    const starts = readFileSync(record, 'utf8')
      .split('\n')
      .filter((line) => line.includes(' archive-get '))
    const restoredFiles = [...copy.log().matchAll(/restored log file/g)].length
    expect(restoredFiles).toBeGreaterThan(5)
    expect(starts.length).toBeLessThan(restoredFiles)
  },
)
