import type { ServerConnection } from '../../postgres/client.ts'
import type { ClusterAccess } from '../../postgres/cluster-access.ts'
import { dbCloseVerb, dbOpenVerb, dbQueryVerb, sentValue } from '../../postgres/remote/verbs.ts'
import type { Call, Handler } from '../../remote/connection.ts'
import { onCall } from '../../remote/handlers.ts'
import { PgtsError } from '../../util/error.ts'

/** Far more than a command opens. */
const MOST_SESSIONS = 16

interface Session {
  readonly server: ServerConnection
  /** Closes the connection to the server, also while it runs a statement. */
  readonly end: AbortController
}

/** The sessions of one server that a command on another host has open. Disposal ends them, and with them backup mode. */
export class DatabaseSessions implements AsyncDisposable {
  readonly #cluster: Pick<ClusterAccess, 'connect'>
  readonly #sessions = new Map<number, Session>()
  #opened = 0
  #closed = false

  constructor(cluster: Pick<ClusterAccess, 'connect'>) {
    this.#cluster = cluster
  }

  /** undefined if it is closed. */
  find(session: number): ServerConnection | undefined {
    return this.#sessions.get(session)?.server
  }

  get count(): number {
    return this.#sessions.size
  }

  verbs(): Handler[] {
    return [
      onCall(dbOpenVerb, async (request, call) => {
        if (this.#sessions.size === MOST_SESSIONS)
          throw new PgtsError('protocol', `more than ${MOST_SESSIONS} sessions of the server are open`)
        const end = new AbortController()
        const server = await cancellable(call, end, () => this.#cluster.connect({ ...request, signal: end.signal }))
        if (this.#closed) {
          await server[Symbol.asyncDispose]()
          throw new PgtsError('host-connect', 'the connection to the other host has ended')
        }
        const session = ++this.#opened
        this.#sessions.set(session, { server, end })
        return { session, facts: server.facts }
      }),
      onCall(dbQueryVerb, async ({ session, sql, values, timeoutMs, lists }, call) => {
        const { server, end } = this.#require(session)
        return cancellable(call, end, async () => {
          if (lists)
            return { columns: [], rows: (await server.rows(sql, { timeoutMs })).map((row) => row.map(sentValue)) }
          const rows = await server.query<Record<string, unknown>>(sql, values, { timeoutMs })
          const columns = Object.keys(rows[0] ?? {})
          return { columns, rows: rows.map((row) => columns.map((column) => sentValue(row[column]))) }
        })
      }),
      onCall(dbCloseVerb, async ({ session }) => {
        const { server } = this.#require(session)
        this.#sessions.delete(session)
        await server[Symbol.asyncDispose]()
        return {}
      }),
    ]
  }

  #require(session: number): Session {
    const found = this.#sessions.get(session)
    if (found === undefined) throw new PgtsError('protocol', `session ${session} of the server is not open`)
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    await Promise.all(sessions.map(({ server }) => server[Symbol.asyncDispose]()))
  }
}

/** A cancelled statement ends its session, because PostgreSQL may still run it. */
async function cancellable<T>({ signal }: Call, end: AbortController, work: () => Promise<T>): Promise<T> {
  const cancel = () => end.abort(signal.reason)
  signal.throwIfAborted()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await work()
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}
