import { spawn } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import {
  launchEnvironment,
  writeLaunchHint,
  type LaunchCommand,
} from '../../../src/core/archive/launcher/launch-hint.ts'
import { textToBytes } from '../../../src/util/byte-string.ts'
import { setMtimeNs } from '../../../src/util/mtime.ts'
import { atEnd, giveToTestUser, makeTestDir, pgtsProgram, runAs, testUser, type RunOptions } from './test-user.ts'

export const SEGMENT = '00000001000000000000002A'

/** The shells that the launcher supports, as they are called with a script. */
export const SHELLS: readonly (readonly [string, readonly string[]])[] = [
  ['dash', ['dash']],
  ['dash -e', ['dash', '-e']],
  ['busybox sh', ['busybox', 'sh']],
  ['bash', ['bash']],
  ['bash as sh -eu', ['bash', '--posix', '-eu']],
]

export interface LaunchResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** The arguments with which Node was started, without its script and the launcher's own; undefined: Node was not started. */
  readonly node: readonly string[] | undefined
  readonly script: string | undefined
}

/** Exit code of the replacement of Node: none of those of the launcher. */
export const NODE_CODE = 42

/**
 * A data directory, a spool and a configuration as Node and its background process would leave them, without both:
 * a test can so create any state for the launcher. Everything belongs to the test user.
 */
export class LaunchSite {
  readonly dir: string
  readonly data: string
  readonly spool: string
  readonly lock: string
  readonly config: string
  readonly #record: string
  readonly #node: string

  constructor(names: { readonly data?: string; readonly spool?: string; readonly config?: string } = {}) {
    this.dir = realpathSync(makeTestDir('launch'))
    this.data = join(this.dir, names.data ?? 'data')
    this.spool = join(this.dir, names.spool ?? 'spool', 'archive', 'main')
    this.lock = join(this.dir, 'lock')
    this.config = join(this.dir, 'etc', names.config ?? 'pgts.yaml')
    this.#record = join(this.dir, 'record')
    this.#node = join(this.dir, 'node')
    for (const path of [this.archiveStatus, this.out, this.in, join(this.spool, 'pgts'), this.lock])
      mkdirSync(path, { recursive: true })
    mkdirSync(join(this.dir, 'etc'))
    mkdirSync(this.#record)
    writeFileSync(this.config, '')
    writeFileSync(join(this.data, 'postmaster.pid'), `4711\n${this.data}\n1700000000\n5432\n/tmp\n*\n`)
    writeFileSync(join(this.data, 'postgresql.conf'), '')
    // Replaces Node: records each argument after its option, and ends with an exit code of its own.
    writeFileSync(
      this.#node,
      `#!/bin/sh\nset -u\n[ "\${1-}" = --use-openssl-ca ] && shift\nfile=$PGTS_TEST_RECORD/$$\nprintf '%s\\0' "$@" >"$file.tmp" && mv "$file.tmp" "$file.node"\ncase \${2-} in --launched=[0-9]*) exit ${NODE_CODE + 128} ;; *) exit ${NODE_CODE} ;; esac\n`,
    )
    chmodSync(this.#node, 0o755)
    this.own()
    this.age()
  }

  get archiveStatus(): string {
    return join(this.data, 'pg_wal', 'archive_status')
  }
  get out(): string {
    return join(this.spool, 'out')
  }
  get in(): string {
    return join(this.spool, 'in')
  }

  wal(name = SEGMENT): string {
    return join(this.data, 'pg_wal', name)
  }
  hint(command: LaunchCommand): string {
    return join(this.archiveStatus, `main.pgts-${command === 'archive-push' ? 'push' : 'get'}`)
  }
  own(): void {
    giveToTestUser(this.dir)
  }

  /** Set the times of everything that a hint must be newer than to 100 s ago. */
  age(): void {
    const seconds = Date.now() / 1000 - 100
    const { config, data } = this
    for (const path of [config, join(config, '..'), join(data, 'postmaster.pid'), join(data, 'postgresql.conf'), data])
      utimesSync(path, seconds, seconds)
  }

  /** The hint that Node leaves for a call of this pattern (undefined: a parameter), and a live background process. */
  async prepare(
    command: LaunchCommand,
    callPattern: readonly (string | undefined)[],
    env: Readonly<Record<string, string>> = {},
    repoKeys: readonly number[] = [1],
  ): Promise<boolean> {
    const kind = command === 'archive-push' ? 'push' : 'get'
    writeFileSync(join(this.spool, 'pgts', `${kind}.pid`), `${await livingPid()}\n`)
    const written = await writeLaunchHint({
      command,
      stanza: 'main',
      mode: 'spool',
      pgPath: this.data,
      spool: this.spool,
      lockPath: this.lock,
      configLooked: [this.config],
      environment: launchEnvironment(env, pgtsProgram(), repoKeys),
      callPattern,
      startedMs: Date.now() - 10_000,
    })
    this.own()
    return written
  }

  /** A segment of the server that was archived: an empty ok with the time of the file. */
  archived(name = SEGMENT): void {
    writeFileSync(this.wal(name), `wal ${name}`)
    setMtimeNs(textToBytes(this.wal(name)), BigInt(Date.now() - 60_000) * 1_000_000n + 123_456n)
    this.ok(name)
  }

  /** @param shiftNs difference to the time of the segment */
  ok(name = SEGMENT, content = '', shiftNs = 0n): void {
    const { mtimeNs } = statSync(this.wal(name), { bigint: true })
    writeFileSync(join(this.out, `${name}.ok`), content)
    setMtimeNs(textToBytes(join(this.out, `${name}.ok`)), mtimeNs + shiftNs)
    this.own()
  }

  fetched(name = SEGMENT): void {
    writeFileSync(join(this.in, name), `fetched ${name}`)
    this.own()
  }

  /** Run bin/pgts in the data directory, by a shell. */
  async run(shell: readonly string[], args: readonly string[], options: RunOptions = {}): Promise<LaunchResult> {
    const [program = 'sh', ...more] = shell
    const record = join(this.#record, String(runs++))
    mkdirSync(record)
    giveToTestUser(record)
    const result = await runAs(testUser, program, [...more, pgtsProgram(), ...args], {
      cwd: this.data,
      ...options,
      env: { PGTS_NODE: this.#node, PGTS_TEST_RECORD: record, ...options.env },
    })
    if (result.timedOut) throw new Error(`${shell.join(' ')} pgts ${args.join(' ')} ran out of time`)
    const calls = readCalls(record)
    rmSync(record, { recursive: true })
    if (calls.length > 1) throw new Error(`Node was started ${calls.length} times`)
    const [script, ...words] = calls[0] ?? []
    const node = words[0]?.startsWith('--launched=') === true ? words.slice(1) : words
    const { code, stdout, stderr } = result
    return { code, stdout, stderr, node: calls[0] === undefined ? undefined : node, script }
  }
}

let runs = 0

function readCalls(record: string): string[][] {
  const names = readdirSync(record).filter((name) => name.endsWith('.node'))
  return names.map((name) => readFileSync(join(record, name), 'utf8').split('\0').slice(0, -1))
}

let living: Promise<number> | undefined

/** The process id of a process of the test user that lives until the end of the test file. */
export function livingPid(): Promise<number> {
  return (living ??= new Promise((resolve, reject) => {
    const child = spawn('sleep', ['3600'], {
      stdio: 'ignore',
      ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
    })
    atEnd(() => child.kill('SIGKILL'))
    child.once('spawn', () => resolve(child.pid!))
    child.once('error', reject)
  }))
}
