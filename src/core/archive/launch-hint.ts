import { readFile, realpath, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hasStrayBytes, textPath } from '../../util/byte-string.ts'
import type { LaunchEnvironment } from './launch-environment.ts'
import { witnessesOf } from './launch-witnesses.ts'

/**
 * What lets `bin/pgts` answer archive-push and archive-get from the spool without starting Node: a small file beside
 * PostgreSQL's own marks, written after Node has looked at configuration, cluster and spool. The launcher believes it
 * only while everything it names is as it was; see docs/decisions/0008-launcher.md for each line and its reason.
 */
export interface LaunchHint {
  /** The data directory without links. */
  readonly pgData: string
  /** `<spool-path>/archive/<stanza>` */
  readonly spool: string
  /** Where stop files are. */
  readonly lockPath: string
  /** First and third line of postmaster.pid: which life of which server. */
  readonly server: { readonly pid: string; readonly started: string }
  readonly environment: LaunchEnvironment
  /** Files and directories that are older than the hint, or the configuration may have changed. */
  readonly witnesses: readonly string[]
  /** The arguments of the call; undefined where a parameter of the command stands. */
  readonly callPattern: readonly (string | undefined)[]
}

export type LaunchCommand = 'archive-push' | 'archive-get'

/** Everything the launcher reads is bounded: it reads byte by byte, and PostgreSQL waits for it. */
const MAX_WITNESSES = 60
const MAX_ARGUMENTS = 60
const MAX_BYTES = 8192

/** @returns undefined when a value does not fit: then there is no hint, and every call starts Node */
export function serialiseLaunchHint(hint: LaunchHint): string | undefined {
  const { pgData, spool, lockPath, server, witnesses, callPattern } = hint
  if (witnesses.length > MAX_WITNESSES || callPattern.length > MAX_ARGUMENTS) return undefined
  const paths = [pgData, spool, lockPath, ...witnesses]
  if (!paths.every((path) => path.startsWith('/'))) return undefined
  if (!/^[1-9][0-9]*$/.test(server.pid) || !/^[0-9]+$/.test(server.started)) return undefined
  const lines = [
    'pgts-launch 2',
    String(callPattern.length),
    ...callPattern.map((word) => (word === undefined ? '%' : `=${word}`)),
    pgData,
    server.pid,
    server.started,
    hint.environment.furtherKeys.join(' '),
    hint.environment.line,
    spool,
    lockPath,
    String(witnesses.length),
    ...witnesses,
    'end',
  ]
  // Bytes that are no UTF-8 would not come back as they were.
  if (lines.some((line) => /[\0\r\n\ufffd]/.test(line) || hasStrayBytes(line))) return undefined
  const text = lines.map((line) => `${line}\n`).join('')
  return Buffer.byteLength(text) > MAX_BYTES ? undefined : text
}

/** Where the hint for a stanza lies; undefined when the stanza's name cannot be part of a file name. */
export function launchHintPath(pgData: string, stanza: string, command: LaunchCommand): string | undefined {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(stanza)) return undefined
  return `${pgData}/pg_wal/archive_status/${stanza}.pgts-${command === 'archive-push' ? 'push' : 'get'}`
}

export interface LaunchHintRequest {
  readonly command: LaunchCommand
  readonly stanza: string
  /** As configured. */
  readonly pgPath: string
  readonly spool: string
  readonly lockPath: string
  /** What configuration was looked for, found or not, files and directories. */
  readonly configLooked: readonly string[]
  readonly environment: LaunchEnvironment
  readonly callPattern: readonly (string | undefined)[]
  /** When this process began, before it read any configuration; ms since 1970. */
  readonly startedMs: number
}

/**
 * Leave the hint, whole or not at all. It carries the time at which this process began: whatever changes after that is
 * newer, also what changed while this process was reading it. A missing hint only costs time, so nothing here throws.
 *
 * @returns whether the hint is there now
 */
export async function writeLaunchHint(request: LaunchHintRequest): Promise<boolean> {
  const { command, stanza, spool, lockPath, environment, callPattern, startedMs } = request
  let temporary: string | undefined
  try {
    // A relative name means something else to a call from elsewhere.
    if (!request.configLooked.every((path) => path.startsWith('/'))) return false
    const pgData = await realpath(request.pgPath)
    const path = launchHintPath(pgData, stanza, command)
    if (path === undefined) return false
    const server = await readServer(pgData, startedMs)
    if (server === undefined) return false
    const witnesses = await witnessesOf([
      ...request.configLooked,
      // archive_command and restore_command may set variables in front of the program.
      `${pgData}/postgresql.conf`,
      `${pgData}/postgresql.auto.conf`,
      ...(server.configFile === undefined ? [] : [server.configFile]),
    ])
    const text = serialiseLaunchHint({ pgData, spool, lockPath, server, environment, witnesses, callPattern })
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

/** Have the next call look at everything again. */
export async function removeLaunchHint(pgPath: string, stanza: string, command: LaunchCommand): Promise<void> {
  const path = launchHintPath(pgPath, stanza, command)
  if (path !== undefined) await rm(textPath(path), { force: true }).catch(() => undefined)
}

/** postmaster.pid: pid, data directory, start time, ... one a line. Absent, or younger than this process: no server to hint for. */
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
