import { recoveryMode } from '../../../postgres/recovery-mode.ts'
import { textToBytes } from '../../../util/byte-string.ts'
import { EXIT_CODES, PgtsError, toPlainError } from '../../../util/error.ts'

/**
 * The error that restore_command has to end with. In archive recovery PostgreSQL takes every exit code up to 125 for the
 * end of the archive, ends recovery and becomes a primary without the WAL that may follow; only a larger exit code stops
 * it. A standby asks again, and a call by hand reports the error itself.
 *
 * @param error what went wrong
 * @param file the WAL file that was asked for, as text
 * @param places where the data directory may be, as text: pg1-path, and the working directory of restore_command
 */
export function stopsRecovery(error: unknown, file: string, places: readonly (string | undefined)[]): unknown {
  const recovers = places.some(
    (place) => place !== undefined && recoveryMode(textToBytes(place)) === 'archive-recovery',
  )
  if (!recovers || (error instanceof PgtsError && error.code === 'recovery-stop')) return error
  const { code, message, hints } = toPlainError(error)
  const number = String(EXIT_CODES[code]).padStart(3, '0')
  return new PgtsError(
    'recovery-stop',
    `recovery stops here, because it is not known whether ${file} is in the archive: [${number}] ${message}`,
    {
      hints: [
        ...hints,
        'nothing is lost: start the server again when this is fixed, and recovery continues',
        'with any other exit code PostgreSQL would end recovery without the rest of its WAL',
      ],
      cause: error,
    },
  )
}
