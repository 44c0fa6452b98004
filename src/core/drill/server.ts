import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connectServer, type ServerConnection } from '../../postgres/client.ts'
import { decodeText, textPath } from '../../util/byte-string.ts'
import type { Clock } from '../../util/clock.ts'
import { isPgtsError, PgtsError, type ErrorCode } from '../../util/error.ts'
import type { OwnerIds } from '../restore/file-system.ts'
import { DRILL_PORT, type ScratchPlaces } from './scratch.ts'

export interface DrillServerRequest {
  readonly places: ScratchPlaces
  /** Directory of `postgres`. */
  readonly programs: string
  /** The user that the server runs as; absent: that of this process. */
  readonly owner?: OwnerIds
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly signal: AbortSignal
  /** The first database to connect to. */
  readonly database: string
  /** For each statement. */
  readonly timeoutMs: number
}

const POLL_MS = 50
const STOP_MS = 60_000

/**
 * Stops the server when pgts is killed: the pipe is closed without a line. `$1` is the postmaster.
 */
const WATCHDOG = 'read -r done || kill -QUIT "$1"'

/** The server of a drill. It ends with this process; disposing it stops it at once. */
export class DrillServer implements AsyncDisposable {
  readonly #request: DrillServerRequest
  readonly #child: ChildProcess
  readonly #watchdog: ChildProcess
  #ended: { readonly error?: Error } | undefined

  /** Errors: [102] if `postgres` cannot be started */
  static async start(request: DrillServerRequest): Promise<DrillServer> {
    const child = startPostmaster(request)
    const { pid } = child
    if (pid === undefined) {
      const cause = await new Promise<Error>((resolve) => child.once('error', resolve))
      throw new PgtsError('execute', `cannot start ${request.programs}/postgres: ${cause.message}`, { cause })
    }
    return new DrillServer(request, child, startWatchdog(request, pid))
  }

  private constructor(request: DrillServerRequest, child: ChildProcess, watchdog: ChildProcess) {
    this.#request = request
    this.#child = child
    this.#watchdog = watchdog
    child.once('error', (error) => (this.#ended ??= { error }))
    child.once('exit', () => (this.#ended ??= {}))
    // A watchdog that cannot run: the next drill stops a server that is left.
    watchdog.once('error', () => undefined)
    watchdog.stdin?.once('error', () => undefined)
  }

  /**
   * Waits until the server has paused at its target and accepts connections.
   *
   * @param users candidates for the first connection
   * @returns the name of the superuser that initdb created
   * @throws PgtsError db-invalid [081] with its messages if it ended instead, or has left recovery; another code if this host is the reason
   */
  async untilTarget(users: readonly string[]): Promise<string> {
    const { clock, signal } = this.#request
    while (!this.#isReady()) {
      this.#requireRunning()
      await clock.sleep(POLL_MS, signal)
    }
    await using connection = await this.#connectAsAny(users)
    for (;;) {
      this.#requireRunning()
      const [row] = await connection.query<{ recovering: boolean; paused: boolean | null }>(
        `select pg_catalog.pg_is_in_recovery() as recovering,
                case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_is_wal_replay_paused() end as paused`,
      )
      if (row?.recovering !== true) throw this.#notRecovered('recovery ended before the target was reached')
      if (row.paused === true) break
      await clock.sleep(POLL_MS, signal)
    }
    // Recovery also pauses there.
    if (this.#logText().includes(INSUFFICIENT)) throw this.#notRecovered('recovery paused before its target')
    const [row] = await connection.query<{ name: string }>(
      'select rolname as name from pg_catalog.pg_roles where oid = 10',
    )
    return row?.name ?? 'postgres'
  }

  connect(user: string, database = this.#request.database): Promise<ServerConnection> {
    const { places, timeoutMs, signal } = this.#request
    return connectServer({
      port: DRILL_PORT,
      socketPath: places.socket,
      database,
      user,
      command: 'drill',
      env: {},
      timeoutMs,
      signal,
    })
  }

  /** A clean stop, after which pages can be checked. Errors: [081] if the server does not stop */
  async stop(): Promise<void> {
    if (!(await this.#end('SIGINT'))) throw this.#notRecovered('the server does not stop')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!(await this.#end('SIGQUIT'))) await this.#end('SIGKILL')
  }

  /** @returns false if it still runs */
  async #end(signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<boolean> {
    const { clock } = this.#request
    const deadline = clock.nowMs() + STOP_MS
    if (this.#ended === undefined) this.#child.kill(signal)
    while (this.#ended === undefined && clock.nowMs() < deadline) await clock.sleep(POLL_MS)
    if (this.#ended === undefined) return false
    this.#watchdog.stdin?.end('done\n')
    return true
  }

  async #connectAsAny(users: readonly string[]): Promise<ServerConnection> {
    for (const [at, user] of users.entries()) {
      try {
        return await this.connect(user)
      } catch (error) {
        const isUnknown = isPgtsError(error, 'db-connect') && at < users.length - 1
        if (!isUnknown) throw error
      }
    }
    throw new PgtsError('assert', 'no user to connect as')
  }

  /** The last line of postmaster.pid. */
  #isReady(): boolean {
    try {
      const lines = readFileSync(textPath(`${this.#request.places.data}/postmaster.pid`), 'utf8').split('\n')
      return Number(lines[0]) === this.#child.pid && (lines[7] ?? '').startsWith('ready')
    } catch {
      return false
    }
  }

  #requireRunning(): void {
    if (this.#ended === undefined) return
    const { error } = this.#ended
    if (error !== undefined) throw new PgtsError('execute', `cannot run postgres: ${error.message}`, { cause: error })
    throw this.#notRecovered('the restored server ended during recovery')
  }

  #notRecovered(what: string): PgtsError {
    const log = this.#logText()
    const lines = log.split('\n').filter((line) => /(FATAL|PANIC|ERROR|WARN|WARNING|HINT|DETAIL):/.test(line))
    const reason = OF_THIS_HOST.find(({ pattern }) => pattern.test(log))
    return new PgtsError(reason?.code ?? 'db-invalid', [what, ...lines.slice(-MOST_LINES)].join('\n'), {
      hints: reason === undefined ? [] : [reason.hint],
    })
  }

  #logText(): string {
    try {
      return decodeText(readFileSync(textPath(this.#request.places.log)))
    } catch {
      return ''
    }
  }
}

const MOST_LINES = 6
const INSUFFICIENT = 'because of insufficient parameter settings'

/** Messages of a server that did not recover although the backup can be intact. */
const OF_THIS_HOST: readonly { readonly pattern: RegExp; readonly code: ErrorCode; readonly hint: string }[] = [
  {
    // restore_command has failed, which is not the same as a segment that the archive does not have.
    pattern: /FATAL: .*could not restore file "[^"]*" from archive/,
    code: 'recovery-stop',
    hint: 'run the drill again when the repository can be read',
  },
  {
    pattern: /No space left on device/,
    code: 'file-write',
    hint: 'free disk space, or set drill-path to a directory on another file system',
  },
  {
    pattern: new RegExp(INSUFFICIENT),
    code: 'option-invalid-value',
    hint: 'a limit of the primary was raised after the backup began: set it, for example --recovery-option=max_connections=500',
  },
  {
    pattern: /resource manager with ID \d+ not registered/,
    code: 'option-required',
    hint: 'name the library of the extension: --recovery-option=shared_preload_libraries=LIBRARY',
  },
  {
    pattern: /could not access file "[^"]*": No such file|could not load library/,
    code: 'file-missing',
    hint: 'install the library on this host',
  },
]

function startPostmaster({ places, programs, owner, env }: DrillServerRequest): ChildProcess {
  const log = openSync(textPath(places.log), 'a', 0o600)
  try {
    return spawn(`${programs}/postgres`, ['-D', places.data, '-c', `config_file=${places.directory}/postgresql.conf`], {
      cwd: places.directory,
      env: { ...env },
      stdio: ['ignore', log, log],
      // Ctrl-C at the terminal ends pgts, which stops the server.
      detached: true,
      ...owner,
    })
  } finally {
    closeSync(log)
  }
}

function startWatchdog({ owner }: DrillServerRequest, pid: number): ChildProcess {
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, 'pgts-drill-watchdog', String(pid)], {
    cwd: '/',
    env: {},
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    ...owner,
  })
  watchdog.unref()
  return watchdog
}
