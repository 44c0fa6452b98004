import { commandRow, type CommandName, type Parameters } from './command-table.ts'

/**
 * Processes that a command starts: `async` works in the background, `hook` runs a hook, `remote` serves the command on
 * another host. Absent: the command itself.
 */
export const COMMAND_ROLES = ['async', 'hook', 'remote'] as const
export type CommandRole = (typeof COMMAND_ROLES)[number]

/** The parameters of a command, or of a process that it starts. undefined: the command has no such role. */
export function parametersOf(name: CommandName, role: CommandRole | undefined): Parameters | undefined {
  const row = commandRow(name)
  if (role === undefined) return row.parameters ?? NO_PARAMETERS
  if (role === 'remote') return row.remote ?? (row.stanza === 'none' ? undefined : NO_PARAMETERS)
  return row[role]
}

const NO_PARAMETERS: Parameters = { usage: '', min: 0, max: 0 }
