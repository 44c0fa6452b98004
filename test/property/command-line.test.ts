import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseWithCommander } from '../../src/cli/parse-arguments.ts'
import { parseCommandLine, type CommandLine } from '../../src/config/argv.ts'
import { commandNames } from '../../src/config/command-table.ts'
import { groupOf, optionNames, optionRow } from '../../src/config/option-table.ts'
import { isPgtsError } from '../../src/util/error.ts'

const index = fc.oneof(fc.integer({ min: 1, max: 3 }), fc.constantFrom(0, 256, 257)).map(String)
const optionName = fc.tuple(fc.constantFrom(...optionNames), fc.option(index, { freq: 8 })).map(([name, key]) => {
  const group = groupOf(name)
  return group === undefined || key === null ? name : `${group}${key}${name.slice(group.length)}`
})
const formerName = fc.constantFrom(
  ...optionNames.flatMap((name) => (optionRow(name).formerly ?? []).map((old) => old.replace('?', '1'))),
)
const shortened = fc
  .tuple(optionName, fc.integer({ min: 0, max: 4 }))
  .map(([name, cut]) => name.slice(0, name.length - cut))
const name = fc.oneof(
  { weight: 6, arbitrary: optionName },
  { weight: 2, arbitrary: shortened },
  { weight: 1, arbitrary: formerName },
  { weight: 1, arbitrary: fc.constantFrom('help', 'version', 'a--b', '-path', 'x-', '__proto__', 'no', '=', '') },
)
const form = fc.constantFrom('', '', '', 'no-', 'reset-')
const value = fc.oneof(
  fc.constantFrom('y', 'n', '3', '-3', '-x', '-h', '-', '--', '--delta', '', 'a=b', 'a b', 'main', '/pg', 'backup'),
  fc.string({ maxLength: 5 }),
)
const words = fc.oneof(
  fc.tuple(form, name).map(([prefix, written]) => [`--${prefix}${written}`]),
  fc.tuple(form, name, value).map(([prefix, written, text]) => [`--${prefix}${written}=${text}`]),
  fc.tuple(name, value).map(([written, text]) => [`--${written}`, text]),
  fc.constantFrom(...commandNames, 'b', 'ver', 'archive-push:async').map((command) => [command]),
  fc.constantFrom('-h', '-V', '-x', '-3', '-xyz', '--', '-', '').map((word) => [word]),
  value.map((text) => [text]),
)
const commandLines = fc.array(words, { maxLength: 6 }).map((groups) => groups.flat())

type Outcome = { readonly line: Omit<CommandLine, 'parametersAt'> } | { readonly error: unknown }

function outcomeOf(parse: (argv: readonly string[]) => CommandLine, argv: readonly string[]): Outcome {
  try {
    const { parametersAt: _, ...line } = parse(argv)
    return { line }
  } catch (error) {
    if (!isPgtsError(error)) throw error
    return { error: [error.code, error.message, error.hints] }
  }
}

test('commander and the parser of archive-push return the same result or error for every command line', () => {
  let parsed = 0
  fc.assert(
    fc.property(commandLines, (argv) => {
      const expected = outcomeOf(parseCommandLine, argv)
      expect(outcomeOf(parseWithCommander, argv)).toEqual(expected)
      if ('line' in expected) parsed++
    }),
    { numRuns: 3000 },
  )
  expect(parsed).toBeGreaterThan(100)
})

test('commander and the parser of archive-push find its parameters and options', () => {
  const argv = ['--stanza', 'main', 'archive-push', '--pg1-path=/pg', '--no-archive-async', '--', 'pg_wal/--x']
  const line = parseCommandLine(argv)
  expect(line).toMatchObject({ command: 'archive-push', parameters: ['pg_wal/--x'], parametersAt: [6] })
  expect(line.settings.map(({ option, typed }) => [option, ...typed])).toEqual([
    ['stanza', 'main'],
    ['pg-path', '/pg'],
    ['archive-async', 'n'],
  ])
  expect(outcomeOf(parseWithCommander, argv)).toEqual(outcomeOf(parseCommandLine, argv))
})
