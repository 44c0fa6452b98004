import { resolve as absolute } from 'node:path'
import { textToShow } from './shown.ts'
import type { CommandName } from './command-table.ts'
import { isBoolean, optionRow, rowFor } from './option-table.ts'
import type { ResolvedValue } from './evaluate.ts'
import type { AnyResolved } from './resolve.ts'

/**
 * The arguments in `backup command begin <version>: ARGUMENTS`; '' if all values are defaults. Secrets are `<redacted>`.
 *
 * @param command only options that are valid for it; a backup continues as expire
 */
export function commandBeginArgs(resolved: AnyResolved, command: CommandName = resolved.command): string {
  const parameters = resolved.parameters.length === 0 ? [] : [`[${resolved.parameters.map(quoted).join(', ')}]`]
  const values = [...resolved.values.values()].filter(({ option }) => rowFor(option, command) !== undefined)
  return [...parameters, ...values.flatMap((value) => asArguments(value, true))].join(' ')
}

/**
 * Arguments that give `command` the options of this run: options of the command line that are valid for `command`, too
 * (and config, stanza from the environment, which the other process may not have), in name order; config as an absolute
 * path, because the other process starts in another directory. log-level-console is left out.
 */
export function commandLineFor(resolved: AnyResolved, command: CommandName, cwd: string): readonly string[] {
  return [...resolved.values.values()].flatMap((value) => {
    const row = optionRow(value.option)
    if (!row.commands.includes(command) || row.secret === true || value.option === 'log-level-console') return []
    const carried =
      value.source === 'environment' && ['config', 'config-path', 'config-include-path', 'stanza'].includes(value.name)
    if (value.source !== 'command line' && !carried) return []
    if (value.name === 'config' && typeof value.value === 'string') return [`--config=${absolute(cwd, value.value)}`]
    return asArguments(value, false)
  })
}

/** `--name=value` once for each value; `--name` or `--no-name` for a boolean; `--reset-name`. */
function asArguments(value: ResolvedValue, forPeople: boolean): string[] {
  if (value.source === 'default') return []
  if (value.reset) return [`--reset-${value.name}`]
  const row = optionRow(value.option)
  if (value.negated && !(isBoolean(row) && row.type !== 'bool')) return [`--no-${value.name}`]
  if (row.type === 'bool') return [value.value === true ? `--${value.name}` : `--no-${value.name}`]
  return value.typed.map((typed) => {
    const text = textToShow(value.option, typed)
    return `--${value.name}=${forPeople ? quoted(text) : typed}`
  })
}

function quoted(text: string): string {
  return text.includes(' ') ? `"${text}"` : text
}
