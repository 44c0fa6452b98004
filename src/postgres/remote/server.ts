import type { QueryResultRow } from 'pg'
import type { Connection } from '../../remote/connection.ts'
import type { TypeOf } from '../../remote/fields.ts'
import type { Value } from '../../remote/value.ts'
import { assertSameRole, type ServerConnection, type ServerFacts } from '../client.ts'
import type { ConnectRequest } from '../cluster-access.ts'
import { versionOfServer } from '../versions.ts'
import { dbCloseVerb, dbOpenVerb, dbQueryVerb, sentValue } from './verbs.ts'

/** A session of the server of another host: the process there holds it, and ends it with its connection to this process. */
export class RemoteServer implements ServerConnection {
  readonly session: number
  readonly facts: ServerFacts
  readonly #connection: Connection
  readonly #signal: AbortSignal
  #closed = false

  private constructor(connection: Connection, signal: AbortSignal, opened: TypeOf<typeof dbOpenVerb.answer>) {
    this.#connection = connection
    this.#signal = signal
    this.session = opened.session
    this.facts = { ...opened.facts, postgres: versionOfServer(opened.facts.versionNum) }
  }

  static async open(
    connection: Connection,
    { database, atMostMs }: Pick<ConnectRequest, 'database' | 'atMostMs'>,
    signal: AbortSignal,
  ): Promise<RemoteServer> {
    return new RemoteServer(connection, signal, await connection.call(dbOpenVerb, { database, atMostMs }, { signal }))
  }

  async query<R extends QueryResultRow>(
    sql: string,
    values: readonly unknown[] = [],
    options: { readonly timeoutMs?: number } = {},
  ): Promise<R[]> {
    const { columns, rows } = await this.#run(sql, values, options.timeoutMs, false)
    return rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, row[at]])) as R)
  }

  async rows(sql: string, options: { readonly timeoutMs?: number } = {}): Promise<unknown[][]> {
    return (await this.#run(sql, [], options.timeoutMs, true)).rows
  }

  async #run(
    sql: string,
    values: readonly unknown[],
    timeoutMs: number | undefined,
    lists: boolean,
  ): Promise<{ readonly columns: readonly string[]; readonly rows: unknown[][] }> {
    const request = { session: this.session, sql, values: values.map(sentValue), timeoutMs, lists }
    const { columns, rows } = await this.#connection.call(dbQueryVerb, request, { signal: this.#signal })
    return { columns, rows: rows.map((row) => row.map(received)) }
  }

  ping(): Promise<void> {
    return assertSameRole(this)
  }

  /** The server ends backup mode. A lost connection has ended the session already. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#connection.call(dbCloseVerb, { session: this.session }).catch(() => undefined)
  }
}

function received(value: Value): unknown {
  return value instanceof Uint8Array ? Buffer.from(value) : value
}
