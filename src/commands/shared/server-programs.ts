import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { PgtsError } from '../../util/error.ts'
import { isExecutable } from '../../util/is-executable.ts'
import type { Owner } from '../init/owner.ts'

/** Directories of packages with the programs of a server; `*` is the version. */
const USUAL_PLACES = [
  '/usr/lib/postgresql/*/bin',
  '/usr/pgsql-*/bin',
  '/usr/local/pgsql/bin',
  '/usr/lib/postgresql/bin',
]

/** The directory of initdb and postgres: the given one, the newest of the packages, else that of the PATH. Errors: [055]. */
export function serverPrograms(given: string | undefined, path: string | undefined): string {
  const places = given === undefined ? [...usual(), ...(path ?? '').split(':')] : [given]
  const found = places.find(
    (place) => place !== '' && ['initdb', 'postgres'].every((name) => isExecutable(`${place}/${name}`)),
  )
  if (found !== undefined) return found
  throw new PgtsError(
    'file-missing',
    `${given ?? 'this host'} has no programs of a PostgreSQL server (initdb, postgres)`,
    {
      hints: [
        'install a package with the server, for example postgresql',
        'name their directory: --binaries=DIRECTORY',
      ],
    },
  )
}

/**
 * The directory of a `postgres` of this major version: the given one, that of the running server, those of packages, or of the PATH. Errors: [055].
 *
 * @param running directory of the programs of a server that runs
 */
export function serverProgramsOf(
  major: number,
  { given, running, path }: { readonly given?: string; readonly running?: string; readonly path?: string },
): string {
  const searched = [...(running === undefined ? [] : [running]), ...usual(), ...(path ?? '').split(':')]
  const places = given === undefined ? searched : [given]
  const found = places.find((place) => place !== '' && majorOfProgram(`${place}/postgres`) === major)
  if (found !== undefined) return found
  const where = given === undefined ? 'this host' : `'${given}'`
  throw new PgtsError('file-missing', `${where} has no server of PostgreSQL ${major}, the version of the backup`, {
    hints: [
      `install its package, for example postgresql-${major}`,
      'name the directory of its programs: --binaries=DIRECTORY',
    ],
  })
}

/** Undefined if it cannot be run. */
function majorOfProgram(program: string): number | undefined {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [, major] = /\(PostgreSQL\) (\d+)/.exec(stdout ?? '') ?? []
  return major === undefined ? undefined : Number(major)
}

function usual(): string[] {
  return USUAL_PLACES.flatMap((place) => {
    const at = place.indexOf('*')
    if (at === -1) return [place]
    const parent = dirname(place.slice(0, at + 1))
    const prefix = place.slice(parent.length + 1, at)
    const versions = namesIn(parent).flatMap((name) =>
      /^\d+$/.test(name.slice(prefix.length)) && name.startsWith(prefix) ? [Number(name.slice(prefix.length))] : [],
    )
    return versions.sort((a, b) => b - a).map((version) => place.replace('*', String(version)))
  })
}

/** The user of the demo: PostgreSQL refuses to run as root, so root takes `postgres`, else `nobody`. */
export function demoUser(): Owner {
  if (process.geteuid?.() !== 0) {
    const { uid, gid, username } = userInfo()
    return { uid, gid, name: username }
  }
  const rows = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  const row = rows.find(([name]) => name === 'postgres') ?? rows.find(([name]) => name === 'nobody')
  if (row?.[0] === undefined)
    throw new PgtsError('user-missing', 'there is no user to run PostgreSQL as: run the demo as another user than root')
  return { uid: Number(row[2]), gid: Number(row[3]), name: row[0] }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
