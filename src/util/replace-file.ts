import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { bytes, parentOf, pathOf, type ByteString } from './byte-string.ts'
import { syncDirectory } from './sync-directory.ts'

export interface FileAttributes {
  readonly mode: number
  /** Set if this process is root; absent: the user of this process. */
  readonly owner?: { readonly uid: number; readonly gid: number }
}

/** Mode and owner of an existing file. @throws the system error */
export function attributesOf(path: ByteString): FileAttributes {
  const { mode, uid, gid } = statSync(pathOf(path))
  return { mode: mode & 0o7777, owner: { uid, gid } }
}

/**
 * Replaces or creates a file: readers see the old content or the new one, whole, also after a power failure.
 *
 * @param path byte string; not a link, which would be replaced
 * @param check called just before; if it throws, nothing is replaced
 * @throws the system error; the old file then still exists, and no other
 */
export function replaceFile(
  path: ByteString,
  content: string | Uint8Array,
  attributes: FileAttributes,
  check: () => void = () => undefined,
): void {
  publish(path, content, attributes, (temporary) => {
    check()
    renameSync(pathOf(temporary), pathOf(path))
  })
}

/** As `replaceFile`, but an existing file is an error: EEXIST. */
export function createFile(path: ByteString, content: string | Uint8Array, attributes: FileAttributes): void {
  publish(path, content, attributes, (temporary) => {
    // Unlike rename, link never replaces a file.
    linkSync(pathOf(temporary), pathOf(path))
    unlinkSync(pathOf(temporary))
  })
}

function publish(
  path: ByteString,
  content: string | Uint8Array,
  { mode, owner }: FileAttributes,
  giveName: (temporary: ByteString) => void,
): void {
  const temporary = bytes`${path}.${process.pid}.tmp`
  // Left by a killed process; a link of that name is not followed.
  rmSync(pathOf(temporary), { force: true })
  const fd = openSync(pathOf(temporary), 'wx', mode & 0o700)
  try {
    try {
      writeFileSync(fd, content)
      if (owner !== undefined && process.geteuid?.() === 0) fchownSync(fd, owner.uid, owner.gid)
      fchmodSync(fd, mode)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    giveName(temporary)
  } catch (error) {
    rmSync(pathOf(temporary), { force: true })
    throw error
  }
  syncDirectory(parentOf(path))
}
