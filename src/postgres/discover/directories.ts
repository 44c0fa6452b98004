import { readdirSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { textPath } from '../../util/byte-string.ts'
import { readSmallFile } from './small-file.ts'

/** Where packages put the data directory. `*` is any name. */
const USUAL_PLACES = [
  '/var/lib/postgresql/*/*',
  '/var/lib/postgresql/*',
  '/var/lib/pgsql/*/data',
  '/var/lib/pgsql/data',
  '/usr/local/pgsql/data',
]

/** Debian keeps postgresql.conf of a cluster here; it names the data directory. */
const DEBIAN_CONFIGURATION = '/etc/postgresql/*/*'

/**
 * Data directories of the usual places and of PGDATA that this user can read, running or not.
 *
 * @param root prefix of every path, for tests
 */
export function usualDataDirectories(pgdata: string | undefined, root = ''): string[] {
  const named = pgdata === undefined || pgdata === '' ? [] : [dataDirectoryOf(pgdata)]
  const debian = matches(`${root}${DEBIAN_CONFIGURATION}`).map(dataDirectoryOf)
  const places = USUAL_PLACES.flatMap((place) => matches(`${root}${place}`))
  return [...new Set([...named, ...debian, ...places].filter(isDataDirectory))]
}

export function isDataDirectory(path: string): boolean {
  return exists(`${path}/PG_VERSION`) && exists(`${path}/global/pg_control`)
}

/** The data directory that a configuration directory names; a data directory itself otherwise. */
export function dataDirectoryOf(directory: string): string {
  const conf = readSmallFile(`${directory}/postgresql.conf`) ?? ''
  const [, quoted] = /^[ \t]*data_directory[ \t]*=?[ \t]*'([^']+)'/m.exec(conf) ?? []
  return quoted === undefined ? directory : resolve(directory, quoted)
}

function matches(pattern: string): string[] {
  const at = pattern.indexOf('*')
  if (at === -1) return [pattern]
  const before = pattern.slice(0, at)
  return namesIn(before).flatMap((name) => matches(`${before}${name}${pattern.slice(at + 1)}`))
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}

function exists(path: string): boolean {
  try {
    return statSync(textPath(path)).isFile()
  } catch {
    return false
  }
}
