import { expect } from 'vitest'
import type { RunResult } from './processes/test-user.ts'

export interface Refusal {
  readonly code: number
  /** What has to be in the text: what happened, to what. */
  readonly says: readonly (string | RegExp)[]
  /** What has to be in a HINT line: the next step. Null where the message itself is the next step. */
  readonly hint: string | RegExp | null
}

/** All that an operator sees, as it stands in the terminal. */
export function seen(result: RunResult): string {
  return result.stdout + result.stderr
}

/**
 * A run that was refused or failed, read as an operator would: one error with its number, what happened to what, what
 * to do next, nothing said twice, and no innards of the program.
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
  expectNoInnards(text)
  expect(result.code).toBe(code)
}

/** No stack, no value that was never filled in, no line twice. */
export function expectNoInnards(text: string): void {
  expect(text).not.toMatch(/^\s+at .*(:\d+:\d+|node:)/m)
  expect(text).not.toMatch(/\bundefined\b|\bNaN\b|\[object |\bASSERT\b|\.ts:\d|\bENOENT\b|\bEACCES\b/)
  const lines = text
    .split('\n')
    .map((line) => line.replace(/^.*?(ERROR|WARN|INFO|HINT): /, '').trim())
    .filter((line) => line !== '')
  expect(
    lines.filter((line, index) => lines.indexOf(line) !== index),
    'lines said twice',
  ).toEqual([])
}
