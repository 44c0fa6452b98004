import fs from 'node:fs'
import { bytesToText, pathOf, type ByteString } from '../../util/byte-string.ts'
import { systemCode } from '../../util/error.ts'
import { WriteBehind } from '../../util/write-behind.ts'
import { translate, type OwnerIds } from './file-system.ts'
import { markHandled } from '../../util/mark-handled.ts'

/** A file to write, with its attributes. */
export interface TargetFile {
  /** Absolute, not through a link. */
  readonly path: ByteString
  readonly sizeBytes: number
  /** mtime to set, seconds since the epoch. */
  readonly timestamp: number
  readonly mode: number
  /** Absent: the user that runs the restore owns it. */
  readonly owner?: OwnerIds
}

/**
 * Creates a file, replacing any existing one: nothing is written through a link, and other hard links keep their
 * content.
 */
export function createNew(path: ByteString): number {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants
  const open = () => fs.openSync(pathOf(path), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    try {
      return open()
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
      fs.unlinkSync(pathOf(path))
      return open()
    }
  } catch (error) {
    throw translate(error, 'file-write', `unable to create '${bytesToText(path)}'`)
  }
}

/** Opens an existing regular file for reading and writing; undefined if it must be created. */
export function openExisting(path: ByteString): { readonly fd: number; readonly stat: fs.Stats } | undefined {
  const { O_RDWR, O_NOFOLLOW } = fs.constants
  let fd: number
  try {
    fd = fs.openSync(pathOf(path), O_RDWR | O_NOFOLLOW)
  } catch (error) {
    // Missing, a link, or unreadable: it is created instead.
    if (['ENOENT', 'ELOOP', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return undefined
    throw translate(error, 'file-open', `unable to open '${bytesToText(path)}'`)
  }
  const stat = fs.fstatSync(fd)
  if (stat.isFile()) return { fd, stat }
  fs.closeSync(fd)
  return undefined
}

/**
 * Keeps an existing file if `isRight` returns true: truncates it to its size, sets time, mode and owner. Returns false
 * if it must be copied.
 *
 * @param sync see RestoreFileJob.syncUnchanged
 */
export function keepExisting(file: TargetFile, sync: boolean, isRight: (fd: number) => boolean): boolean {
  const existing = openExisting(file.path)
  if (existing === undefined) return false
  const { fd, stat } = existing
  try {
    // Another hard link shares the content: it would be truncated as well.
    if (stat.size < file.sizeBytes || (stat.nlink > 1 && stat.size > file.sizeBytes)) return false
    if (!isRight(fd)) return false
    if (stat.size === file.sizeBytes) finishUnchanged(fd, file, stat, sync)
    else {
      fs.ftruncateSync(fd, file.sizeBytes)
      finishFile(fd, file)
    }
    return true
  } catch (error) {
    throw translate(error, 'file-write', `unable to use the existing '${bytesToText(file.path)}'`)
  } finally {
    fs.closeSync(fd)
  }
}

/** Reads the bytes from `start` to `end` in full buffers, except for the last; fewer if the file is shorter. */
export function* readRange(fd: number, start: number, end: number, buffer: Buffer): Generator<Buffer> {
  for (let position = start; position < end;) {
    let filled = 0
    for (const wanted = Math.min(buffer.length, end - position); filled < wanted;) {
      const got = fs.readSync(fd, buffer, filled, wanted - filled, position + filled)
      if (got === 0) break
      filled += got
    }
    if (filled === 0) return
    yield buffer.subarray(0, filled)
    position += filled
  }
}

export function makeHole(fd: number, file: TargetFile): void {
  try {
    fs.ftruncateSync(fd, file.sizeBytes)
  } catch (error) {
    throw translate(error, 'file-write', `unable to write '${bytesToText(file.path)}'`)
  }
}

/** Sets owner, mode and time as in the backup, and syncs the file. Attributes that are correct already are not set. */
export function finishFile(fd: number, file: TargetFile): void {
  setAttributes(fd, file)
  syncFile(fd, file)
}

/** As `finishFile` for a file whose content was not touched: it is synced if its attributes were changed, or with `sync`. */
export function finishUnchanged(fd: number, file: TargetFile, stat: fs.Stats, sync: boolean): void {
  if (setAttributes(fd, file, stat) || sync) syncFile(fd, file)
}

function syncFile(fd: number, file: TargetFile): void {
  try {
    fs.fsyncSync(fd)
  } catch (error) {
    throw translate(error, 'file-write', `unable to finish '${bytesToText(file.path)}'`)
  }
}

/** @returns true if something was changed */
function setAttributes(fd: number, file: TargetFile, known?: fs.Stats): boolean {
  try {
    const stat = known ?? fs.fstatSync(fd)
    const { owner } = file
    const otherOwner = owner !== undefined && (stat.uid !== owner.uid || stat.gid !== owner.gid)
    const otherMode = (stat.mode & 0o7777) !== file.mode
    const otherTime = stat.mtimeMs !== file.timestamp * 1000
    if (otherOwner) fs.fchownSync(fd, owner.uid, owner.gid)
    // A change of the owner can clear bits of the mode.
    if (otherMode || otherOwner) fs.fchmodSync(fd, file.mode)
    if (otherTime) fs.futimesSync(fd, file.timestamp, file.timestamp)
    return otherOwner || otherMode || otherTime
  } catch (error) {
    throw translate(error, 'file-write', `unable to finish '${bytesToText(file.path)}'`)
  }
}

/**
 * Finishes files while the next are being written: all are durable when `drain` resolves. Closes the file descriptors.
 */
export class FinishQueue implements AsyncDisposable {
  readonly #pending: Promise<void>[] = []

  /** @param behind writer of the same file descriptor */
  add(fd: number, behind: WriteBehind, file: TargetFile): void {
    const finished = finishLater(fd, behind, file)
    // `drain` reports a failure; until then this avoids an unhandled rejection.
    markHandled(finished)
    this.#pending.push(finished)
  }

  async drain(): Promise<void> {
    await Promise.all(this.#pending)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#pending)
  }
}

async function finishLater(fd: number, behind: WriteBehind, file: TargetFile): Promise<void> {
  try {
    setAttributes(fd, file)
    await behind.finish()
  } catch (error) {
    throw translate(error, 'file-write', `unable to finish '${bytesToText(file.path)}'`)
  } finally {
    fs.closeSync(fd)
  }
}

/** @param position offset in the file; null: the current position */
export function writeFully(fd: number, chunk: Uint8Array, position: number | null, path: ByteString): void {
  try {
    for (let done = 0; done < chunk.length;) {
      done += fs.writeSync(fd, chunk, done, chunk.length - done, position === null ? null : position + done)
    }
  } catch (error) {
    throw translate(error, 'file-write', `unable to write '${bytesToText(path)}'`)
  }
}
