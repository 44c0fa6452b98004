import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { decodeText, textPath, textToBytes } from '../../util/byte-string.ts'
import { messageOf, PgtsError, systemCode } from '../../util/error.ts'
import { syncDirectory } from '../../util/sync-directory.ts'
import type { Owner } from './owner.ts'

const MODE = 0o640

/**
 * Writes a configuration file whole or not at all, durably. A new file gets mode 0640 and the owner that runs pgts; an
 * existing one keeps owner and mode, and is replaced only if it still has the text that the change was made from.
 *
 * @param before the text that was read; undefined if the file did not exist
 */
export function writeConfig(path: string, text: string, before: string | undefined, owner: Owner): void {
  // A link stays: its target is replaced.
  const target = before === undefined ? path : decodeText(realpathSync(textPath(path), 'buffer'))
  const temporary = `${target}.init-${process.pid}.tmp`
  try {
    writeTemporary(temporary, text, before === undefined ? undefined : target, owner)
    if (before === undefined) {
      // Unlike rename, link never replaces a file.
      linkSync(textPath(temporary), textPath(target))
      unlinkSync(textPath(temporary))
    } else {
      requireUnchanged(target, before)
      renameSync(textPath(temporary), textPath(target))
    }
    syncDirectory(textToBytes(dirname(target)))
  } catch (cause) {
    removeQuietly(temporary)
    if (cause instanceof PgtsError) throw cause
    if (systemCode(cause) === 'EEXIST') throw changed(path, cause)
    throw new PgtsError('file-write', `cannot write ${path}: ${messageOf(cause)}`, {
      hints: ['nothing was changed'],
      cause,
    })
  }
}

function writeTemporary(temporary: string, text: string, like: string | undefined, owner: Owner): void {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
  const fd = openSync(textPath(temporary), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    writeFileSync(fd, Buffer.from(textToBytes(text), 'latin1'))
    const { uid, gid, mode } = like === undefined ? { ...owner, mode: MODE } : statSync(textPath(like))
    if (process.geteuid?.() === 0) fchownSync(fd, uid, gid)
    fchmodSync(fd, mode & 0o777)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function requireUnchanged(target: string, before: string): void {
  if (decodeText(readFileSync(textPath(target))) !== before) throw changed(target)
}

function changed(path: string, cause?: unknown): PgtsError {
  return new PgtsError('file-exists', `cannot write ${path}: another program has changed it`, {
    hints: ['nothing was changed; run init again'],
    cause,
  })
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(textPath(path))
  } catch {
    // it was not created, or it has its final name
  }
}
