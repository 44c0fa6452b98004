import { closeSync, constants, unlinkSync } from 'node:fs'
import { textPath } from './byte-string.ts'
import { PgtsError, systemCode } from './error.ts'
import { checkLockPath, lockHints, prepareLockPath, reasonOf } from './lock-path.ts'
import { isOwnFile, openOwnFile } from './own-file.ts'

/**
 * The file that stops one stanza, or all (stanza ''). It is empty, in the lock path, the same file as in pgBackRest.
 */
export function stopFileName(lockPath: string, stanza: string): string {
  return `${lockPath}/${stanza === '' ? 'all' : stanza}.stop`
}

/**
 * The existing stop file for this stanza or for all; undefined if there is none.
 *
 * @throws PgtsError lock-acquire when the owner of the lock path or of the file is not trusted
 */
export function stopFileOf(lockPath: string, stanza: string): string | undefined {
  if (!checkLockPath(lockPath)) return undefined
  return [stopFileName(lockPath, stanza), stopFileName(lockPath, '')].find(isStopFile)
}

/** Its content is not read. @throws PgtsError lock-acquire */
export function isStopFile(path: string): boolean {
  try {
    return isOwnFile(path)
  } catch (cause) {
    throw new PgtsError('lock-acquire', `cannot check the stop file ${path}: ${reasonOf(cause)}`, {
      hints: lockHints(cause),
      cause,
    })
  }
}

/** @throws stop if an operator has stopped this stanza or all; lock-acquire if the stop file cannot be checked */
export function assertNotStopped(lockPath: string, stanza: string): void {
  const path = stopFileOf(lockPath, stanza)
  if (path === undefined) return
  const all = path === stopFileName(lockPath, '')
  throw new PgtsError('stop', `stop file exists for ${all ? 'all stanzas' : `stanza ${stanza}`}: ${path}`, {
    hints: [`run after the maintenance: 'pgts ${all ? '' : `--stanza=${stanza} `}start'`],
  })
}

/**
 * @returns false when it existed already
 * @throws PgtsError lock-acquire
 */
export function writeStopFile(lockPath: string, stanza: string): boolean {
  const path = stopFileName(lockPath, stanza)
  prepareLockPath(lockPath)
  try {
    closeSync(openOwnFile(textPath(path), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL))
    return true
  } catch (cause) {
    if (systemCode(cause) === 'EEXIST' && isStopFile(path)) return false
    throw new PgtsError('lock-acquire', `cannot write the stop file ${path}: ${reasonOf(cause)}`, {
      hints: ['commands are not stopped: run this command as the user that runs the backups, and check lock-path'],
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
      hints: ['run this command as the user that ran stop, or remove the file'],
      cause,
    })
  }
}
