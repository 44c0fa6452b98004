import { existsSync, readFileSync } from 'node:fs'
import { pathOf } from '../util/byte-string.ts'

/** Where packages of PostgreSQL put the socket when nothing else is said. */
const USUAL_DIRECTORIES = ['/var/run/postgresql', '/tmp']

/** What a running server wrote about itself; undefined where there is no postmaster.pid. */
export interface PostmasterFile {
  readonly pid: number
  readonly port: number
  /** First of unix_socket_directories; '' when there is none. */
  readonly socketDirectory: string
}

/**
 * postmaster.pid of a data directory (byte string).
 * @see PostgreSQL, src/include/utils/pidfile.h
 */
export function readPostmasterFile(dataDirectory: string): PostmasterFile | undefined {
  let lines: string[]
  try {
    lines = readFileSync(pathOf(`${dataDirectory}/postmaster.pid`), 'utf8').split('\n')
  } catch {
    return undefined // not running, or not ours to read: the usual places are tried then
  }
  return { pid: Number(lines[0]), port: Number(lines[3]), socketDirectory: lines[4] ?? '' }
}

/** Directory of the unix socket: as the server says, else the usual place that has one. */
export function findSocketDirectory(dataDirectory: string | undefined, port: number): string {
  const postmaster = dataDirectory === undefined ? undefined : readPostmasterFile(dataDirectory)
  if (postmaster !== undefined && postmaster.socketDirectory.startsWith('/')) return postmaster.socketDirectory
  return USUAL_DIRECTORIES.find((directory) => existsSync(`${directory}/.s.PGSQL.${port}`)) ?? USUAL_DIRECTORIES[0]!
}

/** Is this the directory of the socket where nothing else is configured? libpq then looks for `localhost` in .pgpass. */
export function isUsualDirectory(directory: string): boolean {
  return USUAL_DIRECTORIES.includes(directory)
}
