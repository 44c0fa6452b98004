import { textToBytes } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { reasonOf } from '../../util/lock-path.ts'
import { replaceFile } from '../../util/replace-file.ts'

/**
 * Writes the output of a command to the file of `--file`, which is replaced as a whole.
 *
 * @param what for the error message: `the metrics`
 */
export function writeOutput(what: string, file: string, text: string, mode: number): void {
  try {
    replaceFile(textToBytes(file), text, { mode })
  } catch (error) {
    throw new PgtsError('file-write', `cannot write ${what} to '${file}': ${reasonOf(error)}`, {
      hints: ['check that its directory exists and that this user can write to it'],
      cause: error,
    })
  }
}
