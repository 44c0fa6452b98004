import { connect, type Socket } from 'node:net'
import type { Client, QueryResultRow } from 'pg'
import { asBytes, bytesToText, textToBytes, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { connectError, queryError } from './client-errors.ts'
import { openClient, type ConnectionOptions } from './open-client.ts'
import { versionOfServer, type PostgresVersion } from './versions.ts'
import { markHandled } from '../util/mark-handled.ts'

/** Version, settings and state of the server. */
export interface ServerFacts {
  /** server_version_num: 150018. */
  readonly versionNum: number
  readonly postgres: PostgresVersion
  /** Byte string, absolute. */
  readonly dataDirectory: ByteString
  readonly archiveMode: 'off' | 'on' | 'always'
  /** Byte string; '' when not set, or when archive_mode is off. */
  readonly archiveCommand: ByteString
  /** '' if not set, and before 15. If set, PostgreSQL 15 ignores archive_command, and 16 refuses to set both. */
  readonly archiveLibrary: string
  readonly archiveTimeoutMs: number
  readonly checkpointTimeoutMs: number
  /** Bytes. */
  readonly walSegmentSize: number
  /** A standby, or a server in recovery. */
  readonly inRecovery: boolean
}

/** A hint if archive_library is set, so that PostgreSQL never calls archive_command; else undefined. */
export function archiveLibraryHint(facts: Pick<ServerFacts, 'archiveLibrary'>): string | undefined {
  if (facts.archiveLibrary === '') return undefined
  return `archive_library is '${facts.archiveLibrary}': PostgreSQL does not use archive_command while it is set`
}

/**
 * SQL for the bytes of a text, whatever the encodings of server and database are: for PostgreSQL, names of files,
 * databases and tablespaces are bytes, and a conversion to the client's encoding would change or refuse some of them.
 */
export function bytesOf(expression: string): string {
  return `pg_catalog.decode(pg_catalog.replace((${expression})::text, E'\\\\', E'\\\\\\\\'), 'escape')`
}

/** The value of `bytesOf` as a byte string. */
export function byteString(value: unknown): ByteString {
  return value instanceof Buffer ? asBytes(value.toString('latin1')) : textToBytes(String(value ?? ''))
}

/**
 * A connection with deadlines. A query that takes too long is ended by closing the connection; PostgreSQL then cancels
 * it.
 */
export interface ServerConnection extends AsyncDisposable {
  readonly facts: ServerFacts
  /** Rows of one statement. Errors: [057] refused, timed out, or the connection was lost. */
  query<R extends QueryResultRow>(
    sql: string,
    values?: readonly unknown[],
    options?: { readonly timeoutMs?: number },
  ): Promise<R[]>
  /** As `query`, with rows as lists: several columns can have one name. */
  rows(sql: string, options?: { readonly timeoutMs?: number }): Promise<unknown[][]>
  /** Check that the server answers and has the same role. Errors: [057]; [058] if it was promoted or restored. */
  ping(): Promise<void>
}

/** Connect to the server of a cluster and read its facts. Errors: [056] with hints, [046], [057]. */
export async function connectServer(options: ConnectionOptions): Promise<ServerConnection> {
  options.signal?.throwIfAborted()
  const { client, socketPath, connectTimeoutMs, targetSessionAttrs } = await openClient(options)
  const connection = new Connection(client, `${socketPath}/.s.PGSQL.${options.port}`, options)
  try {
    await connection.withDeadline(client.connect(), connectTimeoutMs)
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    if (options.signal?.aborted === true) throw options.signal.reason
    throw connectError(error, { ...options, socketPath })
  }
  try {
    await connection.prepare()
    if (targetSessionAttrs !== undefined) await assertSession(connection, targetSessionAttrs)
    return connection
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  }
}

const CANCEL_REQUEST = 80877102

const CLOSE_DEADLINE_MS = 10_000

/** Longer than the server's own statement_timeout, which gives the better message and leaves a usable connection. */
const GRACE_MS = 2_000

class Connection implements ServerConnection {
  readonly #client: Client
  readonly #socketName: string
  readonly #options: ConnectionOptions
  #facts: ServerFacts | undefined
  #lost: Error | undefined
  /** statement_timeout of the session, once it is set. */
  #limitMs: number | undefined
  #ended = false
  /** The connection was closed while the server ran a statement. */
  #busy = false

  constructor(client: Client, socketName: string, options: ConnectionOptions) {
    this.#client = client
    this.#socketName = socketName
    this.#options = options
    // Without a listener, a connection lost between two queries would end the process.
    client.on('error', (error) => (this.#lost ??= error))
  }

  get facts(): ServerFacts {
    if (this.#facts === undefined) throw new PgtsError('assert', 'the connection was used before it was prepared')
    return this.#facts
  }

  async query<R extends QueryResultRow>(
    sql: string,
    values: readonly unknown[] = [],
    options: { readonly timeoutMs?: number } = {},
  ): Promise<R[]> {
    return (await this.#run(sql, options, () => this.#client.query<R>(sql, [...values]))).rows
  }

  async rows(sql: string, options: { readonly timeoutMs?: number } = {}): Promise<unknown[][]> {
    const config = { text: sql, rowMode: 'array' } as const
    return (await this.#run(sql, options, () => this.#client.query<unknown[]>(config))).rows
  }

  async #run<T>(sql: string, options: { readonly timeoutMs?: number }, send: () => Promise<T>): Promise<T> {
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs
    if (this.#lost !== undefined || this.#ended)
      throw queryError(this.#lost ?? new Error('the connection is closed'), sql)
    this.#options.signal?.throwIfAborted()
    try {
      if (timeoutMs !== this.#limitMs) await this.#limit(timeoutMs)
      return await this.withDeadline(send(), timeoutMs + GRACE_MS)
    } catch (error) {
      if (this.#options.signal?.aborted === true) throw this.#options.signal.reason
      throw queryError(error, sql)
    }
  }

  ping(): Promise<void> {
    return assertSameRole(this)
  }

  /** Set up the session and read the server's facts. */
  async prepare(): Promise<void> {
    // Settings of the role or database are not used: a search_path could contain a table pg_settings, parallel workers
    // are not needed for tiny queries, and timeouts would end a session that is idle while files are copied for hours.
    await this.query('set search_path = pg_catalog')
    await this.query(`set client_encoding = 'UTF8'`)
    await this.query('set max_parallel_workers_per_gather = 0')
    // Later versions have more timeouts. `query` sets statement_timeout.
    await this.query(
      `select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings
       where name in ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'lock_timeout', 'transaction_timeout')`,
    )
    this.#facts = await this.#readFacts()
  }

  async #limit(timeoutMs: number): Promise<void> {
    await this.withDeadline(this.#client.query(`set statement_timeout = ${Math.ceil(timeoutMs)}`), timeoutMs + GRACE_MS)
    this.#limitMs = timeoutMs
  }

  async #readFacts(): Promise<ServerFacts> {
    const names = ['server_version_num', 'archive_mode', 'archive_timeout', 'checkpoint_timeout', 'wal_segment_size']
    const [row] = await this.query<{
      settings: Record<string, string | null>
      data_directory: unknown
      archive_command: unknown
      recovering: boolean
    }>(
      `select pg_catalog.json_object_agg(name, setting)
          filter (where name in ('archive_library', ${names.map((name) => `'${name}'`).join(', ')})) as settings,
        ${['data_directory', 'archive_command'].map((name) => `${bytesOf(`pg_catalog.max(setting) filter (where name = '${name}')`)} as ${name},`).join('\n        ')}
        pg_catalog.pg_is_in_recovery() as recovering
       from pg_catalog.pg_settings`,
    )
    const settings = row?.settings ?? {}
    const missing = names.filter((name) => typeof settings[name] !== 'string')
    if (!(row?.data_directory instanceof Buffer)) missing.unshift('data_directory')
    if (row === undefined || missing.length > 0) {
      throw new PgtsError('db-query', `the server does not show the setting ${missing.join(', ')}`, {
        hints: [
          'run the command as the superuser, usually postgres',
          'grant pg_read_all_settings to the role of pg1-user',
        ],
      })
    }
    const versionNum = Number(settings['server_version_num'])
    const archiveCommand = byteString(row.archive_command)
    return {
      versionNum,
      postgres: versionOfServer(versionNum),
      dataDirectory: byteString(row.data_directory),
      archiveMode: settings['archive_mode'] as ServerFacts['archiveMode'],
      // The value while archive_mode is off.
      archiveCommand: archiveCommand === '(disabled)' ? asBytes('') : archiveCommand,
      archiveLibrary: settings['archive_library'] ?? '',
      archiveTimeoutMs: Number(settings['archive_timeout']) * 1000,
      checkpointTimeoutMs: Number(settings['checkpoint_timeout']) * 1000,
      // Before 11 the unit is a WAL page of 8 KiB.
      walSegmentSize: Number(settings['wal_segment_size']) * (versionNum < 110000 ? 8192 : 1),
      inRecovery: row.recovering,
    }
  }

  /** `work`, unless the deadline or the signal comes first; then the connection is closed, which ends `work`, too. */
  async withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
    const { signal } = this.#options
    let stop: (() => void) | undefined
    const cut = new Promise<never>((_, reject) => {
      const end = (reason: unknown) => {
        this.#lost ??= reason instanceof Error ? reason : new Error(String(reason))
        this.#busy = true
        this.#socket().destroy()
        reject(reason as Error)
      }
      const timer = setTimeout(() => end(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
      const onAbort = () => end(signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      stop = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
    })
    try {
      return await Promise.race([work, cut])
    } finally {
      stop?.()
      markHandled(work) // it fails when its connection is closed, which is already reported
    }
  }

  #socket(): Socket {
    return (this.#client as unknown as { connection: { stream: Socket } }).connection.stream
  }

  /** Ends the session; PostgreSQL then ends backup mode. Closes the socket if the server does not answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    // The command's signal may already be aborted, so closing has its own deadline.
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_DEADLINE_MS)
    })
    // A server notices a closed connection only when it sends, for example after a long checkpoint.
    if (this.#busy) await Promise.race([this.#cancelStatement(), late])
    else if (this.#lost === undefined) await Promise.race([this.#client.end().catch(() => undefined), late])
    clearTimeout(timer)
    this.#socket().destroy()
  }

  /** @see PostgreSQL, protocol message CancelRequest: it needs its own connection and has no answer. */
  #cancelStatement(): Promise<void> {
    const { processID, secretKey } = this.#client as unknown as { processID?: number | null; secretKey?: number | null }
    if (typeof processID !== 'number' || typeof secretKey !== 'number') return Promise.resolve()
    const request = Buffer.alloc(16)
    request.writeInt32BE(16, 0)
    request.writeInt32BE(CANCEL_REQUEST, 4)
    request.writeInt32BE(processID, 8)
    request.writeInt32BE(secretKey, 12)
    return new Promise((resolve) => {
      const socket = connect(this.#socketName)
      // The server closes the connection after it has forwarded the request.
      socket.once('close', () => resolve())
      socket.once('error', () => resolve())
      socket.resume()
      socket.end(request)
    })
  }
}

/** Asks the server, as `ping` does. Errors: [057]; [058] if it was promoted or restored. */
export async function assertSameRole(server: Pick<ServerConnection, 'facts' | 'query'>): Promise<void> {
  const { inRecovery } = server.facts
  const [row] = await server.query<{ recovering: boolean }>('select pg_catalog.pg_is_in_recovery() as recovering')
  if (row?.recovering === inRecovery) return
  throw new PgtsError(
    'db-mismatch',
    inRecovery ? 'the standby is no longer in recovery' : 'the primary is in recovery now',
    { hints: ['check whether the standby was promoted, or the server restored, while the command was running'] },
  )
}

/**
 * [056] if the session is not of the kind that `target_session_attrs` of the environment requires.
 * @see PostgreSQL, documentation of libpq: target_session_attrs
 */
async function assertSession(connection: ServerConnection, required: string): Promise<void> {
  if (required === 'any' || required === 'prefer-standby') return
  const { inRecovery } = connection.facts
  const [row] = await connection.query<{ readOnly: boolean }>(
    `select pg_catalog.current_setting('default_transaction_read_only') = 'on' as "readOnly"`,
  )
  const readOnly = inRecovery || row?.readOnly === true
  const fulfilled: Readonly<Record<string, boolean>> = {
    primary: !inRecovery,
    standby: inRecovery,
    'read-write': !readOnly,
    'read-only': readOnly,
  }
  if (fulfilled[required] === true) return
  const problem =
    fulfilled[required] === undefined
      ? `invalid target_session_attrs (PGTARGETSESSIONATTRS) '${required}'`
      : `the server is ${inRecovery ? 'a standby' : 'a primary'}${readOnly ? ' and read-only' : ''}, but target_session_attrs (PGTARGETSESSIONATTRS) is '${required}'`
  throw new PgtsError('db-connect', problem, { hints: ['unset PGTARGETSESSIONATTRS for pgts'] })
}

/** [058] when the server is not the one whose data directory is configured. */
export function checkServerMatches(
  facts: ServerFacts,
  cluster: { readonly dataDirectory: ByteString; readonly version: string },
): void {
  const hints = ['the settings pg1-path, pg1-port and pg1-socket-path must belong to the same cluster']
  if (facts.postgres.version !== cluster.version) {
    throw new PgtsError(
      'db-mismatch',
      `the server is version ${facts.postgres.version}, but pg_control of ${bytesToText(cluster.dataDirectory)} is version ${cluster.version}`,
      { hints },
    )
  }
  if (facts.dataDirectory !== cluster.dataDirectory) {
    throw new PgtsError(
      'db-mismatch',
      `the server's data_directory is ${bytesToText(facts.dataDirectory)}, but pg1-path is ${bytesToText(cluster.dataDirectory)}`,
      { hints },
    )
  }
}
