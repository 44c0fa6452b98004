import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { NoPasswordError } from './libpq/authentication.ts'
import { readPostmasterFile } from './socket.ts'

/** SQLSTATE of an error the server sent, or the code of a system error. */
function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  return typeof code === 'string' ? code : ''
}

function messageOf(error: unknown): string {
  // Trying several addresses fails with an empty message and the reasons inside.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}

/** [056] for a connection that did not come about, with what to look at for this reason. */
export function connectError(
  error: unknown,
  where: {
    readonly socketPath: string
    readonly port: number
    readonly database: string
    readonly dataDirectory?: string
  },
): PgtsError {
  const socket = `${where.socketPath}/.s.PGSQL.${where.port}`
  return new PgtsError(
    'db-connect',
    `unable to connect to database '${where.database}' on ${socket}: ${connectReason(error)}`,
    {
      hints: connectHints(error, where),
      cause: error,
    },
  )
}

/** What Node says of a socket, in words; what the server says, as it is. */
function connectReason(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return 'there is no such socket'
    case 'ECONNREFUSED':
      return 'nobody listens there'
    case 'EACCES':
      return 'permission denied'
    default:
      return messageOf(error)
  }
}

function connectHints(error: unknown, where: { readonly port: number; readonly dataDirectory?: string }): string[] {
  if (error instanceof NoPasswordError) {
    return [
      ...error.problems,
      'add a line to ~/.pgpass of the user that runs pgts, or let pg_hba.conf admit the role by peer authentication',
    ]
  }
  switch (codeOf(error)) {
    case 'ENOENT':
    case 'ECONNREFUSED': {
      const running = where.dataDirectory === undefined ? undefined : readPostmasterFile(where.dataDirectory)
      if (running !== undefined && running.port !== where.port) {
        return [`postmaster.pid in ${bytesToText(where.dataDirectory!)} says port ${running.port}: is pg1-port right?`]
      }
      return [
        'is PostgreSQL running?',
        'compare pg1-socket-path and pg1-port with unix_socket_directories and port of the server',
      ]
    }
    case 'EACCES':
      return [
        'may this user enter the directory of the socket? Run pgts as the user that PostgreSQL runs as, usually postgres',
      ]
    case '28000': // invalid_authorization_specification: no such role, peer authentication failed, no line in pg_hba.conf
    case '28P01':
      return [
        'is the command run as the right user, usually postgres?',
        'set pg1-user to a role that exists, and let pg_hba.conf admit it on local connections',
      ]
    case '3D000':
      return ['set pg1-database to a database that exists']
    case '57P03':
      return ['the server is starting up, shutting down or recovering: try again when it accepts connections']
    case '53300':
      return ['raise max_connections, or leave superuser_reserved_connections for pgts']
    default:
      return ['is PostgreSQL running?', 'the log of PostgreSQL says more']
  }
}

/** [057] for a statement that failed. The statement is in the message, its values are not. */
export function queryError(error: unknown, sql: string): PgtsError {
  const statement = sql.replace(/\s+/g, ' ').trim()
  return new PgtsError('db-query', `unable to execute query '${statement}': ${messageOf(error)}`, {
    hints: queryHints(error),
    cause: error,
  })
}

function queryHints(error: unknown): string[] {
  switch (codeOf(error)) {
    case '42501': // insufficient_privilege
      return [
        'is the role of pg1-user a superuser, or has it been granted what it needs?',
        'needed: execute on the functions that start and stop a backup, switch WAL and create a restore point; pg_read_all_settings',
      ]
    case '57014': // query_canceled
      return ['the server needed longer than db-timeout: raise it', 'a checkpoint can take long: try start-fast']
    case '57P01': // admin_shutdown
    case '57P02':
    case '57P03':
      return ['the server was stopped or restarted while the command was running']
    case '55000': // object_not_in_prerequisite_state: wal_level, or a standby that cannot do this
      return ['is wal_level replica or logical?', 'is the server a primary?']
    case '':
    case 'ECONNRESET':
    case 'EPIPE':
      return [
        'the connection was lost while the query was running',
        'the log of PostgreSQL says whether it crashed, was restarted or ended the session (idle_session_timeout)',
      ]
    default:
      return []
  }
}
