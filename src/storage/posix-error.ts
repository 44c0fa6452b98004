import { bytesToText, type ByteString } from '../util/byte-string.ts'
import { missingFile } from './name.ts'
import { describeUser } from '../util/owner-names.ts'
import { OPEN_FILES_HINT, PgtsError, systemCode, type ErrorCode } from '../util/error.ts'

/** Actions as messages name them, and the code of a failure that has no more specific code. */
const ACTIONS = {
  open: { words: 'open', code: 'file-open' },
  create: { words: 'create', code: 'file-open' },
  read: { words: 'read', code: 'file-read' },
  write: { words: 'write', code: 'file-write' },
  sync: { words: 'flush to disk', code: 'file-sync' },
  'sync-path': { words: 'flush to disk the directory', code: 'path-sync' },
  move: { words: 'rename into place', code: 'file-move' },
  stat: { words: 'look at', code: 'file-info' },
  list: { words: 'list', code: 'path-open' },
  'make-path': { words: 'create the directory', code: 'path-create' },
  remove: { words: 'remove', code: 'file-remove' },
  'remove-path': { words: 'remove the directory', code: 'path-remove' },
  link: { words: 'link', code: 'file-open' },
} as const satisfies Record<string, { words: string; code: ErrorCode }>

export type PosixAction = keyof typeof ACTIONS

/**
 * Converts a system error to a PgtsError with hints.
 *
 * @param path absolute byte string
 */
export function posixError(action: PosixAction, path: ByteString, cause: unknown): PgtsError {
  if (cause instanceof PgtsError) return cause
  const { words, code } = ACTIONS[action]
  const why = systemCode(cause)
  const shown = bytesToText(path)
  const message = `cannot ${words} ${shown}: ${(why && MEANINGS[why]) ?? (cause instanceof Error ? cause.message : String(cause))}`
  switch (why) {
    case 'ENOENT':
    case 'ENOTDIR':
      if (action !== 'open') return new PgtsError(code, message, { cause })
      return missingFile(shown, cause)
    case 'ENOSPC':
    case 'EDQUOT':
      return new PgtsError('file-write', message, {
        hints: [
          "free space on its file system, for example with a shorter retention and 'expire', then run the command again",
        ],
        cause,
      })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new PgtsError(code, message, { hints: [accessHint(why)], cause, denied: action.startsWith('remove') })
    case 'EMFILE':
    case 'ENFILE':
      return new PgtsError(code, message, { hints: [OPEN_FILES_HINT], cause })
    case 'EIO':
    case 'ESTALE':
      return new PgtsError(code, message, { hints: ["check the disk, the mount, and the kernel's log (dmesg)"], cause })
    default:
      return new PgtsError(code, message, { cause })
  }
}

const MEANINGS: Record<string, string> = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'part of the path is not a directory',
  EISDIR: 'it is a directory',
  EEXIST: 'it exists already',
  ENOTEMPTY: 'the directory is not empty',
  ENOSPC: 'no space left on device',
  EDQUOT: 'disk quota exceeded',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
  EMFILE: 'this process has too many open files',
  ENFILE: 'the system has too many open files',
  EIO: 'input/output error',
  ESTALE: 'stale file handle',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'too many symbolic links',
  EFBIG: 'the file is larger than the file system allows',
  EBUSY: 'it is in use',
  EXDEV: 'it is on another file system',
}

function accessHint(why: string): string {
  if (why === 'EROFS') return 'mount the file system read-write'
  return `check the owner and permissions of the path and of the directories above it: this process runs as ${describeUser(process.geteuid?.() ?? 0)}`
}
