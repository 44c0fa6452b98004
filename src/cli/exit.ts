import { printableLines } from '../util/byte-string.ts'
import { EXIT_CODES, toPlainError } from '../util/error.ts'
import type { ProgramName } from '../util/program-name.ts'
import { formatLine } from './log-line.ts'
import { withShownName } from './shown-name.ts'

/** `P00  ERROR: [037]: text` and its hints, as pgbackrest writes it on standard output before the log options are known. */
export function formatConsoleError(error: unknown, name: ProgramName, terminal: boolean): string {
  const { code, message, hints, stack } = toPlainError(error)
  const place = code === 'assert' && stack !== undefined ? [stack] : []
  const lines = [message, ...hints.map((hint) => `HINT: ${hint}`), ...place]
  return formatLine(
    { level: 'error', code: EXIT_CODES[code], message: withShownName(lines.join('\n'), name), process: 0, timeMs: 0 },
    { timestamp: false, processMax: 1, dryRun: false, terminal },
  )
}

/** `ERROR: [031]: text` and its hints, for errors before the logger is open. */
export function formatShortError(error: unknown, name: ProgramName = 'pgts'): string {
  const { code, message, hints, stack } = toPlainError(error)
  const number = String(EXIT_CODES[code]).padStart(3, '0')
  const lines = [`ERROR: [${number}]: ${message}`, ...hints.map((hint) => `       HINT: ${hint}`)]
  // An impossible state is a bug of pgts; the stack helps to find it.
  if (code === 'assert' && stack !== undefined) lines.push(stack)
  return `${printableLines(withShownName(lines.join('\n'), name))}\n`
}
