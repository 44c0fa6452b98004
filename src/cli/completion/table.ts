import { commandNames, commandRow, type CommandName } from '../../config/command-table.ts'
import { shownOptions } from '../../config/option-facts.ts'
import { withIndex } from '../../config/option-name.ts'
import { isBoolean, isNegatable, type OptionName } from '../../config/option-table.ts'
import type { OptionRow } from '../../config/option-row.ts'

/** One option of the commands that take it with the same values. */
export interface Flag {
  /** `repo1-path`; completion puts another index in its place. */
  readonly name: string
  readonly summary: string
  readonly negatable: boolean
  /** What follows `=`: nothing, a path, one of some words, or any text. */
  readonly value: 'none' | 'path' | 'text' | readonly string[]
  /** It may also be written without a value. */
  readonly bare: boolean
  readonly commands: readonly CommandName[]
}

/** The commands that are offered. */
export const offeredCommands = commandNames.filter((name) => commandRow(name).internal !== true)

/** Options with a path that is not checked as such. */
const ALSO_PATHS: readonly OptionName[] = ['config', 'file', 'pg-socket-path', 'tablespace-map-all']

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** All flags, in the order of their names. */
export function flags(): Flag[] {
  const found = new Map<string, Flag & { commands: CommandName[] }>()
  for (const command of commandNames) {
    for (const { name, row } of shownOptions(command)) {
      // The command line refuses other secrets.
      if (row.secret === true && row.section !== 'command-line') continue
      const flag = flagOf(name, row, command)
      const id = `${flag.name} ${String(flag.value)}`
      const before = found.get(id)
      if (before === undefined) found.set(id, flag)
      else before.commands.push(command)
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

function flagOf(option: OptionName, row: OptionRow, command: CommandName): Flag & { commands: CommandName[] } {
  const isPath = row.type === 'path' || ALSO_PATHS.includes(option)
  return {
    name: withIndex(option, 1),
    summary: row.summary,
    negatable: isNegatable(row),
    value: row.type === 'bool' ? 'none' : (row.choices ?? (isPath ? 'path' : 'text')),
    bare: isBoolean(row),
    commands: [command],
  }
}

/** What the scripts of bash and zsh contain, with patterns of their `case`. */
export interface CompletionTable {
  readonly groups: readonly FlagGroup[]
  /** The numbers of the groups of each command. */
  readonly commands: readonly { readonly name: CommandName; readonly groups: readonly number[] }[]
  /** Words by patterns of `COMMAND:--OPTION`. */
  readonly values: readonly { readonly pattern: string; readonly words: readonly string[] }[]
  /** The same pattern for options that take a path. */
  readonly paths: string
  /** Pattern of the options whose value may be the next word. */
  readonly valued: string
}

export function completionTable(): CompletionTable {
  const all = flags()
  const groups = flagGroups(all)
  return {
    groups,
    commands: commandNames.map((name) => ({ name, groups: groupsOf(name, groups) })),
    values: valuePatterns(all),
    paths: pathNames(all)
      .map((name) => `*:--${name}`)
      .join('|'),
    valued: valuedNames(all)
      .map((name) => `--${name}`)
      .join('|'),
  }
}

/** `--type=`, `--dry-run`, `--no-dry-run`: the words that a flag adds to a command line. */
export function wordsOf({ name, value, bare, negatable }: Flag): string[] {
  return [
    ...(bare ? [`--${name}`] : []),
    ...(value === 'none' ? [] : [`--${name}=`]),
    ...(negatable ? [`--no-${name}`] : []),
  ]
}

/** Flags that the same commands take, so that a script lists them once. */
export interface FlagGroup {
  readonly commands: readonly CommandName[]
  readonly flags: readonly Flag[]
}

function flagGroups(all: readonly Flag[]): FlagGroup[] {
  const groups = grouped(all, ({ commands }) => commands.join(' '))
  return [...groups.values()].map((members) => ({ commands: members[0]!.commands, flags: members }))
}

/** The numbers of the groups of each command. */
function groupsOf(command: CommandName, groups: readonly FlagGroup[]): number[] {
  return groups.flatMap(({ commands }, at) => (commands.includes(command) ? [at] : []))
}

/** The words of options with a list, as patterns of a shell's `case` over `COMMAND:--OPTION`; no command: all words of the option. */
function valuePatterns(all: readonly Flag[]): { readonly pattern: string; readonly words: readonly string[] }[] {
  const byName = [...grouped(all, ({ name }) => name)]
  return byName.flatMap(([name, variants]) => {
    const listed = variants.flatMap(({ value, commands }) => (typeof value === 'string' ? [] : [{ value, commands }]))
    if (listed.length === 0) return []
    if (variants.length === 1) return [{ pattern: `*:--${name}`, words: listed[0]!.value }]
    const union = [...new Set(listed.flatMap(({ value }) => value))]
    return [
      ...listed.map(({ value, commands }) => ({
        pattern: commands.map((command) => `${command}:--${name}`).join('|'),
        words: value,
      })),
      { pattern: `:--${name}`, words: union },
    ]
  })
}

/** Names of the options that take a path. */
function pathNames(all: readonly Flag[]): string[] {
  return [...new Set(all.filter(({ value }) => value === 'path').map(({ name }) => name))]
}

/** Names of the options whose value may be the next word. */
export function valuedNames(all: readonly Flag[]): string[] {
  return [...new Set(all.filter(({ bare }) => !bare).map(({ name }) => name))]
}

function grouped(all: readonly Flag[], keyOf: (flag: Flag) => string): Map<string, Flag[]> {
  const groups = new Map<string, Flag[]>()
  for (const flag of all) groups.set(keyOf(flag), [...(groups.get(keyOf(flag)) ?? []), flag])
  return groups
}
