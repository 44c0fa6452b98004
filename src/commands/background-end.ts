import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../util/clock.ts'
import { textPath } from '../util/byte-string.ts'
import { isAlive } from '../util/is-alive.ts'

/**
 * Why a background process should make way for one that is started anew: the server that it works for is gone, or what
 * it was started with is no longer what would be started now.
 *
 * @param pgPath data directory of the server
 * @param configFiles configuration files that were read
 * @returns asked again and again: a reason, or undefined. It looks once a second at most
 */
export function endReasons(pgPath: string, configFiles: readonly string[], clock: Clock): () => string | undefined {
  // A bundle that is replaced takes the chunks along that this process has not loaded yet.
  const watched = [...configFiles, fileURLToPath(import.meta.url)].map((path) => ({ path, was: stateOf(path) }))
  const served = serverOf(pgPath)
  let missed = 0
  let lookedMs = Number.NEGATIVE_INFINITY
  return () => {
    if (Math.abs(clock.nowMs() - lookedMs) < LOOK_MS) return undefined
    lookedMs = clock.nowMs()
    for (const { path, was } of watched) if (stateOf(path) !== was) return `${path} has changed`
    // Restored WAL may be fetched without a server (pg_rewind does it), and a server that restarts is away for a moment.
    if (served === undefined) return undefined
    missed = isServed(pgPath) ? 0 : missed + 1
    return missed > LOOKS ? 'the server is gone' : undefined
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

/** Process id of the postmaster, as its file says. */
function serverOf(pgPath: string): number | undefined {
  try {
    const pid = Math.abs(Number(readFileSync(textPath(`${pgPath}/postmaster.pid`), 'latin1').split('\n')[0]))
    return Number.isInteger(pid) && pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}
