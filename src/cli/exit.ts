import { recoveryMode } from '../postgres/recovery-mode.ts'
import { printableLines, textToBytes } from '../util/byte-string.ts'
import { EXIT_CODES, exitCodeText, PgtsError, toPlainError } from '../util/error.ts'
import type { ProgramName } from '../util/program-name.ts'
import { formatJson, formatLine, type LogRecord } from './log-line.ts'
import { withShownName } from './shown-name.ts'

/** `P00  ERROR: [037]: text` with hints, in pgbackrest's form on standard output before the log options are known. */
export function formatConsoleError(error: unknown, name: ProgramName, terminal: boolean): string {
  return formatLine(recordOf(error, name), { timestamp: false, processMax: 1, dryRun: false, terminal })
}

/** The same for log-format=json. */
export function formatJsonError(error: unknown, name: ProgramName): string {
  return formatJson(recordOf(error, name), { command: '', stanza: '' }, false)
}

function recordOf(error: unknown, name: ProgramName): LogRecord {
  const { code, message, hints, stack } = toPlainError(error)
  const lines = [message, ...hints.map((hint) => `HINT: ${hint}`)]
  return {
    level: 'error',
    code: EXIT_CODES[code],
    message: withShownName(lines.join('\n'), name),
    process: 0,
    timeMs: Date.now(),
    fields: { error: code },
    stack: code === 'assert' ? stack : undefined,
  }
}

/** `ERROR: [031]: text` and its hints, for errors before the logger is open. */
export function formatShortError(error: unknown, name: ProgramName = 'pgts'): string {
  const { code, message, hints, stack } = toPlainError(error)
  const number = exitCodeText(EXIT_CODES[code])
  const lines = [`ERROR: ${number}: ${message}`, ...hints.map((hint) => `       HINT: ${hint}`)]
  // A failed assertion is a bug of pgts, so the stack is printed.
  if (code === 'assert' && stack !== undefined) lines.push(stack)
  return `${printableLines(withShownName(lines.join('\n'), name))}\n`
}

/**
 * The error of archive-get as it determines the exit code of restore_command. In archive recovery PostgreSQL interprets
 * every exit code up to 125 as the end of the archive, ends recovery and becomes a primary without the following WAL;
 * only a larger exit code stops it. A standby retries, and a manual call reports the error itself.
 *
 * @param file the requested WAL file, as text
 * @param places candidates for the data directory, as text: pg1-path, and the working directory of restore_command
 */
export function stopsRecovery(error: unknown, file: string, places: readonly (string | undefined)[]): unknown {
  const recovers = places.some(
    (place) => place !== undefined && recoveryMode(textToBytes(place)) === 'archive-recovery',
  )
  if (!recovers || (error instanceof PgtsError && error.code === 'recovery-stop')) return error
  const { code, message, hints } = toPlainError(error)
  const number = exitCodeText(EXIT_CODES[code])
  return new PgtsError(
    'recovery-stop',
    `recovery stops here, because it is not known whether ${file} is in the archive: ${number} ${message}`,
    {
      hints: [
        ...hints,
        'fix the error and start the server again: recovery continues without loss',
        'with another exit code PostgreSQL would end recovery without the remaining WAL',
      ],
      cause: error,
    },
  )
}
