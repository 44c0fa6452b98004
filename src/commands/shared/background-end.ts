import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../../util/clock.ts'
import { textPath } from '../../util/byte-string.ts'
import { isAlive } from '../../util/is-alive.ts'

/**
 * The reason for a background process to end, so that the next call starts a new one: its server has ended, or the
 * configuration or the program has changed.
 *
 * @param pgPath data directory of the server
 * @param configFiles configuration files that were read
 * @returns a function to be called periodically: a reason or undefined. It checks once a second at most
 */
export function endReasons(pgPath: string, configFiles: readonly string[], clock: Clock): () => string | undefined {
  const changed = fileChanges(configFiles)
  const served = serverOf(pgPath)
  let missed = 0
  let lookedMs = Number.NEGATIVE_INFINITY
  return () => {
    if (Math.abs(clock.nowMs() - lookedMs) < LOOK_MS) return undefined
    lookedMs = clock.nowMs()
    const change = changed()
    if (change !== undefined) return change
    // WAL may be fetched without a server (by pg_rewind), and a restart takes a moment.
    if (served === undefined) return undefined
    missed = isServed(pgPath) ? 0 : missed + 1
    return missed > LOOKS ? 'the server has ended' : undefined
  }
}

/**
 * As `endReasons` for a resident process, which ends with every stop of its server, and checks at each call: an answer
 * must not be one of the configuration before.
 *
 * @param searched configuration files and directories that were searched, existing or not
 */
export function residentEndReasons(pgPath: string, searched: readonly string[]): () => ResidentEnd | undefined {
  const changed = fileChanges(searched)
  const server = serverStart(pgPath)
  const pid = serverOf(pgPath)
  // A server in another PID namespace is not visible: then only its file shows that it runs.
  const isVisible = pid !== undefined && isAlive(pid)
  return () => {
    const change = changed()
    if (change !== undefined) return { why: change, ofServer: false }
    if (pid === undefined || serverStart(pgPath) !== server)
      return { why: 'the server was stopped or restarted', ofServer: true }
    return isVisible && !isAlive(pid) ? { why: 'the server has ended', ofServer: true } : undefined
  }
}

export interface ResidentEnd {
  readonly why: string
  /** Its server was stopped or restarted, or has ended. */
  readonly ofServer: boolean
}

/** @returns a function: which of these files, or of the program, is not what it was at the start */
export function fileChanges(paths: readonly string[]): () => string | undefined {
  // The start file is new in each installation. This process would go on with the modules of the old one.
  const watched = [...paths, fileURLToPath(import.meta.url)].map((path) => ({ path, was: stateOf(path) }))
  return () => {
    const found = watched.find(({ path, was }) => stateOf(path) !== was)
    return found === undefined ? undefined : `${found.path} has changed`
  }
}

const LOOK_MS = 900
const LOOKS = 3

function stateOf(path: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(textPath(path))
    return `${ino} ${size} ${mtimeMs}`
  } catch {
    return 'missing'
  }
}

function isServed(pgPath: string): boolean {
  const pid = serverOf(pgPath)
  return pid !== undefined && isAlive(pid)
}

/** Process id, data directory and start time: the first three lines of postmaster.pid. */
function serverStart(pgPath: string): string | undefined {
  try {
    return readFileSync(textPath(`${pgPath}/postmaster.pid`), 'latin1')
      .split('\n', 3)
      .join('\n')
  } catch {
    return undefined
  }
}

/** Process id of the postmaster, from postmaster.pid. */
function serverOf(pgPath: string): number | undefined {
  try {
    const pid = Math.abs(Number(readFileSync(textPath(`${pgPath}/postmaster.pid`), 'latin1').split('\n')[0]))
    return Number.isInteger(pid) && pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}
