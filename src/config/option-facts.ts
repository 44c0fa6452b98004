import type { CommandName } from './command-table.ts'
import { groupOf, isBoolean, optionNames, rowFor, type OptionName } from './option-table.ts'
import { logOptions } from './options/log.ts'
import { PROGRAM, type CommandOverride, type OptionRow } from './option-row.ts'

/** Texts of the tables in help and reference pages. */
export const TOPICS = ['Command', 'General', 'Log', 'Repository', 'Stanza'] as const
export type Topic = (typeof TOPICS)[number]

type Row = OptionRow & CommandOverride

/** The heading of an option in the help of `command`; undefined if the option is not valid for it. */
export function topicOf(option: OptionName, command: CommandName): Topic | undefined {
  const row = rowFor(option, command)
  if (row === undefined) return undefined
  if (Object.hasOwn(logOptions, option)) return 'Log'
  const group = groupOf(option)
  if (group === 'repo' || option === 'repo') return 'Repository'
  if (group === 'pg' || option === 'pg-version-force') return 'Stanza'
  // Options of many commands are general, those of a few are specific to the command.
  return row.commands.length > 5 && option !== 'set' ? 'General' : 'Command'
}

/** An option as the help of a command shows it. */
export interface ShownOption {
  readonly name: OptionName
  readonly row: Row
  readonly topic: Topic
}

/** The options in help, manual page and completion of a command, by topic. Others are in the reference only. */
export function shownOptions(command: CommandName): ShownOption[] {
  return TOPICS.flatMap((topic) =>
    optionNames.flatMap((name) => {
      const row = topicOf(name, command) === topic ? rowFor(name, command) : undefined
      // pgts ignores or refuses them for every value.
      const isHidden = row?.internal === true || row?.support === 'warn' || row?.support === 'refuse'
      return row === undefined || isHidden ? [] : [{ name, row, topic }]
    }),
  )
}

/** `=<size>`; nothing for a boolean. */
export function typeHint(row: OptionRow): string {
  if (row.type === 'bool') return ''
  const words = {
    int: 'number',
    string: 'text',
    enum: 'word',
    path: 'path',
    size: 'size',
    time: 'time',
    list: 'text',
    hash: 'name=value',
  }
  const hint = `<${words[row.type]}>`
  return isBoolean(row) ? `[=${hint}]` : `=${hint}`
}

/** The default as it would be typed, or undefined. */
export function defaultText(row: Row, dialect: 'yaml' | 'ini'): string | undefined {
  const given = row.default
  if (given === undefined) return row.required === true ? 'none, must be set' : undefined
  if (typeof given !== 'object') return given === PROGRAM ? 'the running program' : String(given)
  if (dialect in given) return String((given as { yaml: unknown; ini: unknown })[dialect])
  return Object.entries((given as { by: Record<string, unknown> }).by)
    .map(([when, value]) => `${String(value)} for ${when}`)
    .join(', ')
}

/** `y, n`; `1 to 999`; the choices. undefined if every value of the type is allowed. */
export function allowedText(row: Row): string | undefined {
  if (row.choices !== undefined) return row.choices.join(', ')
  if (row.type === 'bool') return 'y, n'
  if (row.range === undefined) return undefined
  if (!('by' in row.range)) return `${row.range[0]} to ${row.range[1]}`
  return Object.entries(row.range.by)
    .map(([when, [min, max]]) => `${min} to ${max} for ${when}`)
    .join(', ')
}
