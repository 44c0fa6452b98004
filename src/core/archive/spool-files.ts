import { accessSync, constants, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { bytesToLines, bytesToText, pathOf, textToBytes } from '../../util/byte-string.ts'
import { EXIT_CODES, PgtsError, systemCode, toPlainError, type ErrorCode } from '../../util/error.ts'
import { makeDirectories } from '../../util/make-directories.ts'
import { setMtimeNs } from '../../util/mtime.ts'
import { describeProcessUser } from '../../util/owner-names.ts'
import { readOwnFile, requireOwnDirectory, UntrustedFile } from '../../util/own-file.ts'

/** The spool of one stanza: absolute byte strings. */
export interface SpoolPaths {
  readonly root: string
  /** What was pushed, one file for each: pgBackRest's names and contents. */
  readonly out: string
  /** What was fetched ahead. */
  readonly in: string
  /** Files of pgts alone, where pgBackRest does not look. */
  readonly own: string
}

/** @param spoolPath as text, from the options */
export function spoolPaths(spoolPath: string, stanza: string): SpoolPaths {
  const root = `${textToBytes(spoolPath).replace(/\/+$/, '')}/archive/${textToBytes(stanza)}`
  return { root, out: `${root}/out`, in: `${root}/in`, own: `${root}/pgts` }
}

/** The same spool through a door (spool-door.ts), which leads nowhere once the spool is another cluster's. */
export function throughDoor(door: string): SpoolPaths {
  return { root: door, out: `${door}/out`, in: `${door}/in`, own: `${door}/pgts` }
}

const DIRECTORY_MODE = 0o750
const FILE_MODE = 0o640

/**
 * Make the directories, and see that this user can write there: a spool that is out of order must be told at once, not
 * after the time that a segment is waited for.
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
      throw new PgtsError('path-create', `cannot use the spool directory ${bytesToText(path)}: ${why}`, {
        hints: [
          why === 'ENOSPC' || why === 'EDQUOT'
            ? 'make room in the file system of spool-path'
            : `${user} must be able to create and write it: see spool-path and its owner`,
        ],
        cause,
      })
    }
  }
}

/** What the spool says of one file. */
export type SpoolOutcome =
  | { readonly kind: 'none' }
  /** Done. `skippedCode`: somebody renamed the error file of this code to say that the file is to be skipped. */
  | { readonly kind: 'ok'; readonly warning?: string; readonly skippedCode?: number; readonly mtimeNs: bigint }
  | { readonly kind: 'error'; readonly error: PgtsError }

/** The file that speaks for all files without one of their own. */
export const GLOBAL = 'global'

/**
 * What is known of a file: its `.ok`, else its `.error`, else `global.error`.
 *
 * @param directory `out` or `in` of the spool
 */
export function readSpoolOutcome(directory: string, name: string): SpoolOutcome {
  const ok = readIfThere(`${directory}/${name}.ok`)
  if (ok !== undefined) {
    const { mtimeNs } = ok
    if (ok.text === '') return { kind: 'ok', mtimeNs }
    const content = parseStatus(ok.text)
    // What does not say that the file is safe must not be taken for it.
    if (content === undefined) return { kind: 'none' }
    const { code, message } = content
    return { kind: 'ok', mtimeNs, warning: message, skippedCode: code === 0 ? undefined : code }
  }
  for (const path of [`${directory}/${name}.error`, `${directory}/${GLOBAL}.error`]) {
    const file = readIfThere(path)
    if (file !== undefined) return { kind: 'error', error: errorOf(path, file.text) }
  }
  return { kind: 'none' }
}

/**
 * Say that a file is safe. Nothing is synced: an `.ok` that a power cut takes back costs a push that finds everything
 * done. Its `.error` goes first, because pgBackRest takes both together for a bug.
 *
 * @param mtimeNs modification time of the file that was stored. The `.ok` gets the same, so that it is not taken for one
 *   of another file that has the name later, whatever the clock does
 * @throws the system's error
 */
export function writeOk(
  spool: SpoolPaths,
  directory: string,
  name: string,
  { mtimeNs, warning }: { readonly mtimeNs: bigint; readonly warning?: string },
): void {
  removeStatus(directory, name, 'error')
  const text = warning === undefined ? '' : `0\n${textToBytes(warning)}`
  writeWhole(spool, `${directory}/${name}.ok`, text, mtimeNs)
}

/**
 * Does this say that a file of that modification time is done? What somebody renamed by hand to skip a file has a time
 * of its own.
 *
 * @param fileNs undefined: the file is not there
 */
export function isAbout(outcome: SpoolOutcome, fileNs: bigint | undefined): boolean {
  if (outcome.kind !== 'ok') return false
  return fileNs === undefined || outcome.skippedCode !== undefined || isOkOf(outcome.mtimeNs, fileNs)
}

/** Is an `.ok` of this time about a file of that time? File systems keep times more or less exactly. */
export function isOkOf(okNs: bigint, fileNs: bigint): boolean {
  return TIME_STEPS_NS.some((step) => okNs === fileNs - (fileNs % step))
}

const TIME_STEPS_NS = [1n, 100n, 1000n, 1_000_000n, 1_000_000_000n, 2_000_000_000n]

/** Say why a file is not safe yet. Any `.ok` of it is taken away. */
export function writeSpoolError(spool: SpoolPaths, directory: string, name: string, error: unknown): void {
  removeStatus(directory, name, 'ok')
  const { code, message, hints } = toPlainError(error)
  const text = [String(EXIT_CODES[code]), message, ...hints.map((hint) => `HINT: ${hint}`)].join('\n')
  writeWhole(spool, `${directory}/${name}.error`, textToBytes(text))
}

export function removeStatus(directory: string, name: string, ending: 'ok' | 'error'): void {
  removeIfThere(`${directory}/${name}.${ending}`)
}

export function removeIfThere(path: string): void {
  try {
    unlinkSync(pathOf(path))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

let sequence = 0

/** Whole or not at all, for readers that come at any moment: written beside pgts's own files, then renamed. */
export function writeWhole(spool: SpoolPaths, path: string, bytes: string, mtimeNs?: bigint): void {
  const temporary = `${spool.own}/${process.pid}-${++sequence}.tmp`
  try {
    writeFileSync(pathOf(temporary), Buffer.from(bytes, 'latin1'), { mode: FILE_MODE })
    if (mtimeNs !== undefined) setMtimeNs(temporary, mtimeNs)
    renameSync(pathOf(temporary), pathOf(path))
  } catch (error) {
    try {
      unlinkSync(pathOf(temporary))
    } catch {
      // It was not made, or it stays behind: nobody reads it.
    }
    const code = systemCode(error)
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    throw new PgtsError('file-write', `cannot write ${bytesToText(path)}: ${code ?? String(error)}`, {
      hints: full ? ['make room in the file system of spool-path'] : [],
      cause: error,
    })
  }
}

export function readIfThere(path: string): { readonly text: string; readonly mtimeNs: bigint } | undefined {
  try {
    const file = readOwnFile(pathOf(path))
    return file === undefined ? undefined : { text: file.bytes.toString('latin1'), mtimeNs: file.mtimeNs }
  } catch (error) {
    // A link, a pipe or another user's file is none of the spool's files, and is not believed.
    if (error instanceof UntrustedFile) return undefined
    throw error
  }
}

/** `<code>\n<message>`, as text. */
function parseStatus(bytes: string): { code: number; message: string } | undefined {
  const match = /^(\d{1,3})(?:\n([^]*))?$/.exec(bytes)
  return match === null ? undefined : { code: Number(match[1]), message: bytesToLines((match[2] ?? '').trim()) }
}

function errorOf(path: string, bytes: string): PgtsError {
  const status = parseStatus(bytes)
  if (status === undefined) {
    return new PgtsError('unknown', `${bytesToText(path)} does not say what went wrong`, {
      hints: ['was the file system of spool-path full? The log of the background process tells more'],
    })
  }
  const [first, ...hints] = status.message.split(/\nHINT: /)
  return new PgtsError(codeOf(status.code), first ?? '', { hints })
}

const CODES = new Map(Object.entries(EXIT_CODES).map(([name, code]) => [code as number, name as ErrorCode]))

function codeOf(number: number): ErrorCode {
  return CODES.get(number) ?? 'unknown'
}
