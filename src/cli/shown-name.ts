import { commandNames } from '../config/command-table.ts'
import type { ProgramName } from '../util/program-name.ts'

/** A command line in a message: the name of the program, then an option or a command. */
const COMMAND_LINE = new RegExp(`(?<![\\w/.-])pgts (?=--[a-z]|(?:COMMAND|${commandNames.join('|')})\\b)`, 'g')

/** Messages and hints name commands of pgts; they are shown with the name that the program was called by. */
export function withShownName(text: string, name: ProgramName): string {
  return name === 'pgts' ? text : text.replace(COMMAND_LINE, `${name} `)
}
