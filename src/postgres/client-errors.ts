import { bytesToText, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { NoPasswordError } from './libpq/authentication.ts'
import { readPostmasterFile } from './socket.ts'

/** SQLSTATE of an error the server sent, or the code of a system error. */
function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  return typeof code === 'string' ? code : ''
}

function messageOf(error: unknown): string {
  // An attempt with several addresses fails with an empty message; `errors` has the reasons.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}

/** [056] for a failed connection, with hints for its reason. */
export function connectError(
  error: unknown,
  where: {
    readonly socketPath: string
    readonly port: number
    readonly database: string
    readonly dataDirectory?: ByteString
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

/** A socket error of Node as a message; a message of the server unchanged. */
function connectReason(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return 'the socket does not exist'
    case 'ECONNREFUSED':
      return 'no server listens on it'
    case 'EACCES':
      return 'permission denied'
    default:
      return messageOf(error)
  }
}

function connectHints(error: unknown, where: { readonly port: number; readonly dataDirectory?: ByteString }): string[] {
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
        return [`postmaster.pid in ${bytesToText(where.dataDirectory!)} contains port ${running.port}: check pg1-port`]
      }
      return [
        'check that PostgreSQL is running',
        'compare pg1-socket-path and pg1-port with unix_socket_directories and port of the server',
      ]
    }
    case 'EACCES':
      return [
        'run pgts as the user that PostgreSQL runs as, usually postgres: this user cannot access the directory of the socket',
      ]
    case '28000': // invalid_authorization_specification: no such role, peer authentication failed, no line in pg_hba.conf
    case '28P01':
      return [
        'run the command as the user that PostgreSQL runs as, usually postgres',
        'set pg1-user to a role that exists, and let pg_hba.conf admit it on local connections',
      ]
    case '3D000':
      return ['set pg1-database to a database that exists']
    case '57P03':
      return ['the server is starting up, shutting down or recovering: try again when it accepts connections']
    case '53300':
      return ['raise max_connections, or leave superuser_reserved_connections for pgts']
    default:
      return ['check that PostgreSQL is running', 'see the log of PostgreSQL']
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
        'check the privileges of the role pg1-user (superuser, or the grants below)',
        'needed: execute on the functions that start and stop a backup, switch WAL and create a restore point; pg_read_all_settings',
      ]
    case '57014': // query_canceled
      return ['raise db-timeout: the server needed longer', 'set start-fast: a checkpoint can take long']
    case '57P01': // admin_shutdown
    case '57P02':
    case '57P03':
      return ['the server was stopped or restarted while the command was running']
    case '55000': // object_not_in_prerequisite_state: wal_level, or a standby that cannot do this
      return ['check that wal_level is replica or logical', 'check that the server is a primary']
    case '':
    case 'ECONNRESET':
    case 'EPIPE':
      return [
        'the connection was lost while the query was running',
        'see the log of PostgreSQL: a crash, a restart, or the end of an idle session (idle_session_timeout)',
      ]
    default:
      return []
  }
}
