import { closeSync, constants, readdirSync } from 'node:fs'
import { textPath } from './byte-string.ts'
import { systemCode } from './error.ts'
import { tryLockExclusive } from './flock.ts'
import { checkLockPath } from './lock-path.ts'
import { openOwnFile, readBounded } from './own-file.ts'
import { parseLockContent, type LockProgress, type LockType } from './lock-file.ts'

/** A lock that a process on this host holds now. */
export interface HeldLock extends LockProgress {
  readonly type: LockType
  /** The repository, or undefined for the lock that pgBackRest 2.45 takes for all of them. */
  readonly repoKey?: number
  readonly pid?: number
  readonly execId?: string
}

/**
 * The held locks of a stanza, with their progress. To test a lock it must be taken, as in pgBackRest: a free one is
 * taken and released at once. An unreadable lock file is treated as not held.
 */
export function readLocks(lockPath: string, stanza: string): HeldLock[] {
  return readAllLocks(lockPath).flatMap(({ stanza: owner, ...lock }) => (owner === stanza ? [lock] : []))
}

/** As `readLocks`, for all stanzas. */
export function readAllLocks(lockPath: string): (HeldLock & { readonly stanza: string })[] {
  let names: string[]
  try {
    names = checkLockPath(lockPath) ? readdirSync(textPath(lockPath)) : []
  } catch {
    return []
  }
  const held: (HeldLock & { stanza: string })[] = []
  for (const name of names.sort()) {
    const match = LOCK_NAME.exec(name)
    if (match === null) continue
    const content = readHeld(`${lockPath}/${name}`)
    if (content === undefined) continue
    held.push({
      stanza: match[1]!,
      type: match[2] as LockType,
      repoKey: match[3] === undefined ? undefined : Number(match[3]),
      ...content,
    })
  }
  return held
}

const LOCK_NAME = /^(.+?)-(archive|backup|restore)(?:-([1-9]\d*))?\.lock$/

function readHeld(path: string): (LockProgress & { pid?: number; execId?: string }) | undefined {
  let fd: number
  try {
    fd = openOwnFile(textPath(path), constants.O_RDONLY)
  } catch (error) {
    // Released in the meantime, not a lock file, or owned by another user: not a lock of a command of this user.
    if (systemCode(error) !== undefined) return undefined
    throw error
  }
  try {
    if (tryLockExclusive(fd)) return undefined
    try {
      return parseLockContent(readBounded(fd).toString('latin1'))
    } catch {
      // Held by a process that has not written its content yet.
      return {}
    }
  } finally {
    closeSync(fd)
  }
}
