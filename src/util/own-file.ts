import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  statSync,
  type PathLike,
  type Stats,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { decodeText, textPath } from './byte-string.ts'
import { systemCode } from './error.ts'
import { describeUser } from './owner-names.ts'

/**
 * Access to small files in directories that other users of the host may reach (lock path, spool): another user may have
 * created the directory first, or planted a link, a named pipe or a device in it. The rule is in
 * docs/decisions/0025-files-that-are-trusted.md.
 */

/** A file or directory of a kind that this program does not create, or with an untrusted owner. */
export class UntrustedFile extends Error {
  override readonly name = 'UntrustedFile'
  readonly code = 'UNTRUSTED'
}

/** A status, pid, hint or lock file has a few hundred bytes. */
const MOST_BYTES = 1024 * 1024

/**
 * Opens a regular file. A link is not followed, opening a named pipe does not block, and nothing is truncated before
 * the file is known to be a regular file of a trusted owner without a second hard link.
 *
 * @param flags of open(2), without O_TRUNC
 * @throws UntrustedFile; the system's error
 */
export function openOwnFile(path: PathLike, flags: number, mode = 0o640): number {
  let fd: number
  try {
    fd = openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, mode)
  } catch (error) {
    if (systemCode(error) === 'ELOOP') throw new UntrustedFile('it is a symbolic link')
    if (systemCode(error) === 'ENXIO') throw new UntrustedFile('it is not a regular file')
    throw error
  }
  try {
    const stats = fstatSync(fd)
    requireOwnFile(stats)
    if (stats.nlink > 1) throw new UntrustedFile('it has a second name (hard link)')
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * The content of such a file; undefined when it is absent.
 *
 * @throws UntrustedFile, also if it is larger than any file of this program; the system's error
 */
export function readOwnFile(path: PathLike): { readonly bytes: Buffer; readonly mtimeNs: bigint } | undefined {
  let fd: number
  try {
    fd = openOwnFile(path, constants.O_RDONLY)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw error
  }
  try {
    return { bytes: readBounded(fd), mtimeNs: fstatSync(fd, { bigint: true }).mtimeNs }
  } finally {
    closeSync(fd)
  }
}

/** Check a file that need not be readable by the rules of `openOwnFile`. @returns false when it is absent */
export function isOwnFile(path: string): boolean {
  const stats = lstatSync(textPath(path), { throwIfNoEntry: false })
  if (stats === undefined) return false
  requireOwnFile(stats)
  return true
}

function requireOwnFile(stats: Stats): void {
  if (stats.isSymbolicLink()) throw new UntrustedFile('it is a symbolic link')
  requireFile(stats)
  requireOwner(stats.uid)
}

/** Check an open file of any owner. @throws UntrustedFile */
export function requireRegularFile(fd: number): void {
  requireFile(fstatSync(fd))
}

function requireFile(stats: Stats): void {
  if (!stats.isFile()) throw new UntrustedFile(`it is ${kindOf(stats.mode)}, not a regular file`)
}

/** Reads from the beginning, whatever the position of the descriptor is. */
export function readBounded(fd: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; ;) {
    const buffer = Buffer.allocUnsafe(8192)
    const got = readSync(fd, buffer, 0, buffer.length, at)
    if (got === 0) return Buffer.concat(parts)
    parts.push(buffer.subarray(0, got))
    at += got
    if (at > MOST_BYTES) throw new UntrustedFile(`it is larger than ${MOST_BYTES} bytes`)
  }
}

/**
 * True if this is a directory of a trusted owner, and its path contains no link of another user.
 *
 * @returns false if it is absent
 * @throws UntrustedFile; the system's error
 */
export function isOwnDirectory(path: string): boolean {
  try {
    requireOwnLinks(path, 0)
    requireOwnDirectory(textPath(path))
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

/** Check the directory itself, not the links on its path. @throws UntrustedFile; the system's error */
export function requireOwnDirectory(path: PathLike): void {
  const stats = statSync(path)
  if (!stats.isDirectory()) throw new UntrustedFile('it is not a directory')
  requireOwner(stats.uid)
}

/** Checks every link on the path: a link of another user could lead to any directory of this user. */
function requireOwnLinks(path: string, depth: number): void {
  if (depth > MOST_LINKS) throw new UntrustedFile('there are too many links in the path')
  const parts = path.split('/').filter((part) => part !== '')
  let at = ''
  for (const part of parts) {
    at += `/${part}`
    const stats = lstatSync(textPath(at))
    if (!stats.isSymbolicLink()) continue
    try {
      requireOwner(stats.uid)
    } catch {
      throw new UntrustedFile(`${at} is a link that belongs to ${describeUser(stats.uid)}`)
    }
    requireOwnLinks(resolve(dirname(at), decodeText(readlinkSync(textPath(at), 'buffer'))), depth + 1)
  }
}

const MOST_LINKS = 40

/**
 * The effective user and root are trusted. Root trusts every owner, because it works in the directories of all users.
 */
function requireOwner(uid: number): void {
  const own = process.geteuid?.() ?? uid
  if (own === 0 || uid === own || uid === 0) return
  throw new UntrustedFile(`it belongs to ${describeUser(uid)}`)
}

function kindOf(mode: number): string {
  return KINDS.get(mode & constants.S_IFMT) ?? 'a special file'
}

const KINDS = new Map([
  [constants.S_IFIFO, 'a named pipe'],
  [constants.S_IFSOCK, 'a socket'],
  [constants.S_IFDIR, 'a directory'],
  [constants.S_IFCHR, 'a device'],
  [constants.S_IFBLK, 'a device'],
])

/** Is `path` still the name of the open file? Another process may have unlinked or replaced it. */
export function isNameOf(path: PathLike, fd: number): boolean {
  try {
    const named = lstatSync(path, { bigint: true })
    const opened = fstatSync(fd, { bigint: true })
    return named.ino === opened.ino && named.dev === opened.dev
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
