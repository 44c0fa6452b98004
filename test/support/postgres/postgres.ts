import { spawn, type ChildProcess } from 'node:child_process'
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import {
  atEnd,
  cleanEnv,
  giveToTestUser,
  makeTestDir,
  projectRoot,
  reachable,
  testUser,
} from '../processes/test-user.ts'

export { checkIndexes, dataChecksum, type DataChecksum } from './data-checksum.ts'
export * from '../processes/test-user.ts'
import { processOf } from '../processes/processes.ts'
import { createDataDirectory } from './data-directory.ts'
import { SERVER_VERSIONS, type ServerVersion } from './server-versions.ts'

/**
 * Embedded PostgreSQL servers for tests (npm packages pg10 .. pg18). They listen on a unix socket in a directory of
 * their own and nowhere else, so any number of them may use the same port.
 *
 *     await using cluster = await startCluster({ version: 15, conf: { archive_mode: 'on', archive_command: '...' } })
 *     await cluster.query('create table t (id int)')
 */
export { SERVER_VERSIONS, type ServerVersion }

export interface ClusterOptions {
  /** Default 15, the newest that pgbackrest 2.45 knows. */
  readonly version?: ServerVersion
  readonly port?: number
  readonly dataChecksums?: boolean
  readonly walSegsizeMb?: number
  /** Settings. A new cluster gets them in postgresql.conf; for an existing one they are on the command line and have precedence. */
  readonly conf?: Readonly<Record<string, string>>
  /** Data directory. If it holds a cluster (for example a restored one), that is started, else a new one is created in it. */
  readonly dir?: string
  /** False: create the cluster without starting it. */
  readonly start?: boolean
  /** For `start()`, default 60 s: recovery from an archive can be slow. */
  readonly startDeadlineMs?: number
}

export type StopMode = 'smart' | 'fast' | 'immediate'

export class Cluster {
  /** Superuser of the database. Every local connection is trusted. */
  readonly user = 'postgres'
  readonly logFile: string
  #child: ChildProcess | undefined
  #ended: Promise<void> = Promise.resolve()
  #client: pg.Client | undefined

  constructor(
    readonly version: ServerVersion,
    readonly dataDir: string,
    readonly socketDir: string,
    readonly port: number,
    readonly binDir: string,
    readonly settings: Readonly<Record<string, string>>,
    readonly startDeadlineMs: number,
  ) {
    this.logFile = join(socketDir, 'server.log')
  }

  get running(): boolean {
    return this.#child !== undefined
  }

  /** Process id of the postmaster. */
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the server is not running')
    return this.#child.pid
  }

  /** The log of the server so far. */
  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : ''
  }

  /** Options of pgts and pgbackrest for this cluster (without a leading `--`). */
  pgOptions(): Record<string, string> {
    return {
      'pg1-path': this.dataDir,
      'pg1-socket-path': this.socketDir,
      'pg1-port': String(this.port),
      'pg1-user': this.user,
    }
  }

  /** Start, and wait until connections are accepted. A server that ends instead is an error that shows its log. */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error('the server is running already')
    const args = ['-D', this.dataDir, '-p', String(this.port), '-k', this.socketDir]
    for (const [name, value] of Object.entries({ listen_addresses: '', ...this.settings }))
      args.push('-c', `${name}=${value}`)
    const log = openSync(this.logFile, 'a')
    // Stops at once when this process ends, however that ends.
    const child = spawn('setpriv', ['--pdeathsig', 'QUIT', join(this.binDir, 'postgres'), ...args], {
      cwd: this.socketDir,
      env: cleanEnv(),
      stdio: ['ignore', log, log],
      detached: true,
      ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
    })
    closeSync(log)
    this.#child = child
    atEnd(() => this.killNow())
    this.#ended = new Promise((resolve) => {
      const done = () => {
        this.#child = undefined
        resolve()
      }
      child.once('exit', done)
      child.once('error', done)
    })
    const deadline = Date.now() + this.startDeadlineMs
    while (!this.#ready(child.pid)) {
      if (this.#child === undefined) throw new Error(`the server did not start\n${tail(this.log())}`)
      if (Date.now() > deadline) {
        await this.kill()
        throw new Error(`the server was not ready in ${this.startDeadlineMs} ms\n${tail(this.log())}`)
      }
      await sleep(10)
    }
  }

  /** The last line of postmaster.pid says `ready` (or `standby`, when hot_standby is off). */
  #ready(pid: number | undefined): boolean {
    try {
      const lines = readFileSync(join(this.dataDir, 'postmaster.pid'), 'utf8').split('\n')
      return Number(lines[0]) === pid && /^(ready|standby)/.test(lines[7] ?? '')
    } catch {
      return false
    }
  }

  /** Wait until the server has finished recovery and accepts writes. */
  async untilPrimary(deadlineMs = 60_000): Promise<void> {
    const deadline = Date.now() + deadlineMs
    while (Date.now() < deadline) {
      if (this.#child === undefined) throw new Error(`the server ended during recovery\n${tail(this.log())}`)
      try {
        const rows = await this.query('select pg_is_in_recovery() as recovering')
        if (rows[0]?.['recovering'] === false) return
      } catch {
        // connections are not accepted yet, or were ended by the promotion
      }
      await sleep(50)
    }
    throw new Error(`recovery did not end in ${deadlineMs} ms\n${tail(this.log())}`)
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    await this.#closeClient()
    if (this.#child === undefined) return
    this.#child.kill(({ smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const)[mode])
    const timedOut = await Promise.race([this.#ended.then(() => false), sleep(60_000, true, { ref: false })])
    if (timedOut) {
      await this.kill()
      throw new Error(`the server did not stop (${mode})\n${tail(this.log())}`)
    }
  }

  /** SIGKILL for all processes, as in a power cut, and wait until they have ended. */
  async kill(): Promise<void> {
    await this.#closeClient()
    const child = this.#child
    if (child?.pid === undefined) return
    const family = [child.pid, ...childrenOf(child.pid)]
    for (const pid of family) killQuietly(pid)
    await this.#ended
    while (family.some(isAlive)) await sleep(5)
  }

  /** For the end of the test process, which cannot wait. */
  killNow(): void {
    if (this.#child?.pid !== undefined)
      for (const pid of [this.#child.pid, ...childrenOf(this.#child.pid)]) killQuietly(pid)
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  /** A connection of its own; the caller ends it. */
  async client(database = 'postgres', user: string = this.user): Promise<pg.Client> {
    const client = new pg.Client({ host: this.socketDir, port: this.port, user, database })
    client.on('error', () => undefined) // the server was stopped; the next query reports it
    await client.connect()
    return client
  }

  /** Run SQL on the cluster's own connection to `postgres`, or once in another database. */
  async query(sql: string, values: readonly unknown[] = [], database?: string): Promise<Record<string, unknown>[]> {
    if (database !== undefined) {
      const client = await this.client(database)
      try {
        return rowsOf(await client.query(sql, [...values]))
      } finally {
        await client.end()
      }
    }
    if (this.#client === undefined) {
      const client = await this.client()
      client.once('end', () => {
        if (this.#client === client) this.#client = undefined
      })
      this.#client = client
    }
    return rowsOf(await this.#client.query(sql, values.length === 0 ? undefined : [...values]))
  }

  async #closeClient(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => undefined)
  }

  /** Stops the server; its directories are removed at the end of the test file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('immediate')
  }
}

/** Create a cluster (or use the one in `dir`) and start it. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const version = options.version ?? 15
  const binDir = serverBinaries(version)
  const runDir = makeTestDir(`pg${version}`)
  const dataDir = options.dir ?? join(runDir, 'data')
  const exists = existsSync(join(dataDir, 'PG_VERSION'))
  const conf = options.conf ?? {}
  if (!exists) await initialise(binDir, dataDir, version, options, conf)
  const cluster = new Cluster(
    version,
    dataDir,
    runDir,
    options.port ?? 5432,
    binDir,
    exists ? conf : {},
    options.startDeadlineMs ?? 60_000,
  )
  if (options.start ?? true) await cluster.start()
  return cluster
}

/** Small and fast: the data need not survive a power cut of the machine. */
const TEST_SETTINGS: Record<string, string> = {
  fsync: 'off',
  shared_buffers: '16MB',
  max_connections: '30',
  max_wal_senders: '2',
  wal_level: 'replica',
  autovacuum_naptime: '1h',
  log_line_prefix: '%m [%p] ',
  timezone: 'UTC',
}

async function initialise(
  binDir: string,
  dataDir: string,
  version: ServerVersion,
  options: ClusterOptions,
  conf: Readonly<Record<string, string>>,
): Promise<void> {
  if (!existsSync(dataDir)) {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    giveToTestUser(dataDir)
  }
  const args = ['-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C']
  if (options.dataChecksums ?? true) args.push('--data-checksums')
  else if (version >= 18) args.push('--no-data-checksums')
  // Before 11 the size is compiled in.
  if (options.walSegsizeMb !== undefined && (version >= 11 || options.walSegsizeMb !== 16))
    args.push(`--wal-segsize=${options.walSegsizeMb}`)
  await createDataDirectory(binDir, version, dataDir, args)
  // With a segment size other than 16 MB initdb writes fitting values of min_wal_size and max_wal_size.
  const lines = Object.entries({ ...TEST_SETTINGS, ...conf }).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  )
  appendFileSync(join(dataDir, 'postgresql.conf'), lines.join(''))
}

/** Directory with initdb, pg_ctl and postgres of this version, where the test user can execute them. */
export function serverBinaries(version: ServerVersion): string {
  const native = join(projectRoot, 'node_modules', `pg${version}`, 'native')
  if (!existsSync(native)) throw new Error(`the embedded server pg${version} is not installed: npm ci`)
  return join(reachable(native), 'bin')
}

/** A zombie (state Z) holds no resources any more. */
function isAlive(pid: number): boolean {
  return !['Z', 'X', undefined].includes(processOf(pid)?.state)
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && processOf(name)?.parent === parent)
    .map(Number)
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it has ended
  }
}

function rowsOf(result: unknown): Record<string, unknown>[] {
  const last = Array.isArray(result) ? (result as pg.QueryResult[]).at(-1) : (result as pg.QueryResult)
  return (last?.rows ?? []) as Record<string, unknown>[]
}

function tail(log: string): string {
  return log.split('\n').slice(-40).join('\n')
}
