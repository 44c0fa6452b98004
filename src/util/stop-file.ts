import { existsSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs'
import { textPath } from './byte-string.ts'
import { PgtsError, systemCode } from './error.ts'

/**
 * The file that stops one stanza, or all (stanza ''). It is empty, its name says it all, and it stands in the lock path,
 * where pgBackRest looks for it too.
 */
export function stopFileName(lockPath: string, stanza: string): string {
  return `${lockPath}/${stanza === '' ? 'all' : stanza}.stop`
}

/** The stop file that stands for this stanza, or for all; undefined when none does. */
export function stopFileOf(lockPath: string, stanza: string): string | undefined {
  return [stopFileName(lockPath, stanza), stopFileName(lockPath, '')].find((path) => existsSync(textPath(path)))
}

/** @throws stop when an operator has stopped this stanza, or all */
export function assertNotStopped(lockPath: string, stanza: string): void {
  const path = stopFileOf(lockPath, stanza)
  if (path === undefined) return
  const all = path === stopFileName(lockPath, '')
  throw new PgtsError('stop', `${all ? 'all stanzas are' : `stanza ${stanza} is`} stopped: ${path} exists`, {
    hints: [`when the maintenance is over, run 'pgts ${all ? '' : `--stanza=${stanza} `}start'`],
  })
}

/**
 * @returns false when it stood already
 * @throws PgtsError file-write
 */
export function writeStopFile(lockPath: string, stanza: string): boolean {
  const path = stopFileName(lockPath, stanza)
  try {
    mkdirSync(textPath(lockPath), { recursive: true, mode: 0o770 })
    writeFileSync(textPath(path), '', { flag: 'wx', mode: 0o640 })
    return true
  } catch (cause) {
    if (systemCode(cause) === 'EEXIST' && existsSync(textPath(path))) return false
    throw new PgtsError('file-write', `cannot write the stop file ${path}: ${String(cause)}`, {
      hints: ['commands go on running: run this as the user that runs the backups, and see lock-path'],
      cause,
    })
  }
}

/**
 * @returns false when there was none
 * @throws PgtsError file-remove
 */
export function removeStopFile(lockPath: string, stanza: string): boolean {
  const path = stopFileName(lockPath, stanza)
  try {
    unlinkSync(textPath(path))
    return true
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return false
    throw new PgtsError('file-remove', `cannot remove the stop file ${path}: ${String(cause)}`, {
      hints: ['run this as the user that stopped it, or remove the file by hand'],
      cause,
    })
  }
}
