import { closeSync, constants, unlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { textPath } from './byte-string.ts'
import { PgtsError, systemCode } from './error.ts'
import { tryLockExclusive, tryLockShared } from './flock.ts'
import { prepareLockPath } from './lock-path.ts'
import { isNameOf, openOwnFile } from './own-file.ts'

/**
 * Processes that write to a repository for a command of another host, besides the one that holds its locks. They share a
 * lock: when the holder has died, the next command waits until none of them is left.
 */
function writersFile(lockPath: string, stanza: string, repoKey: number): string {
  return `${lockPath}/${stanza}-backup-${repoKey}.writers`
}

/** Held until disposed or until this process ends. */
export async function joinWriters(lockPath: string, stanza: string, repoKey: number): Promise<Disposable> {
  prepareLockPath(lockPath)
  const path = writersFile(lockPath, stanza, repoKey)
  for (;;) {
    const fd = openOwnFile(textPath(path), constants.O_RDWR | constants.O_CREAT)
    // The last one before may have removed the file between our open and our lock.
    if (tryLockShared(fd) && isNameOf(textPath(path), fd)) return { [Symbol.dispose]: () => leave(path, fd) }
    closeSync(fd)
    await sleep(RETRY_MS)
  }
}

/** @throws PgtsError lock-acquire if such processes do not end in time */
export async function waitForWriters(lockPath: string, stanza: string, repoKey: number): Promise<void> {
  const path = writersFile(lockPath, stanza, repoKey)
  for (let waitedMs = 0; ; waitedMs += RETRY_MS) {
    const fd = openExisting(path)
    if (fd === undefined) return
    const isLast = tryLockExclusive(fd)
    leave(path, fd)
    if (isLast) return
    if (waitedMs >= LONGEST_MS) {
      throw new PgtsError(
        'lock-acquire',
        `cannot take the backup lock of repo${repoKey}: processes of an ended command still write`,
        {
          hints: [
            "they end within seconds after their connection: end those that 'ps -ef | grep remote-type=repo' shows",
          ],
        },
      )
    }
    await sleep(RETRY_MS)
  }
}

const RETRY_MS = 50
/** A serving process ends at the latest 10 s after its connection. */
const LONGEST_MS = 12_000

function openExisting(path: string): number | undefined {
  try {
    return openOwnFile(textPath(path), constants.O_RDWR)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Unlinked while no other process shares it. */
function leave(path: string, fd: number): void {
  try {
    if (tryLockExclusive(fd) && isNameOf(textPath(path), fd)) unlinkSync(textPath(path))
  } catch {
    // A file that stays is not locked and has no effect.
  }
  closeSync(fd)
}
