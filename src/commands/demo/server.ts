import { spawn, type ChildProcess } from 'node:child_process'
import { appendFileSync, closeSync, openSync, readFileSync } from 'node:fs'
import type { QueryResultRow } from 'pg'
import { connectServer } from '../../postgres/client.ts'
import { systemClock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import { runAsOwner, type Owner } from '../init/owner.ts'

/** The server needs no port: it only listens on the socket in the directory of the demo. */
export const PORT = 5432
const START_MS = 60_000
const STOP_MS = 30_000

interface ServerPlace {
  /** Directory of initdb and postgres. */
  readonly programs: string
  /** Directory of socket, log and data directory; belongs to the owner. */
  readonly directory: string
  readonly owner: Owner
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

/** A PostgreSQL server of the demo; disposing it ends the server. */
export class DemoServer implements AsyncDisposable {
  readonly dataDirectory: string
  readonly #place: ServerPlace
  #child: ChildProcess | undefined

  private constructor(place: ServerPlace) {
    this.#place = place
    this.dataDirectory = `${place.directory}/data`
  }

  static async create(place: ServerPlace, settings: Readonly<Record<string, string>>): Promise<DemoServer> {
    const server = new DemoServer(place)
    const { programs, owner, env, signal } = place
    const initdb = [
      `${programs}/initdb`,
      '-D',
      server.dataDirectory,
      '-U',
      'postgres',
      '-A',
      'trust',
      '-N',
      '-E',
      'UTF8',
      '--locale=C',
      '-k',
    ]
    const { code } = await runAsOwner(owner, initdb, { env, signal, output: 'captured' })
    if (code !== 0)
      throw new PgtsError('execute', `initdb ended with code ${code}`, {
        hints: [`run it as ${owner.name}: ${initdb.join(' ')}`],
      })
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    appendFileSync(`${server.dataDirectory}/postgresql.conf`, lines.join(''))
    return server
  }

  /** Starts the server and waits until it accepts connections. */
  async start(): Promise<void> {
    const { programs, directory, owner, env, signal } = this.#place
    const log = openSync(`${directory}/server.log`, 'a')
    const isRoot = process.geteuid?.() === 0
    const child = spawn(
      `${programs}/postgres`,
      ['-D', this.dataDirectory, '-k', directory, '-p', String(PORT), '-c', 'listen_addresses='],
      {
        cwd: directory,
        env: { ...env },
        stdio: ['ignore', log, log],
        // ^C at the terminal ends the demo, which ends the server.
        detached: true,
        ...(isRoot ? { uid: owner.uid, gid: owner.gid } : {}),
      },
    )
    closeSync(log)
    this.#child = child
    child.once('error', () => (this.#child = undefined))
    child.once('exit', () => (this.#child = undefined))
    const deadline = systemClock.nowMs() + START_MS
    while (!this.#isReady()) {
      if (this.#child === undefined || systemClock.nowMs() > deadline)
        throw new PgtsError('db-connect', `the server of the demo did not start:\n${this.#lastLogLines()}`)
      await systemClock.sleep(50, signal)
    }
  }

  /** Waits until recovery has ended. */
  async untilPrimary(): Promise<void> {
    const deadline = systemClock.nowMs() + START_MS
    for (;;) {
      const [row] = await this.query<{ recovering: boolean }>('select pg_catalog.pg_is_in_recovery() as recovering')
      if (row?.recovering === false) return
      if (systemClock.nowMs() > deadline) throw new PgtsError('db-connect', 'recovery did not end')
      await systemClock.sleep(50, this.#place.signal)
    }
  }

  async query<R extends QueryResultRow>(sql: string): Promise<R[]> {
    const { directory, signal } = this.#place
    await using server = await connectServer({
      port: PORT,
      socketPath: directory,
      database: 'postgres',
      user: 'postgres',
      command: 'demo',
      env: {},
      timeoutMs: START_MS,
      signal,
    })
    await server.query('set search_path = public, pg_catalog')
    return await server.query<R>(sql)
  }

  async stop(signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    child.kill(signal)
    const deadline = systemClock.nowMs() + STOP_MS
    while (this.#child !== undefined && systemClock.nowMs() < deadline) await systemClock.sleep(20)
    if (this.#child !== undefined) child.kill('SIGKILL')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop('SIGQUIT')
  }

  /** The last line of postmaster.pid. */
  #isReady(): boolean {
    try {
      const lines = readFileSync(`${this.dataDirectory}/postmaster.pid`, 'utf8').split('\n')
      return Number(lines[0]) === this.#child?.pid && (lines[7] ?? '').startsWith('ready')
    } catch {
      return false
    }
  }

  #lastLogLines(): string {
    try {
      return readFileSync(`${this.#place.directory}/server.log`, 'utf8').trimEnd().split('\n').slice(-5).join('\n')
    } catch {
      return ''
    }
  }
}
