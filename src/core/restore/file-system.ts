import fs from 'node:fs'
import { asBytes, bytes, bytesToText, compareBytes, parentOf, pathOf, type ByteString } from '../../util/byte-string.ts'
import { describeGroup, describeUser } from '../../util/owner-names.ts'
import { messageOf, OPEN_FILES_HINT, PgtsError, systemCode } from '../../util/error.ts'
import { removeTreeSync } from '../../util/remove-tree.ts'
import { syncDirectory as flushDirectory } from '../../util/sync-directory.ts'

/**
 * Operations on the directories that a restore fills. Paths are absolute byte strings. Nothing here follows a symbolic
 * link in the last component unless its name says so: a link found in a target is removed or created again, never
 * followed, so no file outside the target can be changed through a link inside it.
 */
export interface FoundEntry {
  readonly kind: 'file' | 'path' | 'link' | 'special'
  readonly sizeBytes: number
  /** Seconds since the epoch, rounded down. */
  readonly mtime: number
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** For a link, the result of readlink. */
  readonly destination?: string
}

export interface OwnerIds {
  readonly uid: number
  readonly gid: number
}

function kindOf(entry: fs.Stats | fs.Dirent): FoundEntry['kind'] {
  return entry.isFile() ? 'file' : entry.isDirectory() ? 'path' : entry.isSymbolicLink() ? 'link' : 'special'
}

/** lstat, or stat with `follow`; undefined if it does not exist. */
export function statEntry(path: ByteString, options: { follow?: boolean } = {}): FoundEntry | undefined {
  try {
    const stat = options.follow === true ? fs.statSync(pathOf(path)) : fs.lstatSync(pathOf(path))
    const kind = kindOf(stat)
    return {
      kind,
      sizeBytes: kind === 'file' ? stat.size : 0,
      mtime: Math.floor(stat.mtimeMs / 1000),
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      destination: kind === 'link' ? fs.readlinkSync(pathOf(path), 'latin1') : undefined,
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw translate(error, 'file-info', `unable to look at '${bytesToText(path)}'`)
  }
}

/** Resolves all links in the existing part of the path. */
export function realPath(path: ByteString): ByteString {
  try {
    return asBytes(fs.realpathSync(pathOf(path), { encoding: 'latin1' }))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'ENOTDIR') {
      throw translate(error, 'file-info', `unable to resolve '${bytesToText(path)}'`)
    }
    const slash = path.lastIndexOf('/')
    return slash <= 0 ? path : bytes`${realPath(path.slice(0, slash)).replace(/\/$/, '')}${path.slice(slash)}`
  }
}

/** Names in a directory with their kinds, in byte order; undefined if there is no such directory. */
export function listKinds(
  path: ByteString,
): { readonly name: ByteString; readonly kind: FoundEntry['kind'] }[] | undefined {
  return listDirectory(path, () =>
    fs
      .readdirSync(pathOf(path), { encoding: 'latin1', withFileTypes: true })
      .map((entry) => ({ name: asBytes(entry.name), kind: kindOf(entry) }))
      .sort((a, b) => compareBytes(a.name, b.name)),
  )
}

/**
 * The entries of a directory in the order of the file system, some at a time: there may be many. None if there is no such directory.
 */
export function* readKinds(
  path: ByteString,
): Generator<{ readonly name: ByteString; readonly kind: FoundEntry['kind'] }> {
  // @types/node lacks this encoding, and buffers as paths.
  const options = { encoding: 'latin1' as BufferEncoding, bufferSize: ENTRIES_AT_A_TIME }
  const dir = listDirectory(path, () => fs.opendirSync(pathOf(path) as string, options))
  if (dir === undefined) return
  try {
    for (;;) {
      const entry = listDirectory(path, () => dir.readSync())
      if (entry === undefined || entry === null) return
      yield { name: asBytes(entry.name), kind: kindOf(entry) }
    }
  } finally {
    dir.closeSync()
  }
}

const ENTRIES_AT_A_TIME = 1024

/** Names in a directory, in byte order; undefined if there is no such directory. */
export function listNames(path: ByteString): ByteString[] | undefined {
  return listDirectory(path, () => fs.readdirSync(pathOf(path), { encoding: 'latin1' }).sort().map(asBytes))
}

function listDirectory<T>(path: ByteString, list: () => T): T | undefined {
  try {
    return list()
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw translate(error, 'path-open', `unable to list the directory '${bytesToText(path)}'`)
  }
}

/** Removes a file, a link or a whole directory. The target of a link is not removed. */
export function removeEntry(path: ByteString): void {
  try {
    removeTreeSync(path)
  } catch (error) {
    throw translate(error, 'file-remove', `unable to remove '${bytesToText(path)}'`)
  }
}

/** Creates one directory; its parent must exist. The mode is applied regardless of the umask. */
export function makeDirectory(path: ByteString, mode: number, owner: OwnerIds | undefined): void {
  try {
    fs.mkdirSync(pathOf(path), { mode: 0o700 })
    if (owner !== undefined) fs.lchownSync(pathOf(path), owner.uid, owner.gid)
    fs.chmodSync(pathOf(path), mode)
  } catch (error) {
    throw translate(error, 'path-create', `unable to create the directory '${bytesToText(path)}'`)
  }
}

/**
 * Creates a directory and every missing parent. Parents get mode 0750 and the same owner, because the server must be
 * able to reach its tablespace.
 */
export function makeDirectoryTree(path: ByteString, mode: number, owner: OwnerIds | undefined): void {
  const parent = parentOf(path)
  if (statEntry(parent, { follow: true }) === undefined) makeDirectoryTree(parent, 0o750, owner)
  makeDirectory(path, mode, owner)
}

export function makeLink(path: ByteString, destination: ByteString, owner: OwnerIds | undefined): void {
  try {
    fs.symlinkSync(pathOf(destination), pathOf(path))
    if (owner !== undefined) fs.lchownSync(pathOf(path), owner.uid, owner.gid)
  } catch (error) {
    throw translate(error, 'file-write', `unable to create the link '${bytesToText(path)}'`)
  }
}

function describeOwner({ uid, gid }: OwnerIds): string {
  return `${describeUser(uid)}, ${describeGroup(gid)}`
}

/** Changes the owner of a link itself. */
export function changeOwner(path: ByteString, owner: OwnerIds): void {
  try {
    fs.lchownSync(pathOf(path), owner.uid, owner.gid)
  } catch (error) {
    throw translate(error, 'file-owner', `unable to set the owner of '${bytesToText(path)}' to ${describeOwner(owner)}`)
  }
}

/** Sets mode and owner of an existing directory. `follow`: the path may be a link (the path of a target). */
export function fixDirectory(
  path: ByteString,
  change: { readonly mode?: number; readonly owner?: OwnerIds },
  options: { follow: boolean },
): void {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants
  let fd: number | undefined
  try {
    fd = fs.openSync(pathOf(path), O_RDONLY | O_DIRECTORY | (options.follow ? 0 : O_NOFOLLOW))
    if (change.owner !== undefined) fs.fchownSync(fd, change.owner.uid, change.owner.gid)
    if (change.mode !== undefined) fs.fchmodSync(fd, change.mode)
  } catch (error) {
    const owner = change.owner === undefined ? '' : ` to ${describeOwner(change.owner)}`
    throw change.owner === undefined
      ? translate(error, 'file-mode', `unable to set the mode of '${bytesToText(path)}'`)
      : translate(error, 'file-owner', `unable to set the owner of '${bytesToText(path)}'${owner}`)
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

export function renameEntry(from: ByteString, to: ByteString): void {
  try {
    fs.renameSync(pathOf(from), pathOf(to))
  } catch (error) {
    throw translate(error, 'file-move', `unable to rename '${bytesToText(from)}' to '${bytesToText(to)}'`)
  }
}

/** Makes the entries of a directory durable. */
export function syncDirectory(path: ByteString): void {
  try {
    flushDirectory(path)
  } catch (error) {
    throw translate(error, 'path-sync', `unable to sync the directory '${bytesToText(path)}'`)
  }
}

/** Reads a small file; undefined if it does not exist. */
export function readSmallFile(path: ByteString): Buffer | undefined {
  let fd: number | undefined
  try {
    // Opening a named pipe does not block.
    fd = fs.openSync(pathOf(path), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    if (!fs.fstatSync(fd).isFile()) throw new Error('it is not a regular file')
    return fs.readFileSync(fd)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw translate(error, 'file-read', `unable to read '${bytesToText(path)}'`)
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

/**
 * Writes a small file, durable when this returns. A link of that name is replaced, not followed. Mode and owner are not
 * changed if undefined.
 */
export function writeSmallFile(
  path: ByteString,
  content: Buffer,
  mode: number | undefined,
  owner: OwnerIds | undefined,
): void {
  if (statEntry(path)?.kind === 'link') removeEntry(path)
  let fd: number | undefined
  try {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = fs.constants
    fd = fs.openSync(pathOf(path), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
    fs.writeFileSync(fd, content)
    if (owner !== undefined) fs.fchownSync(fd, owner.uid, owner.gid)
    if (mode !== undefined) fs.fchmodSync(fd, mode)
    fs.fsyncSync(fd)
  } catch (error) {
    throw translate(error, 'file-write', `unable to write '${bytesToText(path)}'`)
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

/** Converts a system error to a PgtsError with a hint. */
export function translate(
  error: unknown,
  code: ConstructorParameters<typeof PgtsError>[0],
  message: string,
): PgtsError {
  if (error instanceof PgtsError) return error
  const system = systemCode(error)
  const hint = system === undefined ? undefined : SYSTEM_HINTS[system]
  const words = messageOf(error)
  return new PgtsError(code, `${message}: ${words}`, { hints: hint === undefined ? [] : [hint], cause: error })
}

const SYSTEM_HINTS: Readonly<Record<string, string>> = {
  EACCES: 'run restore as the user that owns the cluster, or as root with --allow-root',
  EPERM: 'run restore as the user that owns the cluster, or as root with --allow-root',
  ENOSPC: 'free disk space, then run the same restore again with --delta',
  EDQUOT: 'raise the disk quota, then run the same restore again with --delta',
  EROFS: 'the file system is mounted read-only',
  EMFILE: OPEN_FILES_HINT,
  ENFILE: OPEN_FILES_HINT,
  EIO: 'check the kernel log for disk errors',
}
