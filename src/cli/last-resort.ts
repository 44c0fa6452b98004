import { EXIT_CODES, PgtsError, toPlainError } from '../util/error.ts'
import { programName } from '../util/program-name.ts'
import { formatConsoleError, formatJsonError, formatShortError, stopsRecovery } from './exit.ts'
import { exitCodeFor, type Launch } from './launch.ts'
import { descriptorOutput } from './log-output.ts'
import { listenForSignals } from './signals.ts'

/**
 * Runs the one command of this process. The exit code is a failure from here until the command has returned its own:
 * Node ends with 0 if no operation is pending, even if a promise never settles, and with 1 on an uncaught error, which
 * PostgreSQL interprets as the end of the archive.
 */
export async function runToEnd(launch: Launch, command: (signal: AbortSignal) => Promise<number>): Promise<void> {
  const { argv, program } = launch
  const { signal } = listenForSignals(launch)
  let done = false
  const fail = (error: unknown) => process.exit(exitCodeFor(reportShortly(error, argv, program), launch))
  process.exitCode = EXIT_CODES.assert
  process.on('uncaughtException', fail)
  process.on('beforeExit', () => {
    if (!done) fail(endedTooEarly())
  })
  process.on('exit', (code) => {
    if (!done && code === 0) process.exitCode = EXIT_CODES.assert
  })
  const code = exitCodeFor(await command(signal), launch)
  done = true
  process.exitCode = code
}

export function endedTooEarly(): PgtsError {
  const error = new PgtsError('assert', 'pgts ended before the command was finished: no pending operation is left', {
    hints: ['unset NODE_OPTIONS; if that does not help, report this bug'],
  })
  // The stack would only contain this line.
  delete error.stack
  return error
}

/**
 * Reports an error without a logger.
 *
 * @param program path by which it was called
 * @param onConsole write to standard output; to standard error if that fails
 * @returns the exit code
 */
export function reportShortly(error: unknown, argv: readonly string[], program: string, onConsole = false): number {
  const reported = argv.includes('archive-get') ? stopsRecovery(error, wantedFile(argv), places(argv)) : error
  const name = programName(program)
  if (isJsonWanted(argv)) {
    written(onConsole ? 1 : 2, formatJsonError(reported, name))
    return EXIT_CODES[toPlainError(reported).code]
  }
  const onTerminal = onConsole && descriptorOutput(1).isTerminal === true
  if (!onConsole || !written(1, formatConsoleError(reported, name, onTerminal)))
    written(2, formatShortError(reported, name))
  return EXIT_CODES[toPlainError(reported).code]
}

/** Without the configuration, which is not read yet or invalid. */
function isJsonWanted(argv: readonly string[]): boolean {
  const inEnvironment = process.env['PGTS_LOG_FORMAT'] ?? process.env['PGBACKREST_LOG_FORMAT']
  return argv.includes('--log-format=json') || inEnvironment === 'json'
}

/** @returns false if writing fails; for standard error only the exit code remains */
function written(fd: number, text: string): boolean {
  try {
    return descriptorOutput(fd).write(text)
  } catch {
    return false
  }
}

function wantedFile(argv: readonly string[]): string {
  return argv.find((word) => /^[0-9A-F]{8}(?:[0-9A-F]{16}|\.history)/.test(word)) ?? 'the file'
}

/** Candidates for the data directory without a configuration; the same as in bin/pgts. */
function places(argv: readonly string[]): readonly (string | undefined)[] {
  const option = '--pg1-path'
  const ofArguments = argv.flatMap((word, i) =>
    word === option ? [argv[i + 1]] : word.startsWith(`${option}=`) ? [word.slice(option.length + 1)] : [],
  )
  return [process.cwd(), ...ofArguments, process.env['PGTS_PG1_PATH'], process.env['PGBACKREST_PG1_PATH']]
}
