import { lstat, readFile, readlink, realpath, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { hasStrayBytes, textPath } from '../../../util/byte-string.ts'
import { programName } from '../../../util/program-name.ts'

/**
 * Lets `bin/pgts` answer archive-push and archive-get from the spool without starting Node: a small file in
 * archive_status, written after Node has checked configuration, cluster and spool. The launcher uses it only if
 * everything in it is unchanged; see docs/decisions/0008-launcher.md for each line and its reason.
 */
export interface LaunchHint {
  /** The data directory without links. */
  readonly pgData: string
  /** Who answers: files of the spool, or a resident process on request. */
  readonly mode: LaunchMode
  /** The owner directory of the spool, or the directory of the resident process. */
  readonly spool: string
  /** Directory of stop files. */
  readonly lockPath: string
  /** First and third line of postmaster.pid: they identify one start of one server. */
  readonly server: { readonly pid: string; readonly started: string }
  readonly environment: LaunchEnvironment
  /** Files and directories that must be older than the hint: a newer one may have changed the configuration. */
  readonly dependencies: readonly string[]
  /** The arguments of the call; undefined in place of a parameter of the command. */
  readonly callPattern: readonly (string | undefined)[]
}

export type LaunchMode = 'spool' | 'resident'

/** First line of the hint. */
const FORMATS: Record<LaunchMode, string> = { spool: 'pgts-launch 2', resident: 'pgts-resident 1' }

export type LaunchCommand = 'archive-push' | 'archive-get'

/** The launcher reads byte by byte while PostgreSQL waits, so everything it reads is bounded. */
const MAX_DEPENDENCIES = 60
const MAX_ARGUMENTS = 60
const MAX_BYTES = 8192

/** @returns undefined if a value is not possible: without a hint every call starts Node */
export function serialiseLaunchHint(hint: LaunchHint): string | undefined {
  const { mode, pgData, spool, lockPath, server, dependencies, callPattern } = hint
  if (dependencies.length > MAX_DEPENDENCIES || callPattern.length > MAX_ARGUMENTS) return undefined
  const paths = [pgData, spool, lockPath, ...dependencies]
  if (!paths.every((path) => path.startsWith('/'))) return undefined
  if (!/^[1-9][0-9]*$/.test(server.pid) || !/^[0-9]+$/.test(server.started)) return undefined
  const lines = [
    FORMATS[mode],
    String(callPattern.length),
    ...callPattern.map((word) => (word === undefined ? '%' : `=${word}`)),
    pgData,
    server.pid,
    server.started,
    hint.environment.furtherKeys.join(' '),
    hint.environment.line,
    spool,
    lockPath,
    String(dependencies.length),
    ...dependencies,
    'end',
  ]
  // Writing the file would change bytes that are not UTF-8.
  if (lines.some((line) => /[\0\r\n\ufffd]/.test(line) || hasStrayBytes(line))) return undefined
  const text = lines.map((line) => `${line}\n`).join('')
  return Buffer.byteLength(text) > MAX_BYTES ? undefined : text
}

/** Path of the hint for a stanza; undefined if the name of the stanza cannot be part of a file name. */
export function launchHintPath(pgData: string, stanza: string, command: LaunchCommand): string | undefined {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(stanza)) return undefined
  return `${pgData}/pg_wal/archive_status/${stanza}.pgts-${command === 'archive-push' ? 'push' : 'get'}`
}

export interface LaunchHintRequest {
  readonly command: LaunchCommand
  readonly stanza: string
  readonly mode: LaunchMode
  /** As configured. */
  readonly pgPath: string
  readonly spool: string
  readonly lockPath: string
  /** Files and directories that were searched for the configuration, found or not. */
  readonly configLooked: readonly string[]
  readonly environment: LaunchEnvironment
  readonly callPattern: readonly (string | undefined)[]
  /** Start of this process, before it read any configuration; ms since 1970. */
  readonly startedMs: number
}

/**
 * Write the hint, atomically. Its modification time is the start of this process, so that a file is newer if it changed
 * while this process was reading it. A missing hint only costs time, so this does not throw.
 *
 * @returns whether the hint exists now
 */
export async function writeLaunchHint(request: LaunchHintRequest): Promise<boolean> {
  const { command, stanza, mode, spool, lockPath, environment, callPattern, startedMs } = request
  let temporary: string | undefined
  try {
    // A relative path means another file in a call from another directory.
    if (!request.configLooked.every((path) => path.startsWith('/'))) return false
    const pgData = await realpath(request.pgPath)
    const path = launchHintPath(pgData, stanza, command)
    if (path === undefined) return false
    const server = await readServer(pgData, startedMs)
    if (server === undefined) return false
    const dependencies = await dependenciesOf([
      ...request.configLooked,
      // archive_command and restore_command may set variables in front of the program.
      `${pgData}/postgresql.conf`,
      `${pgData}/postgresql.auto.conf`,
      ...(server.configFile === undefined ? [] : [server.configFile]),
    ])
    const text = serialiseLaunchHint({ mode, pgData, spool, lockPath, server, environment, dependencies, callPattern })
    if (text === undefined) {
      await rm(path, { force: true })
      return false
    }
    temporary = `${path}.${process.pid}.tmp`
    await writeFile(temporary, text, { mode: 0o600, flag: 'w' })
    await utimes(temporary, startedMs / 1000, startedMs / 1000)
    await rename(temporary, path)
    return true
  } catch {
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => undefined)
    return false
  }
}

/** The next call then starts Node, which checks everything again. */
export async function removeLaunchHint(pgPath: string, stanza: string, command: LaunchCommand): Promise<void> {
  const path = launchHintPath(pgPath, stanza, command)
  if (path !== undefined) await rm(textPath(path), { force: true }).catch(() => undefined)
}

/** postmaster.pid: pid, data directory, start time, ... one a line. undefined: it is missing, or newer than this process. */
async function readServer(
  pgData: string,
  startedMs: number,
): Promise<{ pid: string; started: string; configFile?: string } | undefined> {
  const path = `${pgData}/postmaster.pid`
  if ((await stat(path)).mtimeMs >= startedMs) return undefined
  const [pid, , started] = (await readFile(path, 'utf8')).split('\n')
  if (pid === undefined || started === undefined) return undefined
  // Debian and others keep postgresql.conf elsewhere and name it on the command line.
  const options = await readFile(`${pgData}/postmaster.opts`, 'utf8').catch(() => '')
  const configFile = /config_file=(\/[^"]+)"/.exec(options)?.[1]
  return { pid, started, configFile }
}

/**
 * The files and directories whose modification time changes when one of these paths leads to other content: the file (it is
 * written to), its directory (another file is renamed over it), the directory of each link on the path (the link is
 * replaced), and for a missing file the deepest directory that exists.
 *
 * @param paths absolute
 * @returns absolute paths that exist, each once, sorted
 */
export async function dependenciesOf(paths: readonly string[]): Promise<readonly string[]> {
  const dependencies = new Set<string>()
  for (const path of paths) await follow(resolve('/', path), dependencies, 40)
  return [...dependencies].sort()
}

async function follow(path: string, dependencies: Set<string>, linksLeft: number): Promise<void> {
  const names = path.split('/').filter((name) => name !== '')
  let at = '/'
  for (const [i, name] of names.entries()) {
    const here = join(at, name)
    const found = await lstat(here).catch(() => undefined)
    if (found === undefined) {
      dependencies.add(at)
      return
    }
    if (found.isSymbolicLink()) {
      dependencies.add(at)
      if (linksLeft === 0) return
      const target = resolve(at, await readlink(here))
      return follow(join(target, ...names.slice(i + 1)), dependencies, linksLeft - 1)
    }
    at = here
  }
  dependencies.add(path)
  dependencies.add(dirname(path))
}

/** bin/pgts compares the variables of these repositories in every call, of others only if the hint names them. */
const FIXED_KEYS = [1, 2, 3, 4]
const PREFIXES = ['PGTS', 'PGBACKREST']

/**
 * The variables that determine where WAL is stored and that bin/pgts compares in every call, in this order. A test compares
 * the list with bin/pgts.
 */
export const fixedVariables: readonly string[] = withPrefixes([
  'CONFIG',
  'CONFIG_PATH',
  'CONFIG_INCLUDE_PATH',
  'STANZA',
  'ARCHIVE_ASYNC',
  'SPOOL_PATH',
  'LOCK_PATH',
  'PG1_PATH',
  ...FIXED_KEYS.flatMap(repositoryOptions),
])

/** The part of the environment that a hint was written for. */
export interface LaunchEnvironment {
  /** Configured repositories beyond repo4: their variables follow those of `fixedVariables`. */
  readonly furtherKeys: readonly number[]
  /** Program name and values, separated by `|`. A line break: no hint is possible for this environment. */
  readonly line: string
}

/**
 * @param program path of the program; its name determines where the configuration is
 * @param repoKeys of all configured repositories
 */
export function launchEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  program: string,
  repoKeys: readonly number[],
): LaunchEnvironment {
  const furtherKeys = repoKeys.filter((key) => !FIXED_KEYS.includes(key))
  const names = [...fixedVariables, ...furtherKeys.flatMap((key) => withPrefixes(repositoryOptions(key)))]
  const values = names.map((name) => env[name])
  const line = values.some((value) => value?.includes('|'))
    ? '\n'
    : [programName(program), ...values.map((value) => (value === undefined ? '' : `=${value}`))].join('|')
  return { furtherKeys, line }
}

function repositoryOptions(key: number): string[] {
  return [`REPO${key}_PATH`, `REPO${key}_TYPE`, `REPO${key}_HOST`]
}

function withPrefixes(options: readonly string[]): string[] {
  return PREFIXES.flatMap((prefix) => options.map((option) => `${prefix}_${option}`))
}
