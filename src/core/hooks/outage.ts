import { lstatSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { bytes, parentOf, pathOf, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { systemCode } from '../../util/error.ts'
import { makeDirectories } from '../../util/make-directories.ts'
import { readOwnFile, requireOwnDirectory } from '../../util/own-file.ts'
import { spoolPaths } from '../archive/spool/spool-files.ts'
import type { HookError } from './hook-event.ts'

/** Archiving that fails, as calls of archive-push note it in a file. Times: ms since 1970. */
export interface Outage {
  readonly sinceMs: number
  readonly failures: number
  /** How often the hook was called, and when last. */
  readonly reports: number
  readonly reportedMs: number
  readonly file: string
  readonly error: HookError
}

const FIRST_INTERVAL_MS = 5 * 60_000
const LONGEST_INTERVAL_MS = 4 * 3_600_000

/**
 * One more failure.
 *
 * @returns the outage, and whether it is to be reported now: at its begin, then after 5, 10, 20, ... minutes
 */
export function withFailure(
  before: Outage | undefined,
  { file, error, nowMs }: { readonly file: string; readonly error: HookError; readonly nowMs: number },
): { readonly outage: Outage; readonly report?: 'begun' | 'continues' } {
  if (before === undefined) {
    const outage = { sinceMs: nowMs, failures: 1, reports: 1, reportedMs: nowMs, file, error }
    return { outage, report: 'begun' }
  }
  const outage = { ...before, failures: before.failures + 1, file, error }
  const intervalMs = Math.min(LONGEST_INTERVAL_MS, FIRST_INTERVAL_MS * 2 ** (before.reports - 1))
  // A clock that was set back must not postpone the report.
  if (Math.abs(nowMs - before.reportedMs) < intervalMs) return { outage }
  return { outage: { ...outage, reports: before.reports + 1, reportedMs: nowMs }, report: 'continues' }
}

const MODE = 0o640

/** The file of an outage: in the spool, or in the lock path if the spool cannot be written. */
export class OutageFiles {
  readonly #paths: readonly ByteString[]

  constructor(spoolPath: string, lockPath: string, stanza: string) {
    const { own } = spoolPaths(spoolPath, stanza)
    this.#paths = [bytes`${own}/outage`, bytes`${textToBytes(lockPath)}/${textToBytes(stanza)}-archive.outage`]
  }

  /** Cheap: for every successful call. */
  exists(): boolean {
    return this.#paths.some((path) => lstatSync(pathOf(path), { throwIfNoEntry: false }) !== undefined)
  }

  /** @param ended the outage that ended last */
  read(ended = false): Outage | undefined {
    for (const path of this.#paths) {
      const outage = readOutage(ended ? endedPath(path) : path)
      if (outage !== undefined) return outage
    }
    return undefined
  }

  /** @throws the error of the last place, if none can be written */
  write(outage: Outage): void {
    let failure: unknown
    for (const path of this.#paths) {
      try {
        const directory = parentOf(path)
        makeDirectories(directory, 0o750)
        requireOwnDirectory(pathOf(directory))
        replaceUnsynced(path, JSON.stringify(outage))
        return
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  /** @returns true for one process only, if several do this at once */
  end(): boolean {
    return this.#paths.map(renamedAway).includes(true)
  }
}

/** Without fsync, which would wait for a disk that fails. */
function replaceUnsynced(path: ByteString, content: string): void {
  const temporary = pathOf(bytes`${path}.${process.pid}.tmp`)
  rmSync(temporary, { force: true })
  writeFileSync(temporary, content, { mode: MODE, flag: 'wx' })
  renameSync(temporary, pathOf(path))
}

function endedPath(path: ByteString): ByteString {
  return bytes`${path}-ended`
}

function renamedAway(path: ByteString): boolean {
  try {
    renameSync(pathOf(path), pathOf(endedPath(path)))
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return false
    throw error
  }
}

/** undefined: absent, not trusted, or damaged; a failure then begins a new outage. */
function readOutage(path: ByteString): Outage | undefined {
  try {
    const file = readOwnFile(pathOf(path))
    return file === undefined ? undefined : (JSON.parse(file.bytes.toString('utf8')) as Outage)
  } catch {
    return undefined
  }
}
