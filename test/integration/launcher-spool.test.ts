import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { SHELLS } from '../support/processes/launch-site.ts'
import { isGone } from '../support/processes/processes.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import {
  giveToTestUser,
  isInstalled,
  makeTestDir,
  pgtsProgram,
  reachableNode,
  runAs,
  testUser,
  type RunResult,
} from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'

/**
 * The launcher on the spool of the real background process of a real server. Every exit code 0 is compared with the
 * repositories, because PostgreSQL then removes the segment.
 */
class Archiving {
  readonly site: Site
  readonly #node: string
  readonly #record: string
  /** Always the same, because the background process detects a change. */
  readonly #longAgo = Math.floor(Date.now() / 1000) - 100

  constructor(site: Site) {
    this.site = site
    const dir = makeTestDir('node')
    this.#node = join(dir, 'node')
    this.#record = join(dir, 'record')
    // Starts the real Node, and records every start in a line.
    writeFileSync(
      this.#node,
      `#!/bin/sh\nprintf '%s ' "$@" | tr '\\n' ' ' >>'${this.#record}'\necho >>'${this.#record}'\nexec '${reachableNode()}' "$@"\n`,
    )
    chmodSync(this.#node, 0o755)
    giveToTestUser(dir)
  }

  get data(): string {
    return this.site.cluster.dataDir
  }
  get out(): string {
    return join(this.site.dir, 'spool', 'archive', 'main', 'out')
  }
  get args(): readonly string[] {
    return [`--config=${this.site.config}`, '--stanza=main', 'archive-push']
  }

  /** Names of the segments with `.ready`, in order. */
  ready(): string[] {
    return readdirSync(join(this.data, 'pg_wal', 'archive_status'))
      .filter((name) => /^[0-9A-F]{24}\.ready$/.test(name))
      .map((name) => name.slice(0, 24))
      .sort()
  }

  /** Call the launcher for a segment in a shell. `node`: number of starts of Node. */
  async push(shell: readonly string[], name: string): Promise<RunResult & { readonly node: number }> {
    const result = await this.#call(shell, ['archive-push', `pg_wal/${name}`])
    if (result.code === 0) this.expectStored(name)
    return result
  }

  /** As `push`; the fetched segment is compared with that of the server. */
  async get(shell: readonly string[], name: string): Promise<RunResult & { readonly node: number }> {
    const target = join(this.data, 'pg_wal', 'RECOVERYXLOG')
    rmSync(target, { force: true })
    const result = await this.#call(shell, ['archive-get', name, 'pg_wal/RECOVERYXLOG'])
    expect(existsSync(target)).toBe(result.code === 0)
    if (result.code === 0) expect(readFileSync(target).equals(readFileSync(join(this.data, 'pg_wal', name)))).toBe(true)
    return result
  }

  async #call(shell: readonly string[], words: readonly string[]): Promise<RunResult & { readonly node: number }> {
    rmSync(this.#record, { force: true })
    const [program = 'sh', ...more] = shell
    const options = this.args.slice(0, -1)
    const result = await runAs(testUser, program, [...more, pgtsProgram(), ...options, ...words], {
      cwd: this.data,
      env: { PGTS_NODE: this.#node },
    })
    const lines = existsSync(this.#record) ? readFileSync(this.#record, 'utf8').split('\n') : []
    return { ...result, node: lines.filter((line) => line.includes(` ${words.join(' ')}`)).length }
  }

  /** The result of Node, without the launcher. */
  byNode(name: string): Promise<RunResult> {
    const entry = join(pgtsProgram(), '..', '..', 'dist', 'cli', 'main.cjs')
    return runAs(testUser, reachableNode(), [entry, `--launched=::${pgtsProgram()}`, ...this.args, `pg_wal/${name}`], {
      cwd: this.data,
    })
  }

  expectStored(name: string, repos: readonly string[] = [this.site.repo]): void {
    const sha1 = createHash('sha1')
      .update(readFileSync(join(this.data, 'pg_wal', name)))
      .digest('hex')
    for (const repo of repos) {
      const directory = join(repo, 'archive', 'main', '15-1', name.slice(0, 16))
      const stored = existsSync(directory) ? readdirSync(directory).filter((file) => file.startsWith(name)) : []
      expect(stored).toEqual([expect.stringContaining(`${name}-${sha1}`)])
    }
  }

  async segments(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.site.cluster.query(`select pg_logical_emit_message(true, 'test', repeat('x', 1000))`)
      await this.site.cluster.query('select pg_switch_wal()')
    }
  }

  async untilPushed(names: readonly string[]): Promise<void> {
    const deadline = Date.now() + 60_000
    while (!names.every((name) => existsSync(join(this.out, `${name}.ok`)))) {
      if (Date.now() > deadline) throw new Error(`not pushed: ${readdirSync(this.out).join(' ')}`)
      await sleep(20)
    }
  }

  /** No other call runs here, so the times of recent changes are set before any hint. */
  makeOld(): void {
    const ofServer = ['postmaster.pid', 'postgresql.conf', 'postgresql.auto.conf'].map((name) => join(this.data, name))
    for (const path of [this.data, this.site.dir, this.site.config, ...ofServer])
      utimesSync(path, this.#longAgo, this.#longAgo)
  }

  background(kind: 'push' | 'get' = 'push'): number | undefined {
    try {
      return Number(readFileSync(join(this.out, '..', 'pgts', `${kind}.pid`), 'utf8'))
    } catch {
      return undefined
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pids = [this.background('push'), this.background('get')]
    await this.site[Symbol.asyncDispose]()
    for (const pid of pids) if (pid !== undefined) kill(pid)
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

async function archiving(): Promise<Archiving> {
  const site = await aSite({
    walSegsizeMb: 1,
    // Without the warning about a segment that exists already: only Node reports an ok with a warning.
    options: { 'archive-async': 'y', 'archive-mode-check': 'n' },
    conf: { archive_command: '/bin/false' },
  })
  await site.pgtsOk('stanza-create')
  return new Archiving(site)
}

const shells = SHELLS.filter(([, [program = '']]) => isInstalled(program))
const DASH = ['dash']

test(
  'the first call starts Node, later calls use the .ok files of the background process',
  { timeout: 120_000 },
  async () => {
    await using it = await archiving()
    await it.segments(12)
    const names = it.ready()
    it.makeOld()
    const [first = '', ...others] = names
    expect(await it.push(DASH, first)).toMatchObject({ code: 0, node: 1 })
    await it.untilPushed(others)
    for (const [i, name] of others.entries()) {
      const [, shell] = shells[i % shells.length]!
      expect(await it.push(shell, name), `${shell.join(' ')} ${i}`).toMatchObject({
        code: 0,
        stdout: '',
        stderr: '',
        node: 0,
      })
    }

    // The settings of the server may have changed, so Node is started once.
    await it.site.cluster.query(`alter system set archive_command = '/bin/false '`)
    expect(await it.push(DASH, first)).toMatchObject({ code: 0, node: 1 })
    it.makeOld()
    utimesSync(join(it.data, 'postgresql.auto.conf'), 1, 1)
    expect(await it.push(DASH, first)).toMatchObject({ code: 0, node: 0 })

    // Another file with an archived name: a data directory that was rolled back, or a copy.
    const victim = others[3]!
    const path = join(it.data, 'pg_wal', victim)
    const bytes = readFileSync(path)
    const { mtimeMs } = statSync(path)
    bytes[200] = bytes[200]! ^ 1
    writeFileSync(path, bytes)
    utimesSync(path, mtimeMs / 1000 - 3600, mtimeMs / 1000 - 3600)
    const foreign = await it.push(DASH, victim)
    expect(foreign.node).toBe(1)
    expect(foreign.code).toBe(45)

    // A stop file applies at once.
    const stop = join(it.site.dir, 'lock', 'main.stop')
    writeFileSync(stop, '')
    expect(await it.push(DASH, first)).toMatchObject({ code: 62, node: 1 })
    expect(readdirSync(it.out).filter((file) => file.endsWith('.ok'))).toEqual([])
    rmSync(stop)
    expect(await it.push(DASH, first)).toMatchObject({ code: 0, node: 1 })
    await it.untilPushed([others.at(-1)!, others.at(-2)!])

    // The server is restarted; the background process of before may or may not run.
    await it.site.cluster.stop()
    await it.site.cluster.start()
    expect(await it.push(DASH, first)).toMatchObject({ code: 0, node: 1 })

    // One more repository: existing .ok files do not include it.
    const second = join(it.site.dir, 'repo2')
    mkdirSync(second)
    const config = readFileSync(it.site.config, 'utf8')
    writeFileSync(it.site.config, config.replace('[global]\n', `[global]\nrepo2-path=${second}\n`))
    giveToTestUser(it.site.dir)
    // It holds the archive lock, and ends when it detects the changed configuration.
    await until('the background process to end', () => it.background() === undefined)
    await it.site.pgtsOk('stanza-create')
    const last = others.at(-1)!
    expect(await it.push(DASH, last)).toMatchObject({ code: 0, node: 1 })
    it.expectStored(last, [it.site.repo, second])
    const next = others.at(-2)!
    expect(await it.push(DASH, next)).toMatchObject({ code: 0 })
    it.expectStored(next, [it.site.repo, second])
  },
)

test(
  'the first archive-get fetches, later calls use segments that were fetched ahead',
  { timeout: 120_000 },
  async () => {
    await using it = await archiving()
    await it.segments(8)
    const names = it.ready()
    it.makeOld()
    expect(await it.push(DASH, names[0]!)).toMatchObject({ code: 0, node: 1 })
    await it.untilPushed(names)
    expect(await it.get(DASH, names[0]!)).toMatchObject({ code: 0, node: 1 })
    for (const [i, name] of names.slice(1).entries()) {
      const fetched = join(it.out, '..', 'in', name)
      for (const deadline = Date.now() + 30_000; !existsSync(fetched); await sleep(20))
        if (Date.now() > deadline) throw new Error(`${name} was not fetched ahead`)
      const [, shell] = shells[i % shells.length]!
      expect(await it.get(shell, name)).toMatchObject({ code: 0, stdout: '', stderr: '', node: 0 })
    }
    // At the end of the archive, and without a background process, Node answers.
    const last = names.at(-1)!
    const beyond = last.slice(0, 16) + (parseInt(last.slice(16), 16) + 1).toString(16).toUpperCase().padStart(8, '0')
    expect(await it.get(DASH, beyond)).toMatchObject({ code: 1, node: 1 })
    const pid = it.background('get')
    expect(pid).toBeGreaterThan(0)
    kill(pid!)
    expect(await it.get(DASH, names[2]!)).toMatchObject({ code: 0, node: 1 })
  },
)

test(
  'the background process moves a fetched segment for the launcher, unless it hangs',
  { timeout: 120_000 },
  async () => {
    await using it = await archiving()
    await it.segments(24)
    const names = it.ready()
    it.makeOld()
    expect(await it.push(DASH, names[0]!)).toMatchObject({ code: 0, node: 1 })
    await it.untilPushed(names)
    expect(await it.get(DASH, names[0]!)).toMatchObject({ code: 0, node: 1 })
    const queue = join(it.out, '..', 'in')
    const isFetched = () => names.slice(1).every((name) => existsSync(join(queue, name)))
    await until('what is fetched ahead', isFetched)
    const pid = it.background('get')!
    const door = readdirSync(join(it.out, '..', 'pgts')).find((name) => name.startsWith('get-door-'))!
    const ask = join(it.out, '..', 'pgts', door, 'ask')
    const target = join(it.data, 'pg_wal', 'RECOVERYXLOG')

    // On a busy machine it may sometimes be too late; then mv is started.
    const trace = join(makeTestDir('trace'), 'trace')
    giveToTestUser(join(trace, '..'))
    const traced = [
      'strace',
      '-f',
      '-qq',
      '-e',
      'trace=execve,fork,vfork,clone,clone3',
      '-e',
      'signal=none',
      '-o',
      trace,
    ]
    const waiting = names.slice(1)
    let started = Infinity
    while (started > 1 && waiting.length > 8) {
      expect(await it.get([...traced, 'dash'], waiting.shift()!)).toMatchObject({ code: 0, stderr: '', node: 0 })
      started = readFileSync(trace, 'utf8')
        .split('\n')
        .filter((line) => / = [0-9]+$/.test(line)).length
    }
    expect(started).toBe(1)

    process.kill(pid, 'SIGSTOP')
    for (const [, shell] of shells.slice(0, 3))
      expect(await it.get(shell, waiting.shift()!)).toMatchObject({ code: 0, stdout: '', stderr: '', node: 0 })
    expect(readdirSync(ask)).toHaveLength(2)
    // A request of a killed call, which was not answered.
    rmSync(target)
    const [next = ''] = waiting
    writeFileSync(join(ask, `${next}.${spawnSync('true').pid}`), '')
    process.kill(pid, 'SIGCONT')
    await until('the end of what was asked for', () => readdirSync(ask).length === 0)
    expect(existsSync(target)).toBe(false)
    expect(existsSync(join(queue, next))).toBe(true)
    for (const name of waiting.splice(0, 2))
      expect(await it.get(DASH, name)).toMatchObject({ code: 0, stdout: '', stderr: '', node: 0 })

    kill(pid)
    await until('its end', () => isGone(pid))
    expect(await it.get(DASH, waiting.shift()!)).toMatchObject({ code: 0, node: 1 })
  },
)

test('when the launcher exits with 0, Node does so, too, and the segment is stored', { timeout: 120_000 }, async () => {
  await using it = await archiving()
  await it.segments(8)
  const names = it.ready()
  it.makeOld()
  expect(await it.push(DASH, names[0]!)).toMatchObject({ code: 0, node: 1 })
  await it.untilPushed(names)

  /** Changes of a spool, a cluster and a configuration after which Node still works. */
  const events: readonly ((name: string) => void)[] = [
    (name) => rmSync(join(it.out, `${name}.ok`), { force: true }),
    (name) => touch(join(it.out, `${name}.ok`)),
    (name) => touch(join(it.data, 'pg_wal', name)),
    (name) => put(join(it.out, `${name}.error`), '99\nleft by an earlier attempt'),
    () => put(join(it.out, 'global.error'), '99\nleft by an earlier attempt'),
    (name) => put(join(it.out, `${name}.ok`), '0\na warning'),
    (name) => {
      rmSync(join(it.out, `${name}.ok`), { force: true })
      put(join(it.out, `${name}.ok`), '')
    },
    (name) => {
      const other = join(it.out, `${names.find((some) => some !== name)!}.ok`)
      if (existsSync(other)) renameSync(other, join(it.out, `${name}.ok`))
    },
    () => {
      const pid = it.background()
      if (pid !== undefined) kill(pid)
    },
    () => appendFileSync(it.site.config, '\n# a remark\n'),
    () => touch(join(it.data, 'postmaster.pid')),
    () => rmSync(join(it.out, '..', 'pgts', 'cluster'), { force: true }),
    () => rmSync(join(it.out, '..'), { recursive: true, force: true, maxRetries: 10, retryDelay: 20 }),
    () => rmSync(join(it.data, 'pg_wal', 'archive_status', 'main.pgts-push'), { force: true }),
  ]
  const random = generator(20260101)
  const hits = { yes: 0, no: 0 }
  for (let i = 0; i < 20; i++) {
    const name = names[Math.floor(random() * names.length)]!
    for (let n = Math.floor(random() * 3); n > 0; n--) {
      if (existsSync(it.out)) events[Math.floor(random() * events.length)]!(name)
    }
    const [, shell] = shells[i % shells.length]!
    const result = await it.push(shell, name)
    if (result.node === 0) hits.yes++
    else hits.no++
    expect([i, result.code, result.node === 0 ? result.stdout + result.stderr : '']).toEqual([i, 0, ''])
    if (result.node === 0) expect(await it.byNode(name)).toMatchObject({ code: 0 })
    it.makeOld()
  }
  expect(hits.yes).toBeGreaterThan(0)
  expect(hits.no).toBeGreaterThan(0)
})

/** The background process may remove it at any moment. */
function put(path: string, text: string): void {
  const temporary = join(path, '..', '..', `new-${text.length}`)
  writeFileSync(temporary, text)
  giveToTestUser(temporary)
  renameSync(temporary, path)
}

function touch(path: string): void {
  try {
    utimesSync(path, new Date(), new Date())
  } catch {
    // It does not exist (any more).
  }
}

/** The same numbers every time (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
