import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, lchownSync, lstatSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { textToBytes } from '../../../src/util/byte-string.ts'
import { systemCode } from '../../../src/util/error.ts'
import { removeTreeSync } from '../../../src/util/remove-tree.ts'

/**
 * The unprivileged user that servers and tools run as. As root, tests could not check permissions
 * (and PostgreSQL refuses to start), so root switches to `postgres` if it exists, else to `nobody`.
 */
export interface TestUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** False: tests already run as this user. */
  readonly switched: boolean
}

/** Scripts bundle this module into a file elsewhere in the project (scripts/run.mjs), so the depth varies. */
export const projectRoot = ancestors(fileURLToPath(import.meta.url)).find((dir) =>
  existsSync(join(dir, 'package.json')),
)!

export const testUser: TestUser = findTestUser()

function ancestors(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [] : [parent, ...ancestors(parent)]
}

function findTestUser(): TestUser {
  const uid = process.getuid!()
  const rows = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  if (uid !== 0) {
    return {
      name: rows.find((row) => Number(row[2]) === uid)?.[0] ?? String(uid),
      uid,
      gid: process.getgid!(),
      switched: false,
    }
  }
  const row = rows.find((row) => row[0] === 'postgres') ?? rows.find((row) => row[0] === 'nobody')
  if (row === undefined) throw new Error('tests run as root need a user `postgres` or `nobody` to run servers as')
  return { name: row[0]!, uid: Number(row[2]), gid: Number(row[3]), switched: true }
}

const cleanups: (() => void)[] = []

/** Run at the end of the test file (vitest ends its workers without an exit event), or else of the process. Last in, first out. */
export function atEnd(cleanup: () => void): void {
  cleanups.push(cleanup)
}

function cleanUp(): void {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) cleanup()
}

process.once('exit', cleanUp)
if (process.env['VITEST'] !== undefined) (await import('vitest')).afterAll(cleanUp)

/**
 * A new directory under the system's temporary directory, owned by the test user, mode 0755 (so that a test that looks
 * at it needs no privileges either). Removed at the end of the test file, unless PGTS_TEST_KEEP is set.
 */
export function makeTestDir(name = 'test'): string {
  const dir = mkdtempSync(join(tmpdir(), `pgts-${name}-`))
  chmodSync(dir, 0o755)
  giveToTestUser(dir)
  // A background process of archiving may still write there, until it notices that the server has ended.
  if (process.env['PGTS_TEST_KEEP'] === undefined) atEnd(() => removeTreeSync(textToBytes(dir)))
  return dir
}

/** Make the test user the owner of a file, or of a directory with its content. Links are not followed. */
export function giveToTestUser(path: string | Buffer): void {
  if (!testUser.switched) return
  lchownSync(path, testUser.uid, testUser.gid)
  if (!lstatSync(path).isDirectory()) return
  // Names may be any bytes.
  for (const name of readdirSync(path, { encoding: 'buffer' })) {
    try {
      giveToTestUser(Buffer.concat([Buffer.from(path), Buffer.from('/'), name]))
    } catch (error) {
      // A background process of archiving removes its files at the same time.
      if (systemCode(error) !== 'ENOENT') throw error
    }
  }
}

export interface RunResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly timedOut: boolean
}

export interface RunOptions {
  readonly cwd?: string
  /** Added to a clean environment (PATH, HOME, USER, LANG, TZ): variables of the caller do not leak into tests. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly input?: string | Uint8Array
  /** The whole process group is killed when this runs out; default 60 s. */
  readonly deadlineMs?: number
  /** Kill with this signal after `signalAfterMs`, as an operator's ^C would. */
  readonly signal?: AbortSignal
  /** Called with the process id as soon as there is one. */
  readonly onStart?: (pid: number) => void
}

/** A clean environment for a program of the test user. */
export function cleanEnv(user: TestUser = testUser, extra: RunOptions['env'] = {}): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {
    PATH: `${dirname(reachableNode())}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: tmpdir(),
    USER: user.name,
    LOGNAME: user.name,
    LANG: 'C.UTF-8',
    ...(process.env['TZ'] === undefined ? {} : { TZ: process.env['TZ'] }),
  }
  for (const [name, value] of Object.entries(extra)) {
    if (value === undefined) delete env[name]
    else env[name] = value
  }
  return env
}

/** Run a program to its end as `user`, under a deadline. Never rejects for its exit code; rejects when it cannot be started. */
export function runAs(
  user: TestUser,
  cmd: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(cmd, args, {
      cwd: options.cwd ?? tmpdir(),
      env: cleanEnv(user, options.env),
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true, // a process group of its own, so that a deadline ends the children, too
      ...(user.switched ? { uid: user.uid, gid: user.gid } : {}),
    })
    let timedOut = false
    const killGroup = () => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        // it has ended
      }
    }
    const timer = setTimeout(() => {
      timedOut = true
      killGroup()
    }, options.deadlineMs ?? 60_000)
    options.signal?.addEventListener('abort', killGroup, { once: true })
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
    child.stdout.on('data', (chunk: Buffer) => output.stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => output.stderr.push(chunk))
    child.stdin.on('error', () => undefined) // the program did not read its input
    child.stdin.end(options.input)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('spawn', () => options.onStart?.(child.pid!))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', killGroup)
      resolve({
        code,
        signal,
        stdout: Buffer.concat(output.stdout).toString(),
        stderr: Buffer.concat(output.stderr).toString(),
        timedOut,
      })
    })
  })
}

/** As `runAs`, and an exit code other than 0 is an error that shows the output of the program. */
export async function runOk(cmd: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const result = await runAs(testUser, cmd, args, options)
  if (result.code !== 0) throw new Error(describeRun(cmd, args, result))
  return result
}

export function describeRun(cmd: string, args: readonly string[], result: RunResult): string {
  const how = result.timedOut
    ? 'ran out of time'
    : result.signal !== null
      ? `died of ${result.signal}`
      : `exited ${result.code}`
  return `${basename(cmd)} ${args.join(' ')} ${how}\n--- stdout\n${result.stdout}\n--- stderr\n${result.stderr}`
}

/** Is this program on the PATH? */
export function isInstalled(program: string): boolean {
  if (program.includes('/')) return existsSync(program)
  return (process.env['PATH'] ?? '/usr/bin:/bin').split(':').some((dir) => existsSync(join(dir, program)))
}

/** Can the test user reach and read this path? A checkout below a 0700 home cannot be. */
export function isReachable(path: string): boolean {
  if (!testUser.switched) return true
  return spawnSync('/usr/bin/test', ['-r', path], { cwd: '/', uid: testUser.uid, gid: testUser.gid }).status === 0
}

const copies = new Map<string, string>()

/** The path itself if the test user can read it, else a copy of it (a file or a tree) in a temporary directory. */
export function reachable(path: string, filter: (source: string) => boolean = () => true): string {
  if (isReachable(path)) return path
  let copy = copies.get(path)
  if (copy === undefined) {
    copy = join(makeTestDir('copy'), basename(path))
    cpSync(path, copy, { recursive: true, verbatimSymlinks: true, filter })
    copies.set(path, copy)
  }
  return copy
}

let node: string | undefined

/** This Node, at a path that the test user can execute. */
export function reachableNode(): string {
  return (node ??= reachable(process.execPath))
}

let program: string | undefined

/** `bin/pgts` at a path that the test user can execute. Needs a build (`npm run build`). */
export function pgtsProgram(): string {
  if (program !== undefined) return program
  const script = join(projectRoot, 'bin', 'pgts')
  if (!existsSync(join(projectRoot, 'dist'))) throw new Error('bin/pgts needs a build: npm run build')
  if (isReachable(join(projectRoot, 'dist')) && isReachable(script)) return (program = script)
  const dir = makeTestDir('program')
  for (const part of ['bin', 'dist', 'package.json'])
    cpSync(join(projectRoot, part), join(dir, part), { recursive: true })
  // The embedded servers are large and not part of the program.
  const modules = join(projectRoot, 'node_modules')
  cpSync(modules, join(dir, 'node_modules'), {
    recursive: true,
    verbatimSymlinks: true,
    filter: (source) =>
      !/node_modules\/(pg1[0-9]|typescript|@?esbuild|@?eslint|@?typescript-eslint)(\/|$)/.test(source),
  })
  giveToTestUser(dir)
  return (program = join(dir, 'bin', 'pgts'))
}

/** Run `bin/pgts` as the test user. */
export function pgts(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return runAs(testUser, pgtsProgram(), args, options)
}
