import { accessSync, constants, readdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import {
  asBytes,
  bytes,
  bytesToLines,
  bytesToText,
  pathOf,
  textToBytes,
  type ByteString,
} from '../../../util/byte-string.ts'
import { EXIT_CODES, isPgtsError, PgtsError, systemCode, toPlainError, type ErrorCode } from '../../../util/error.ts'
import { makeDirectories } from '../../../util/make-directories.ts'
import { setMtimeNs } from '../../../util/mtime.ts'
import { describeProcessUser } from '../../../util/owner-names.ts'
import { readOwnFile, requireOwnDirectory, UntrustedFile } from '../../../util/own-file.ts'

/** The spool of one stanza: absolute byte strings. */
export interface SpoolPaths {
  readonly root: ByteString
  /** Status files of pushed WAL, with the names and contents of pgBackRest. */
  readonly out: ByteString
  /** Segments that were fetched ahead. */
  readonly in: ByteString
  /** Files of pgts; pgBackRest ignores them. */
  readonly own: ByteString
}

/** @param spoolPath as text, from the options */
export function spoolPaths(spoolPath: string, stanza: string): SpoolPaths {
  const root = bytes`${textToBytes(spoolPath).replace(/\/+$/, '')}/archive/${textToBytes(stanza)}`
  return { root, out: bytes`${root}/out`, in: bytes`${root}/in`, own: bytes`${root}/pgts` }
}

/** The same spool through an owner directory (spool-owner.ts), which is removed when another cluster takes the spool over. */
export function pathsThrough(ownerDirectory: ByteString): SpoolPaths {
  return {
    root: ownerDirectory,
    out: bytes`${ownerDirectory}/out`,
    in: bytes`${ownerDirectory}/in`,
    own: bytes`${ownerDirectory}/pgts`,
  }
}

const DIRECTORY_MODE = 0o750
const FILE_MODE = 0o640

/**
 * Create the directories, and check that this user can write there: a faulty spool must be reported at once, not after
 * archive-timeout.
 *
 * @throws PgtsError path-create
 */
export function prepareSpool(spool: SpoolPaths): void {
  for (const path of [spool.own, spool.out, spool.in]) {
    try {
      makeDirectories(path, DIRECTORY_MODE)
      accessSync(pathOf(path), constants.R_OK | constants.W_OK | constants.X_OK)
      requireOwnDirectory(pathOf(path))
    } catch (cause) {
      const why = cause instanceof UntrustedFile ? cause.message : (systemCode(cause) ?? String(cause))
      const user = describeProcessUser()
      throw new PgtsError('path-create', `cannot use spool directory '${bytesToText(path)}': ${why}`, {
        hints: [
          why === 'ENOSPC' || why === 'EDQUOT'
            ? 'free space in the file system of spool-path'
            : `${user} must be able to create and write it: check spool-path and its owner`,
        ],
        cause,
      })
    }
  }
}

/** The status of one file in the spool. */
export type SpoolOutcome =
  | { readonly kind: 'none' }
  /** `skippedCode`: an operator renamed the error file with this code to skip the WAL file. */
  | { readonly kind: 'ok'; readonly warning?: string; readonly skippedCode?: number; readonly mtimeNs: bigint }
  | { readonly kind: 'error'; readonly error: PgtsError }

/** Name of the status file for every WAL file without a status file of its own. */
export const GLOBAL = 'global'

/**
 * The status of a file: its `.ok`, else its `.error`, else `global.error`.
 *
 * @param directory `out` or `in` of the spool
 */
export function readSpoolOutcome(directory: string, name: string): SpoolOutcome {
  const ok = readIfExists(bytes`${directory}/${name}.ok`)
  if (ok !== undefined) {
    const { mtimeNs } = ok
    if (ok.text === '') return { kind: 'ok', mtimeNs }
    const content = parseStatus(ok.text)
    // A corrupt `.ok` must not acknowledge the file.
    if (content === undefined) return { kind: 'none' }
    const { code, message } = content
    return { kind: 'ok', mtimeNs, warning: message, skippedCode: code === 0 ? undefined : code }
  }
  for (const path of [bytes`${directory}/${name}.error`, bytes`${directory}/${GLOBAL}.error`]) {
    const file = readIfExists(path)
    if (file !== undefined) return { kind: 'error', error: errorOf(path, file.text) }
  }
  return { kind: 'none' }
}

/**
 * Acknowledge a file. Not synced: if a power failure loses the `.ok`, the file is pushed again and found in the
 * repositories. Its `.error` is removed first, because pgBackRest reports both together as a bug.
 *
 * @param mtimeNs modification time of the file that was stored. The `.ok` gets the same, so that it does not acknowledge
 *   another file that has the name later, whatever the clock does
 * @throws the system's error
 */
export function writeOk(
  spool: SpoolPaths,
  directory: string,
  name: string,
  { mtimeNs, warning }: { readonly mtimeNs: bigint; readonly warning?: string },
): void {
  removeStatus(directory, name, 'error')
  const text = warning === undefined ? '' : bytes`0\n${textToBytes(warning)}`
  writeAtomic(spool, bytes`${directory}/${name}.ok`, text, mtimeNs)
}

/**
 * Does this outcome acknowledge the file with that modification time? The time of an error file that an operator renamed
 * to `.ok` is not compared.
 *
 * @param fileNs undefined: the file does not exist
 */
export function isAbout(outcome: SpoolOutcome, fileNs: bigint | undefined): boolean {
  if (outcome.kind !== 'ok') return false
  return fileNs === undefined || outcome.skippedCode !== undefined || isOkOf(outcome.mtimeNs, fileNs)
}

/** Is the time of an `.ok` that of the file? File systems truncate times. */
export function isOkOf(okNs: bigint, fileNs: bigint): boolean {
  return TIME_STEPS_NS.some((step) => okNs === fileNs - (fileNs % step))
}

const TIME_STEPS_NS = [1n, 100n, 1000n, 1_000_000n, 1_000_000_000n, 2_000_000_000n]

/** Report why a file is not stored yet. Removes its `.ok`. */
export function writeSpoolError(spool: SpoolPaths, directory: string, name: string, error: unknown): void {
  removeStatus(directory, name, 'ok')
  const { code, message, hints } = toPlainError(error)
  const text = [String(EXIT_CODES[code]), message, ...hints.map((hint) => `HINT: ${hint}`)].join('\n')
  writeAtomic(spool, bytes`${directory}/${name}.error`, textToBytes(text))
}

export function removeStatus(directory: string, name: string, ending: 'ok' | 'error'): void {
  removeIfExists(bytes`${directory}/${name}.${ending}`)
}

export function removeIfExists(path: ByteString): void {
  try {
    unlinkSync(pathOf(path))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

let sequence = 0

/** Atomic: written in `pgts`, then renamed. Not synced. */
export function writeAtomic(spool: SpoolPaths, path: ByteString, content: string, mtimeNs?: bigint): void {
  const temporary = bytes`${spool.own}/${process.pid}-${++sequence}.tmp`
  try {
    writeFileSync(pathOf(temporary), Buffer.from(content, 'latin1'), { mode: FILE_MODE })
    if (mtimeNs !== undefined) setMtimeNs(temporary, mtimeNs)
    renameSync(pathOf(temporary), pathOf(path))
  } catch (error) {
    try {
      unlinkSync(pathOf(temporary))
    } catch {
      // It does not exist, or it remains: it is never read.
    }
    const code = systemCode(error)
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    throw new PgtsError('file-write', `cannot write '${bytesToText(path)}': ${code ?? String(error)}`, {
      hints: full ? ['free space in the file system of spool-path'] : [],
      cause: error,
    })
  }
}

export function readIfExists(path: ByteString): { readonly text: ByteString; readonly mtimeNs: bigint } | undefined {
  try {
    const file = readOwnFile(pathOf(path))
    return file === undefined ? undefined : { text: asBytes(file.bytes.toString('latin1')), mtimeNs: file.mtimeNs }
  } catch (error) {
    // A link, a pipe or another user's file is not trusted.
    if (error instanceof UntrustedFile) return undefined
    throw error
  }
}

/** Byte strings; empty if the directory does not exist. */
export function namesIn(directory: ByteString): string[] {
  try {
    return readdirSync(pathOf(directory), { encoding: 'latin1' })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

/** `<code>\n<message>`, as text. */
function parseStatus(bytes: string): { code: number; message: string } | undefined {
  const match = /^(\d{1,3})(?:\n([^]*))?$/.exec(bytes)
  return match === null
    ? undefined
    : { code: Number(match[1]), message: bytesToLines(asBytes((match[2] ?? '').trim())) }
}

function errorOf(path: ByteString, bytes: string): PgtsError {
  const status = parseStatus(bytes)
  if (status === undefined) {
    return new PgtsError('unknown', `'${bytesToText(path)}' contains no error`, {
      hints: ['see the log of the background process; check for free space in the file system of spool-path'],
    })
  }
  const [first, ...hints] = status.message.split(/\nHINT: /)
  return new PgtsError(codeOf(status.code), first ?? '', { hints })
}

const CODES = new Map(Object.entries(EXIT_CODES).map(([name, code]) => [code as number, name as ErrorCode]))

function codeOf(number: number): ErrorCode {
  return CODES.get(number) ?? 'unknown'
}

/** The spool cannot be used: no space, read-only, owned by another user. The caller then works without it. */
export class SpoolError extends Error {
  constructor(override readonly cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause))
  }

  /** The message and its hints, each on a line. */
  lines(): string {
    const hints = isPgtsError(this.cause) ? this.cause.hints : []
    return [this.message, ...hints.map((hint) => `HINT: ${hint}`)].join('\n')
  }
}

/**
 * Throw errors of `work` as SpoolError, except lock-acquire (another cluster uses the spool): without the spool two servers
 * would archive into one stanza.
 */
export async function inSpool<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw isPgtsError(error, 'lock-acquire') ? error : new SpoolError(error)
  }
}

/** Write a small file and remove it, to detect a full file system. @throws SpoolError */
export function requireRoom(spool: SpoolPaths): void {
  const path = bytes`${spool.own}/${process.pid}-room.tmp`
  try {
    writeFileSync(pathOf(path), 'room?')
  } catch (cause) {
    const code = systemCode(cause) ?? String(cause)
    const hint =
      code === 'ENOSPC' || code === 'EDQUOT'
        ? 'free space in the file system of spool-path'
        : 'check spool-path, its owner and its mount options'
    const message = `cannot write into spool directory '${bytesToText(spool.root)}': ${code}`
    throw new SpoolError(new PgtsError('file-write', message, { hints: [hint], cause }))
  } finally {
    try {
      unlinkSync(pathOf(path))
    } catch {
      // It was not created.
    }
  }
}
