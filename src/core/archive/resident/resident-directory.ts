import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { bytes, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { isAlive } from '../../../util/is-alive.ts'
import { requireOwnDirectory } from '../../../util/own-file.ts'
import { readIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'

export type ResidentKind = 'push' | 'get'

/**
 * Directory of one resident process.
 *
 * @param key identifies cluster, program and options: processes that would work differently have different directories
 */
export function residentDirectory(spool: SpoolPaths, kind: ResidentKind, key: string): ByteString {
  return bytes`${spool.own}/resident-${kind}-${key}`
}

const MODE = 0o700

/** @throws the system's error; UntrustedFile: another user owns it */
export function makeResidentDirectory(directory: ByteString): void {
  try {
    mkdirSync(pathOf(directory), { mode: MODE })
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  }
  requireOwnDirectory(pathOf(directory))
}

export function residentLockFile(directory: ByteString): ByteString {
  return bytes`${directory}/lock`
}

export function residentPidFile(directory: ByteString): ByteString {
  return bytes`${directory}/pid`
}

/** For the launcher, which can check whether a process is alive and cannot try a lock. */
export function writeResidentPid(spool: SpoolPaths, directory: ByteString, pid: number): void {
  writeAtomic(spool, residentPidFile(directory), `${pid}\n`)
}

/** Does any resident process of the stanza run on this host? Without a readable spool: no. */
export function isAnyResident(spool: SpoolPaths, kind: ResidentKind): boolean {
  try {
    const names = readdirSync(pathOf(spool.own)).filter((name) => name.startsWith(`resident-${kind}-`))
    return names.some((name) => isResident(bytes`${spool.own}/${name}`, kind))
  } catch {
    return false
  }
}

/** Does a process run that answers requests in this directory? The process id of a killed process may have been reused. */
export function isResident(directory: ByteString, kind: ResidentKind): boolean {
  const text = readIfExists(residentPidFile(directory))?.text.trim() ?? ''
  if (!/^[1-9]\d{0,9}$/.test(text) || !isAlive(Number(text))) return false
  try {
    const commandLine = readFileSync(`/proc/${text}/cmdline`, 'latin1')
    // Empty for a moment when the process has just been started.
    return commandLine === '' || commandLine.includes(`archive-${kind}:async`)
  } catch {
    // Not Linux, or /proc is hidden: only the process id is known.
    return true
  }
}
