import { existsSync, readFileSync } from 'node:fs'
import { bytes, pathOf, type ByteString } from '../util/byte-string.ts'

/** Default directories of the socket in packages of PostgreSQL. */
const USUAL_DIRECTORIES = ['/var/run/postgresql', '/tmp']

/** Content of postmaster.pid of a running server. */
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
export function readPostmasterFile(dataDirectory: ByteString): PostmasterFile | undefined {
  let lines: string[]
  try {
    lines = readFileSync(pathOf(bytes`${dataDirectory}/postmaster.pid`), 'utf8').split('\n')
  } catch {
    return undefined // not running, or not readable: use the default directories
  }
  return { pid: Number(lines[0]), port: Number(lines[3]), socketDirectory: lines[4] ?? '' }
}

/** Directory of the unix socket: from postmaster.pid, else the default directory that has one. */
export function findSocketDirectory(dataDirectory: ByteString | undefined, port: number): string {
  const postmaster = dataDirectory === undefined ? undefined : readPostmasterFile(dataDirectory)
  if (postmaster !== undefined && postmaster.socketDirectory.startsWith('/')) return postmaster.socketDirectory
  return USUAL_DIRECTORIES.find((directory) => existsSync(`${directory}/.s.PGSQL.${port}`)) ?? USUAL_DIRECTORIES[0]!
}

/** True if this is the default directory of the socket, for which libpq searches `localhost` in .pgpass. */
export function isUsualDirectory(directory: string): boolean {
  return USUAL_DIRECTORIES.includes(directory)
}
