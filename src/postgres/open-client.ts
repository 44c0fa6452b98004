import type { Client } from 'pg'
import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { acceptedMethods, findPassword, type AuthenticationMethod } from './libpq/authentication.ts'
import type { PasswordKey } from './libpq/password-file.ts'
import { libpqSettings, requirePeer, systemUserName, type Environment } from './libpq/settings.ts'
import { localOwnerNames } from '../util/owner-names.ts'
import { findSocketDirectory, isUsualDirectory } from './socket.ts'
import type { ByteString } from '../util/byte-string.ts'

/** How to reach the server of a cluster on this host. */
export interface ConnectionOptions {
  readonly port: number
  /** Directory of the unix socket. Default: what the server wrote into postmaster.pid, else the usual places. */
  readonly socketPath?: string
  readonly database: string
  /** Default: the name of the user that runs this process (PGUSER, as libpq does, wins over it). */
  readonly user?: string
  /** Data directory (byte string), to find the socket and for messages. */
  readonly dataDirectory?: ByteString
  /** Name of the command: pg_stat_activity shows `pgts [backup]`. */
  readonly command: string
  /** For connecting, and for each query. */
  readonly timeoutMs: number
  /** Variables that libpq would read; see libpq/parameters.ts. */
  readonly env: Environment
  readonly signal?: AbortSignal
}

/** An unconnected client of the driver, and its destination. */
export interface UnconnectedClient {
  readonly client: Client
  readonly socketPath: string
  /** Within db-timeout, PGCONNECT_TIMEOUT. */
  readonly connectTimeoutMs: number
  /** `target_session_attrs` of the environment. */
  readonly targetSessionAttrs?: string
}

/** Events of the driver's connection that its types leave out. */
interface AuthenticationEvents {
  on(event: string, listener: () => unknown): void
  emit(event: 'error', error: Error): void
}

/**
 * Prepare a connection to the Unix-domain socket of a cluster, with the settings that libpq takes from the environment.
 *
 * Errors: [056] for an unsupported variable, [032] for a socket path that is not absolute.
 */
export async function openClient(options: ConnectionOptions): Promise<UnconnectedClient> {
  // The driver is loaded only here: archive-push does not need it.
  const { default: pg } = await loadModule(() => import('pg'))
  const settings = libpqSettings(options.env)
  const socketPath = (options.socketPath ?? findSocketDirectory(options.dataDirectory, options.port)).replace(
    /(?<=.)\/+$/,
    '',
  )
  if (!socketPath.startsWith('/')) {
    throw new PgtsError('option-invalid-value', `pg1-socket-path '${socketPath}' must be an absolute path`, {
      hints: ['add a directory to unix_socket_directories of the server: abstract sockets (@...) are not supported'],
    })
  }
  if (settings.requirePeer !== undefined) {
    const names = localOwnerNames()
    requirePeer(`${socketPath}/.s.PGSQL.${options.port}`, settings.requirePeer, (uid) => names.user(uid) || undefined)
  }
  const connectTimeoutMs = Math.min(options.timeoutMs, settings.connectTimeoutMs ?? Infinity)
  const user = options.user ?? settings.user ?? systemUserName()
  const method = new RequiredMethod(settings.requireAuth)
  // Every setting is given, because the driver would read some variables with another meaning (PGSSLMODE on a socket).
  const client = new pg.Client({
    host: socketPath,
    port: options.port,
    database: options.database,
    user,
    password: async () => {
      method.assertAccepted()
      return findPassword(settings, passwordKey(options, socketPath, user))
    },
    ssl: false,
    client_encoding: 'UTF8',
    options: settings.options,
    application_name: `pgts [${options.command}]`,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
  })
  method.watch(client)
  return {
    client,
    socketPath,
    connectTimeoutMs,
    targetSessionAttrs: settings.targetSessionAttrs,
  }
}

/** The matching line of a password file. Without a host libpq looks for `localhost`, as for its default directory. */
function passwordKey(options: ConnectionOptions, socketPath: string, user: string): PasswordKey {
  const local = options.socketPath === undefined || isUsualDirectory(socketPath)
  const hosts = local ? [socketPath, 'localhost'] : [socketPath]
  return { hosts, port: options.port, database: options.database, user }
}

/** The authentication method that the server asks for, compared with `require_auth` before a password is sent. */
class RequiredMethod {
  readonly #required: string | undefined
  readonly #accepts: (method: AuthenticationMethod) => boolean
  #asked: AuthenticationMethod | undefined

  constructor(required: string | undefined) {
    this.#required = required
    this.#accepts = acceptedMethods(required)
  }

  watch(client: Client): void {
    if (this.#required === undefined) return
    const { connection } = client as unknown as { connection: AuthenticationEvents }
    connection.on('authenticationCleartextPassword', () => (this.#asked = 'password'))
    connection.on('authenticationMD5Password', () => (this.#asked = 'md5'))
    connection.on('authenticationSASL', () => (this.#asked = 'scram-sha-256'))
    connection.on('authenticationOk', () => {
      if (this.#asked === undefined && !this.#accepts('none')) connection.emit('error', this.#refusal('none'))
    })
  }

  /** The driver asks for the password only after one of the events above. */
  assertAccepted(): void {
    if (this.#asked !== undefined && !this.#accepts(this.#asked)) throw this.#refusal(this.#asked)
  }

  #refusal(method: AuthenticationMethod): Error {
    const what =
      method === 'none' ? 'server did not complete authentication' : `server requested ${method} authentication`
    return new Error(`authentication method requirement '${this.#required}' failed: ${what}`)
  }
}
