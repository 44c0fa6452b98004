import { expect } from 'vitest'
import type { RunResult } from './processes/test-user.ts'

export interface Refusal {
  readonly code: number
  /** Texts that the message must contain: what happened, to what. */
  readonly says: readonly (string | RegExp)[]
  /** Text that a HINT line must contain: the next step. Null if the message itself has the next step. */
  readonly hint: string | RegExp | null
}

/** All output that an operator sees in the terminal. */
export function seen(result: RunResult): string {
  return result.stdout + result.stderr
}

/**
 * A run that was refused or failed, as an operator reads it: one error with its number, what happened to what, what
 * to do next, no line twice, and no internals of the program.
 */
export function expectRefusal(result: RunResult, { code, says, hint }: Refusal): void {
  const text = seen(result)
  if (process.env['PGTS_TEST_SHOW'] !== undefined) console.log(text)
  const number = `[${String(code).padStart(3, '0')}]`
  expect(text, `an error with ${number}`).toMatch(new RegExp(`ERROR: \\${number}: \\S`))
  expect(text.match(/ERROR: /g), 'one error').toHaveLength(1)
  for (const words of says) expect(text).toMatch(words)
  const hints = text.split('\n').filter((line) => line.includes('HINT: '))
  if (hint !== null) expect(hints.join('\n'), 'a hint').toMatch(hint)
  expectNoInternals(text)
  expect(result.code).toBe(code)
}

/** No stack, no undefined value, no line twice. */
export function expectNoInternals(text: string): void {
  expect(text).not.toMatch(/^\s+at .*(:\d+:\d+|node:)/m)
  expect(text).not.toMatch(/\bundefined\b|\bNaN\b|\[object |\bASSERT\b|\.ts:\d|\bENOENT\b|\bEACCES\b/)
  const lines = text
    .split('\n')
    .map((line) => line.replace(/^.*?(ERROR|WARN|INFO|HINT): /, '').trim())
    .filter((line) => line !== '')
  expect(
    lines.filter((line, index) => lines.indexOf(line) !== index),
    'lines that occur twice',
  ).toEqual([])
}
