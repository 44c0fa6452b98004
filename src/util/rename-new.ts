import { constants } from 'node:os'
import { pathOf, type ByteString } from './byte-string.ts'
import { requireModule } from './load-module.ts'

/**
 * Renames a file only if the new name does not exist: `renameat2` of Linux, which Node does not provide. At every
 * moment exactly one of the two names exists.
 *
 * @param from byte string
 * @param to byte string
 * @throws the system's error, with its `code`: EEXIST; EINVAL or ENOSYS if the system or the file system does not
 * support it; PgtsError execute if koffi cannot be loaded
 */
export function renameNew(from: ByteString, to: ByteString): void {
  const { call, errno } = loadRenameat2()
  if (call(AT_FDCWD, cString(from), AT_FDCWD, cString(to), RENAME_NOREPLACE) === 0) return
  throw failure(errno())
}

const AT_FDCWD = -100
const RENAME_NOREPLACE = 1

interface Renameat2 {
  call(fromFd: number, from: Buffer, toFd: number, to: Buffer, flags: number): number
  errno(): number
}

let renameat2: Renameat2 | undefined

function loadRenameat2(): Renameat2 {
  if (renameat2 !== undefined) return renameat2
  // AT_FDCWD has another value on other systems.
  if (process.platform !== 'linux') throw failure(constants.errno.ENOSYS)
  const koffi = requireModule<typeof import('koffi')>('koffi')
  try {
    const prototype = 'int renameat2(int fromFd, const void *from, int toFd, const void *to, unsigned int flags)'
    renameat2 = { call: koffi.load(null).func(prototype), errno: () => koffi.errno() }
  } catch {
    // A libc from before 2018.
    throw failure(constants.errno.ENOSYS)
  }
  return renameat2
}

function cString(path: ByteString): Buffer {
  return Buffer.concat([Buffer.from(pathOf(path)), Buffer.alloc(1)])
}

function failure(number: number): Error {
  const code = Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`
  return Object.assign(new Error(`renameat2 failed: ${code}`), { code })
}
