import { PgtsError } from '../../util/error.ts'
import { readPasswordFile, type PasswordKey } from './password-file.ts'
import type { LibpqSettings } from './settings.ts'

/** Authentication methods of a server, by their names in `require_auth`. */
export type AuthenticationMethod = 'none' | 'password' | 'md5' | 'scram-sha-256'

const METHODS: readonly string[] = ['none', 'password', 'md5', 'scram-sha-256', 'gss', 'sspi', 'oauth']

/** The server asks for a password and there is none; the message is libpq's. */
export class NoPasswordError extends Error {
  /** @param problems problems of the password file, as hints */
  constructor(readonly problems: readonly string[]) {
    super('no password supplied')
  }
}

/**
 * Which methods `require_auth` accepts.
 *
 * @param value comma-separated methods; each with `!` in front, or none
 * @returns whether a method is accepted
 * @see PostgreSQL, documentation of libpq: require_auth
 */
export function acceptedMethods(value: string | undefined): (method: AuthenticationMethod) => boolean {
  if (value === undefined) return () => true
  const words = value.split(',').map((word) => word.trim())
  const negated = words.filter((word) => word.startsWith('!'))
  const names = words.map((word) => word.replace(/^!/, ''))
  const unknown = names.find((name) => !METHODS.includes(name))
  if (unknown !== undefined || (negated.length > 0 && negated.length < words.length)) {
    throw new PgtsError('db-connect', `invalid require_auth (PGREQUIREAUTH) '${value}'`)
  }
  return (method) => names.includes(method) === (negated.length === 0)
}

/**
 * The password for a server that requests one: PGPASSWORD or the service, else the password file. Called only then, so
 * that an unneeded file is not read.
 *
 * Errors: NoPasswordError.
 */
export async function findPassword(settings: LibpqSettings, key: PasswordKey): Promise<string> {
  if (settings.password !== undefined) return settings.password
  const found = settings.passFile === undefined ? {} : await readPasswordFile(settings.passFile, key)
  if (found.password !== undefined && found.password !== '') return found.password
  throw new NoPasswordError(found.problem === undefined ? [] : [found.problem])
}
