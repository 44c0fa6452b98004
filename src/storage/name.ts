import { PgtsError } from '../util/error.ts'

/**
 * Rejects a name that could leave the repository or give one file two names: absolute, with an empty, '.' or '..'
 * component, with NUL, or with a character above 255. Such a name is a bug or comes from a forged manifest.
 */
export function assertName(name: string): void {
  if (name === '') throw new PgtsError('assert', 'a storage name is empty where a file is expected')
  assertPrefix(name)
}

/** As `assertName`, but '' is the root itself. */
export function assertPrefix(prefix: string): void {
  if (prefix === '') return
  let start = 0
  for (let i = 0; i <= prefix.length; i++) {
    const unit = i === prefix.length ? SLASH : prefix.charCodeAt(i)
    if (unit === 0 || unit > 255) return refuse(prefix)
    if (unit !== SLASH) continue
    const length = i - start
    if (length === 0 || (length <= 2 && prefix.startsWith('..'.slice(0, length), start))) return refuse(prefix)
    start = i + 1
  }
}

const SLASH = 47

function refuse(name: string): never {
  throw new PgtsError('assert', `${JSON.stringify(name)} is not a name inside a storage`)
}

/**
 * The error of every driver for reading a missing file, in the wording of pgBackRest, which monitoring tools match.
 *
 * @param shown the file with its storage, for the message
 */
export function missingFile(shown: string, cause?: unknown): PgtsError {
  return new PgtsError('file-missing', `unable to open missing file '${shown}' for read`, { cause })
}
