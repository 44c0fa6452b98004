import { closeSync, constants, unlinkSync, writeSync } from 'node:fs'
import { textPath, textToBytes } from './byte-string.ts'
import { messageOf, PgtsError, systemCode } from './error.ts'
import { makeDirectories } from './make-directories.ts'
import { isOwnDirectory, openOwnFile, UntrustedFile } from './own-file.ts'
import { describeProcessUser } from './owner-names.ts'

const MODE = 0o770

/**
 * Checks that the lock path can be trusted before anything in it is read or created.
 *
 * @returns false when it is absent
 * @throws PgtsError lock-acquire, with the owner if that is the reason
 */
export function checkLockPath(lockPath: string): boolean {
  try {
    return isOwnDirectory(lockPath)
  } catch (error) {
    throw lockPathError(lockPath, error)
  }
}

/** As `checkLockPath`, and create it when it is absent. @throws PgtsError lock-acquire */
export function prepareLockPath(lockPath: string): void {
  if (checkLockPath(lockPath)) return
  try {
    makeDirectories(textToBytes(lockPath), MODE)
  } catch (error) {
    throw lockPathError(lockPath, error)
  }
  // Another user may have created it at the same moment.
  if (!checkLockPath(lockPath)) throw lockPathError(lockPath, new Error('it was removed'))
}

/** Writes a small file and removes it, to detect a full or read-only file system. @throws PgtsError lock-acquire */
export function requireLockRoom(lockPath: string): void {
  prepareLockPath(lockPath)
  const path = `${lockPath}/.pgts-room-${process.pid}`
  let fd: number | undefined
  try {
    fd = openOwnFile(textPath(path), constants.O_WRONLY | constants.O_CREAT)
    writeSync(fd, 'room?')
  } catch (error) {
    throw lockPathError(lockPath, error)
  } finally {
    if (fd !== undefined) closeSync(fd)
    try {
      unlinkSync(textPath(path))
    } catch {
      // It was not created.
    }
  }
}

export function lockPathError(lockPath: string, cause: unknown): PgtsError {
  return new PgtsError('lock-acquire', `cannot use the lock path ${lockPath}: ${reasonOf(cause)}`, {
    hints: lockHints(cause),
    cause,
  })
}

export function reasonOf(error: unknown): string {
  const code = systemCode(error)
  return (code && REASONS[code]) ?? messageOf(error)
}

const REASONS: Record<string, string> = {
  ENOSPC: 'no space left on device',
  EDQUOT: 'disk quota exceeded',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'part of the path is not a directory',
}

export function lockHints(cause: unknown): string[] {
  const user = describeProcessUser()
  if (cause instanceof UntrustedFile)
    return [`remove it, or set lock-path to a directory that belongs to ${user} and that other users cannot write to`]
  switch (systemCode(cause)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return ['free space on the file system of lock-path']
    case 'EROFS':
      return ['mount the file system read-write, or set lock-path to a directory on another one']
    default:
      return [`check lock-path: ${user} must be able to create it and write to it`]
  }
}
