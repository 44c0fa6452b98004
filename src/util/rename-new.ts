import { constants } from 'node:os'
import { pathOf, type ByteString } from './byte-string.ts'
import { isPgtsError } from './error.ts'
import { errnoError, nativeFunction, type NativeFunction } from './native.ts'

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

const lookUp = nativeFunction(
  'int renameat2(int fromFd, const void *from, int toFd, const void *to, unsigned int flags)',
)

function loadRenameat2(): NativeFunction {
  // AT_FDCWD has another value on other systems.
  if (process.platform !== 'linux') throw failure(constants.errno.ENOSYS)
  try {
    return lookUp()
  } catch (error) {
    if (isPgtsError(error)) throw error
    // A libc from before 2018.
    throw failure(constants.errno.ENOSYS)
  }
}

function cString(path: ByteString): Buffer {
  return Buffer.concat([Buffer.from(pathOf(path)), Buffer.alloc(1)])
}

function failure(number: number): Error {
  return errnoError('renameat2', number)
}
