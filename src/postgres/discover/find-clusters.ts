import { readdirSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { textPath } from '../../util/byte-string.ts'
import { dataDirectoryOf, isDataDirectory, usualDataDirectories } from './directories.ts'
import { runningPostmasters, type Postmaster } from './processes.ts'
import { readSmallFile } from './small-file.ts'

/** A cluster on this host. */
export interface LocalCluster {
  /** Absolute, as text. */
  readonly dataDirectory: string
  /** Major version: `15`. */
  readonly version: string
  /** Owner of the data directory: the user that the server runs as. */
  readonly uid: number
  readonly gid: number
  /** Of postmaster.pid; undefined if no server runs. */
  readonly port?: number
  /** Directory of its socket; undefined if no server runs, or if it has none. */
  readonly socketDirectory?: string
  readonly postmaster?: Postmaster
}

/** What the search found. */
export interface FoundClusters {
  readonly clusters: readonly LocalCluster[]
  /** Servers whose data directory this user cannot read. */
  readonly unreadable: readonly Postmaster[]
}

export interface SearchPlaces {
  /** PGDATA. */
  readonly pgdata?: string
  /** PGHOST, if it is a directory. */
  readonly socketDirectory?: string
  /** For tests. */
  readonly proc?: string
  readonly root?: string
}

/** Searches running servers, the lock files of sockets, PGDATA and the usual directories; sorted by path. */
export function findLocalClusters(places: SearchPlaces): FoundClusters {
  const postmasters = runningPostmasters(places.proc)
  const root = places.root ?? ''
  const sockets = [`${root}/var/run/postgresql`, `${root}/tmp`, places.socketDirectory].filter((d) => d !== undefined)
  const candidates = [
    ...postmasters.map(directoryOf),
    ...sockets.flatMap(directoriesOfSockets),
    ...usualDataDirectories(places.pgdata, root),
  ]
  const found = new Map<string, LocalCluster>()
  for (const path of candidates) {
    const cluster = path === undefined || !isDataDirectory(path) ? undefined : describeCluster(path, postmasters)
    // The same directory by another path.
    if (cluster !== undefined && !found.has(identity(cluster.dataDirectory)))
      found.set(identity(cluster.dataDirectory), cluster)
  }
  const seen = new Set([...found.values()].map(({ postmaster }) => postmaster?.pid))
  return {
    clusters: [...found.values()].sort((a, b) => (a.dataDirectory < b.dataDirectory ? -1 : 1)),
    unreadable: postmasters.filter(({ pid }) => !seen.has(pid)),
  }
}

/** The cluster in this data directory; undefined if it is none, or cannot be read. */
export function clusterIn(path: string, proc?: string): LocalCluster | undefined {
  const directory = dataDirectoryOf(path)
  return isDataDirectory(directory) ? describeCluster(directory, runningPostmasters(proc)) : undefined
}

function describeCluster(dataDirectory: string, postmasters: readonly Postmaster[]): LocalCluster {
  const { uid, gid } = statSync(textPath(dataDirectory))
  const lines = (readSmallFile(`${dataDirectory}/postmaster.pid`) ?? '').split('\n')
  const pid = Number(lines[0])
  const postmaster = postmasters.find((one) => one.pid === pid)
  const version = (readSmallFile(`${dataDirectory}/PG_VERSION`) ?? '').trim()
  const cluster = { dataDirectory, version, uid, gid }
  // postmaster.pid remains after a crash.
  if (postmaster === undefined) return cluster
  const socketDirectory = lines[4] === '' ? undefined : lines[4]
  return { ...cluster, port: Number(lines[3]), socketDirectory, postmaster }
}

/** The working directory of a postmaster, else its -D. */
function directoryOf({ args, workingDirectory }: Postmaster): string | undefined {
  if (workingDirectory !== undefined) return workingDirectory
  const at = args.findIndex((word) => word.startsWith('-D'))
  if (at === -1) return undefined
  const given = args[at] === '-D' ? args[at + 1] : args[at]?.slice(2)
  return given === undefined || !given.startsWith('/') ? undefined : dataDirectoryOf(given)
}

/** The second line of a socket's lock file is the data directory. */
function directoriesOfSockets(directory: string): string[] {
  return namesIn(directory)
    .filter((name) => /^\.s\.PGSQL\.\d+\.lock$/.test(name))
    .flatMap((name) => {
      const path = readSmallFile(`${directory}/${name}`)?.split('\n')[1]
      return path === undefined || !path.startsWith('/') ? [] : [resolve(path)]
    })
}

function identity(path: string): string {
  const { dev, ino } = statSync(textPath(path))
  return `${dev}:${ino}`
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
