import { stopsRecovery } from '../core/archive/recovery-stop.ts'
import { EXIT_CODES, toPlainError } from '../util/error.ts'
import { formatShortError } from './exit.ts'
import { descriptorOutput } from './log-output.ts'

/** Tell an error that comes where there is no logger. @returns the exit code */
export function tellShortly(error: unknown, argv: readonly string[]): number {
  const story = argv.includes('archive-get') ? stopsRecovery(error, wantedFile(argv), [process.cwd()]) : error
  try {
    descriptorOutput(2).write(formatShortError(story))
  } catch {
    // Standard error cannot be written either: the exit code is all that is left.
  }
  return EXIT_CODES[toPlainError(story).code]
}

/** Node ends with 1 on an error that nobody caught, which PostgreSQL would take for "there is no more WAL". */
export function neverEndWithNotFound(argv: readonly string[]): void {
  process.on('uncaughtException', (error) => process.exit(tellShortly(error, argv)))
}

function wantedFile(argv: readonly string[]): string {
  return argv.find((word) => /^[0-9A-F]{8}(?:[0-9A-F]{16}|\.history)/.test(word)) ?? 'the file'
}
