import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Cluster,
  describeRun,
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  runAs,
  type RunResult,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'
import { allProcesses, signal } from '../support/processes/processes.ts'
import { until } from '../support/until.ts'

/**
 * Files of dist that a command loads, as a power cut or a full disk leaves them: no command exits with 0 without its work,
 * none hangs, and archive-get in recovery does not report a missing segment.
 */
const SEGMENT = '000000010000000000000001'
const NEXT = '000000010000000000000002'

let dir: string
let installation: string
let cluster: Cluster

beforeAll(async () => {
  dir = makeTestDir('installation')
  installation = join(dir, 'pgts')
  const from = dirname(dirname(pgtsProgram()))
  mkdirSync(installation)
  for (const part of ['bin', 'dist', 'package.json'])
    cpSync(join(from, part), join(installation, part), { recursive: true, filter: (path) => !path.endsWith('.map') })
  symlinkSync(join(from, 'node_modules'), join(installation, 'node_modules'))
  cluster = await startCluster({ version: 15, start: false })
  for (const name of ['repo', 'lock', 'log', 'spool']) mkdirSync(join(dir, name))
  const options: Record<string, string> = {
    'repo1-path': join(dir, 'repo'),
    'lock-path': join(dir, 'lock'),
    'log-path': join(dir, 'log'),
    'spool-path': join(dir, 'spool'),
    'repo1-retention-full': '9',
    'repo1-bundle': 'y',
    'process-max': '2',
    'archive-header-check': 'n',
    'archive-timeout': '20s',
  }
  const lines = Object.entries(options)
  const ini = ['[global]', ...lines.map(([name, value]) => `${name}=${value}`), '[main]', `pg1-path=${cluster.dataDir}`]
  writeFileSync(join(dir, 'pgbackrest.conf'), ini.map((line) => `${line}\n`).join(''))
  const { 'repo1-path': path, 'repo1-retention-full': _, 'repo1-bundle': __, ...global } = options
  writeFileSync(
    join(dir, 'pgts.yaml'),
    JSON.stringify({
      global: { ...global, 'process-max': 2, 'archive-header-check': false, repo: [{ path }] },
      stanza: { main: { pg: [{ path: cluster.dataDir }] } },
    }),
  )
  const wal = join(cluster.dataDir, 'pg_wal')
  copyFileSync(join(wal, SEGMENT), join(wal, NEXT))
  giveToTestUser(wal)
  giveToTestUser(dir)
  for (const args of [
    ['--no-online', 'stanza-create'],
    ['archive-push', `pg_wal/${SEGMENT}`],
    ['--no-online', '--type=full', 'backup'],
  ])
    expect(await call(args)).toMatchObject({ code: 0 })
  renameSync(join(dir, 'repo'), join(dir, 'repo.kept'))
})
afterAll(() => cluster[Symbol.asyncDispose]())

/** Run as the test user in the data directory. */
async function call(args: readonly string[], config = 'pgbackrest.conf'): Promise<RunResult> {
  const words = [`--config=${join(dir, config)}`, '--stanza=main', ...args]
  const result = await runAs(testUser, join(installation, 'bin', 'pgts'), words, { cwd: cluster.dataDir })
  if (result.timedOut) throw new Error(describeRun('pgts', args, result))
  return result
}

interface Command {
  readonly args: () => readonly string[]
  readonly config?: string
  /** Before each call. */
  readonly prepare?: () => void
  /** Has the command done its work? */
  readonly done: () => boolean
  readonly allowed?: (code: number) => boolean
  /** The files of dist that are damaged one after the other. */
  readonly only: RegExp
}

const stored = (name: string) => {
  const directory = join(dir, 'repo', 'archive', 'main', '15-1', name.slice(0, 16))
  return (
    existsSync(directory) &&
    readdirSync(directory).some((file) => /^[0-9A-F]{24}-[0-9a-f]{40}/.test(file) && file.startsWith(name))
  )
}
const target = () => join(cluster.dataDir, 'pg_wal', 'RECOVERYXLOG')
const fetched = () =>
  existsSync(target()) && readFileSync(target()).equals(readFileSync(join(cluster.dataDir, 'pg_wal', SEGMENT)))
const ready = () => join(cluster.dataDir, 'pg_wal', 'archive_status', `${NEXT}.ready`)
const inRecovery = () => writeFileSync(join(cluster.dataDir, 'recovery.signal'), '')

const PROGRAM = /^cli\/(main\.cjs|program\.packed)$/
const EVERYTHING = /^cli\//

const COMMANDS: Record<string, Command> = {
  'archive-push': { args: () => ['archive-push', `pg_wal/${NEXT}`], done: () => stored(NEXT), only: PROGRAM },
  'archive-push with pgts.yaml': {
    args: () => ['archive-push', `pg_wal/${NEXT}`],
    config: 'pgts.yaml',
    done: () => stored(NEXT),
    only: /program\.packed$/,
  },
  'archive-push in the background': {
    args: () => ['--archive-async', 'archive-push', `pg_wal/${NEXT}`],
    prepare: () => {
      writeFileSync(ready(), '')
      giveToTestUser(ready())
    },
    done: () => stored(NEXT),
    // Each requires three starts of the background process, one per second.
    only: /(main|worker)\.cjs$/,
  },
  'archive-get in recovery': {
    args: () => ['archive-get', SEGMENT, 'pg_wal/RECOVERYXLOG'],
    prepare: inRecovery,
    done: fetched,
    allowed: (code) => code > 125,
    only: PROGRAM,
  },
  'archive-get fetching ahead in recovery': {
    args: () => ['--archive-async', 'archive-get', SEGMENT, 'pg_wal/RECOVERYXLOG'],
    prepare: inRecovery,
    done: fetched,
    allowed: (code) => code > 125,
    only: PROGRAM,
  },
  backup: {
    args: () => ['--no-online', '--type=full', 'backup'],
    done: () =>
      readdirSync(join(dir, 'repo', 'backup', 'main')).filter((name) => /^\d{8}-\d{6}F$/.test(name)).length === 2,
    only: EVERYTHING,
  },
  restore: {
    args: () => [`--pg1-path=${join(dir, 'restored')}`, 'restore'],
    done: () => existsSync(join(dir, 'restored', 'global', 'pg_control')),
    only: EVERYTHING,
  },
}

async function reset(): Promise<void> {
  await until('the end of the background process of the previous call', () => {
    const left = allProcesses().filter(({ args }) => args.some((arg) => arg.startsWith(`--config=${dir}`)))
    for (const { pid } of left) signal(pid, 'SIGKILL')
    return left.length === 0
  })
  for (const path of [
    ...['repo', 'restored', 'spool', 'lock'].map((name) => join(dir, name)),
    ...[target(), ready(), join(cluster.dataDir, 'recovery.signal')],
  ])
    rmSync(path, { recursive: true, force: true })
  cpSync(join(dir, 'repo.kept'), join(dir, 'repo'), { recursive: true, preserveTimestamps: true })
  for (const name of ['spool', 'lock']) mkdirSync(join(dir, name))
  for (const name of ['repo', 'spool', 'lock']) giveToTestUser(join(dir, name))
}

async function attempt({ args, prepare, config }: Command): Promise<RunResult> {
  await reset()
  prepare?.()
  return call(args(), config)
}

describe.each(Object.entries(COMMANDS))('%s', (_name, command) => {
  test(
    'fails in bounded time or does its work when a file of the installation is damaged',
    { timeout: 600_000 },
    async () => {
      const { done, only, allowed = (code: number) => code !== 0 } = command
      const files = (readdirSync(join(installation, 'dist'), { recursive: true }) as string[]).filter((name) =>
        only.test(name),
      )
      expect(files.length).toBeGreaterThan(0)
      const kept = join(dir, 'kept')
      for (const name of files) {
        const path = join(installation, 'dist', name)
        const size = statSync(path).size
        renameSync(path, kept)
        for (const damage of [
          () => truncateSync(path, 0),
          () => truncateSync(path, Math.floor(size / 2)),
          () => chmodSync(path, 0),
        ]) {
          copyFileSync(kept, path)
          damage()
          giveToTestUser(path)
          const result = await attempt(command)
          const code = result.code ?? 0
          const fine = code === 0 ? done() : allowed(code)
          if (!fine) throw new Error(`${name} ${damage.toString()}: ${describeRun('pgts', command.args(), result)}`)
        }
        rmSync(path)
        renameSync(kept, path)
      }
      const whole = await attempt(command)
      expect([whole.code, done()]).toEqual([0, true])
    },
  )
})
