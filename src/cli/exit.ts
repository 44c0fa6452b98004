import { printableLines } from '../util/byte-string.ts'
import { EXIT_CODES, toPlainError } from '../util/error.ts'
import type { ProgramName } from '../util/program-name.ts'
import { withShownName } from './shown-name.ts'

/** `ERROR: [031]: text` and its hints, for errors that come before there is a logger. */
export function formatShortError(error: unknown, name: ProgramName = 'pgts'): string {
  const { code, message, hints, stack } = toPlainError(error)
  const number = String(EXIT_CODES[code]).padStart(3, '0')
  const lines = [`ERROR: [${number}]: ${message}`, ...hints.map((hint) => `       HINT: ${hint}`)]
  // An impossible state is our bug, and the place helps to find it.
  if (code === 'assert' && stack !== undefined) lines.push(stack)
  return `${printableLines(withShownName(lines.join('\n'), name))}\n`
}
