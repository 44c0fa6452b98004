import { readFileSync } from 'node:fs'
import { PgtsError } from '../../util/error.ts'
import { LIBPQ_PARAMETERS } from './parameters.ts'

const KEYWORDS = new Set(LIBPQ_PARAMETERS.map(({ keyword }) => keyword).filter((keyword) => keyword !== 'servicefile'))

/** Where libpq looks for a service, in order. */
export interface ServiceFiles {
  /** PGSERVICEFILE: if set, the only user file, and it must exist. */
  readonly named?: string
  /** `~/.pg_service.conf`, where there is a home directory. */
  readonly ofUser?: string
  /** Directories of the system-wide `pg_service.conf`: PGSYSCONFDIR, else the directories of PostgreSQL packages. */
  readonly systemDirectories: readonly string[]
}

/**
 * The parameters of one service: keyword to value. The user file takes precedence over the system file.
 *
 * Errors: [056] when no file defines it, a file cannot be read, or its syntax is wrong.
 * @see PostgreSQL, src/interfaces/libpq/fe-connect.c: parseServiceInfo
 */
export function readService(service: string, files: ServiceFiles): ReadonlyMap<string, string> {
  if (files.named !== undefined) {
    const text = readIfPresent(files.named)
    if (text === undefined) throw new PgtsError('db-connect', `service file '${files.named}' not found`)
    const found = parseService(text, service, files.named)
    if (found !== undefined) return found
  } else if (files.ofUser !== undefined) {
    const text = readIfPresent(files.ofUser)
    const found = text === undefined ? undefined : parseService(text, service, files.ofUser)
    if (found !== undefined) return found
  }
  for (const directory of files.systemDirectories) {
    const name = `${directory}/pg_service.conf`
    const text = readIfPresent(name)
    const found = text === undefined ? undefined : parseService(text, service, name)
    if (found !== undefined) return found
  }
  throw new PgtsError('db-connect', `definition of service '${service}' not found`, {
    hints: ['define it in the service file, or unset PGSERVICE'],
  })
}

/** The parameters of `service` in the text of a service file; undefined if it has no such section. */
export function parseService(text: string, service: string, fileName: string): Map<string, string> | undefined {
  let found: Map<string, string> | undefined
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (found !== undefined) return found
      if (line.startsWith(`[${service}]`)) found = new Map()
      continue
    }
    if (found === undefined) continue
    const equals = line.indexOf('=')
    const keyword = line.slice(0, Math.max(equals, 0))
    const problem = problemOf(line, equals, keyword)
    if (problem !== undefined) {
      throw new PgtsError('db-connect', `${problem} in service file '${fileName}', line ${index + 1}`)
    }
    if (!found.has(keyword)) found.set(keyword, line.slice(equals + 1))
  }
  return found
}

/** What is wrong with a line of a section, without its value: that may be a password. */
function problemOf(line: string, equals: number, keyword: string): string | undefined {
  if (line.startsWith('ldap')) return 'LDAP lookup is not supported'
  if (equals < 0) return 'syntax error'
  if (keyword === 'service') return 'nested service specifications are not supported'
  return KEYWORDS.has(keyword) ? undefined : 'syntax error'
}

function readIfPresent(name: string): string | undefined {
  try {
    return readFileSync(name, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new PgtsError('db-connect', `cannot read service file '${name}': ${(error as Error).message}`, {
      cause: error,
    })
  }
}
