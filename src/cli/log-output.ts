import { closeSync, constants, fstatSync, openSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { textPath, textToBytes } from '../util/byte-string.ts'
import { messageOf, PgtsError, systemCode } from '../util/error.ts'
import { makeDirectories } from '../util/make-directories.ts'
import { PROCESS_START } from './log-line.ts'

/** Output of formatted lines. */
export interface TextOutput {
  /** True if it is a terminal. */
  readonly isTerminal?: boolean
  write(text: string): void
}

/** A pipe or terminal. */
export interface DescriptorOutput extends TextOutput {
  /** @returns false after the reader has closed it */
  write(piece: string | Uint8Array): boolean
}

/**
 * A file descriptor that is written synchronously and completely, so that nothing is lost when the process exits. After
 * the reader has closed it (`pgts info | head`), further output is dropped: this must not stop a backup.
 */
export function descriptorOutput(fd: number): DescriptorOutput {
  let open = true
  let isTerminal: boolean | undefined
  return {
    get isTerminal() {
      // Not imported: it would load node:net for every segment that is archived.
      return (isTerminal ??= process.getBuiltinModule('node:tty').isatty(fd))
    },
    write(piece) {
      if (!open) return false
      try {
        writeFully(fd, piece)
      } catch (error) {
        const code = systemCode(error)
        if (code !== 'EPIPE' && code !== 'EBADF') throw unwritable(fd, error)
        open = false
      }
      return open
    },
  }
}

/** For example standard output on a full disk: an error of the environment, not a bug of pgts. */
function unwritable(fd: number, error: unknown): PgtsError {
  const what = fd === 1 ? 'standard output' : 'standard error'
  const why = messageOf(error)
  return new PgtsError('unhandled', `cannot write to ${what}: ${why}`, {
    hints: ['check the file or device that the output is redirected to'],
    cause: error,
  })
}

/**
 * A log file, opened for appending with its first line; mode 0640. If it was renamed or removed by a program that rotates
 * logs, the next line after a minute goes to a new file: `server` runs for months. Errors of opening or writing are thrown.
 *
 * @param marked a marker precedes the first line of a process
 */
export function fileOutput(
  path: string,
  marked = true,
  nowMs = () => performance.now(),
): TextOutput & { close(): void } {
  let fd: number | undefined
  let checkedMs = nowMs()
  return {
    write(text) {
      if (fd !== undefined && nowMs() - checkedMs >= CHECK_MS) {
        checkedMs = nowMs()
        if (isMoved(path, fd)) {
          const next = openLog(path)
          closeSync(fd)
          fd = next
        }
      }
      if (fd === undefined) {
        fd = openLog(path)
        if (marked) writeFully(fd, `${fstatSync(fd).size > 0 ? '\n' : ''}${PROCESS_START}`)
      }
      writeFully(fd, text)
    },
    close() {
      if (fd !== undefined) closeSync(fd)
      fd = undefined
    },
  }
}

const CHECK_MS = 60_000

/** Links are followed: the log may be one. */
function isMoved(path: string, fd: number): boolean {
  const named = statSync(textPath(path), { bigint: true, throwIfNoEntry: false })
  const opened = fstatSync(fd, { bigint: true })
  return named?.ino !== opened.ino || named.dev !== opened.dev
}

function openLog(path: string): number {
  try {
    return openForAppending(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
  makeDirectories(textToBytes(dirname(path)), LOG_PATH_MODE)
  return openForAppending(path)
}

/**
 * A named pipe without a reader is an error (ENXIO) and does not block. Links are followed: `/dev/stdout` is often used
 * as a log.
 */
function openForAppending(path: string): number {
  return openSync(
    textPath(path),
    constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK,
    LOG_FILE_MODE,
  )
}

const LOG_FILE_MODE = 0o640
const LOG_PATH_MODE = 0o770

function writeFully(fd: number, piece: string | Uint8Array): void {
  const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(fd, bytes, done)
    } catch (error) {
      // A full non-blocking pipe: wait 2 ms for its reader.
      if (systemCode(error) !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2)
    }
  }
}
