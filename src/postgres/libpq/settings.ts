import { statSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { PgtsError } from '../../util/error.ts'
import { LIBPQ_PARAMETERS } from './parameters.ts'
import { readService } from './service-file.ts'

/** Variables of a process, in the form of `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Connection settings from the environment and its service, for which pgts has no option. */
export interface LibpqSettings {
  readonly user?: string
  readonly password?: string
  /** Absolute or relative to the working directory; undefined if there is no home directory. */
  readonly passFile?: string
  readonly options?: string
  /** Undefined: as long as db-timeout. */
  readonly connectTimeoutMs?: number
  /** Name of the operating-system user that the server must run as. */
  readonly requirePeer?: string
  readonly requireAuth?: string
  readonly targetSessionAttrs?: string
}

/** Where Debian's packages and PostgreSQL's own build look for the system-wide service file. */
const SYSTEM_DIRECTORIES = ['/etc/postgresql-common', '/etc/sysconfig/pgsql', '/usr/local/pgsql/etc']

/**
 * Read the environment as libpq does: a value of the service comes before that of a variable.
 *
 * Errors: [056] with the variable or service parameter that is not supported.
 */
export function libpqSettings(env: Environment): LibpqSettings {
  const home = homeDirectory(env)
  const service = serviceOf(env, home)
  const values = new Map<string, string>()
  for (const row of LIBPQ_PARAMETERS) {
    const value = service.get(row.keyword) ?? (row.variable === undefined ? undefined : env[row.variable])
    if (value === undefined || value === '') continue
    const refusal = row.refusal?.(value)
    if (refusal !== undefined) throw refused(row.keyword, row.variable, service.has(row.keyword), value, refusal)
    values.set(row.keyword, value)
  }
  const passFile = values.get('passfile') ?? (home === undefined ? undefined : `${home}/.pgpass`)
  return {
    user: values.get('user'),
    password: values.get('password'),
    passFile,
    options: values.get('options'),
    connectTimeoutMs: connectTimeout(values.get('connect_timeout')),
    requirePeer: values.get('requirepeer'),
    requireAuth: values.get('require_auth'),
    targetSessionAttrs: values.get('target_session_attrs'),
  }
}

/** Name of the user that runs this process. Errors: [056] when its id has no name. */
export function systemUserName(): string {
  try {
    return userInfo().username
  } catch (cause) {
    throw new PgtsError('db-connect', `cannot connect to PostgreSQL: uid ${process.getuid?.()} has no name`, {
      hints: ['set pg1-user to a role of the server'],
      cause,
    })
  }
}

/** [056] when the server does not run as the user that `requirepeer` names: the user that made the socket owns its file. */
export function requirePeer(socket: string, name: string, ownerName: (uid: number) => string | undefined): void {
  const { uid } = statSync(socket)
  const actual = ownerName(uid) ?? `uid ${uid}`
  if (actual === name) return
  throw new PgtsError(
    'db-connect',
    `requirepeer (PGREQUIREPEER) specifies '${name}', but the server of ${socket} runs as '${actual}'`,
  )
}

function serviceOf(env: Environment, home: string | undefined): ReadonlyMap<string, string> {
  const name = env['PGSERVICE']
  if (name === undefined || name === '') return new Map()
  const [named, system] = [env['PGSERVICEFILE'], env['PGSYSCONFDIR']]
  return readService(name, {
    named: named === '' ? undefined : named,
    ofUser: home === undefined ? undefined : `${home}/.pg_service.conf`,
    systemDirectories: system === undefined || system === '' ? SYSTEM_DIRECTORIES : [system],
  })
}

function homeDirectory(env: Environment): string | undefined {
  if (env['HOME'] !== undefined && env['HOME'] !== '') return env['HOME']
  try {
    return homedir() || userInfo().homedir
  } catch {
    return undefined // an id without a name has no home directory
  }
}

/**
 * Milliseconds; undefined for no limit. libpq before 18 waits at least 2 seconds; pgts also accepts a shorter timeout.
 */
function connectTimeout(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const seconds = /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : NaN
  if (Number.isNaN(seconds) || Math.abs(seconds) > 2 ** 31 - 1) {
    throw new PgtsError('db-connect', `invalid connect_timeout (PGCONNECT_TIMEOUT) '${value}': not a whole number`)
  }
  return seconds <= 0 ? undefined : seconds * 1000
}

function refused(
  keyword: string,
  variable: string | undefined,
  fromService: boolean,
  value: string,
  reason: string,
): PgtsError {
  const name = fromService || variable === undefined ? `parameter '${keyword}' of the service` : variable
  // A value may be a secret; only short words are printed.
  const shown = value === 'require' || /^[\w.]{1,8}$/.test(value) ? `=${value}` : ''
  return new PgtsError('db-connect', `cannot connect to PostgreSQL as ${name}${shown} requires: ${reason}`, {
    hints: [fromService ? 'remove the parameter from the service file' : `unset ${name} for pgts`],
  })
}
