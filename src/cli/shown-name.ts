import { commandNames } from '../config/command-table.ts'
import type { ProgramName } from '../util/program-name.ts'

/** A command line in a message: the program name, followed by an option or a command. */
const COMMAND_LINE = new RegExp(`(?<![\\w/.-])pgts (?=--[a-z]|(?:COMMAND|${commandNames.join('|')})\\b)`, 'g')

/** Replaces the name pgts in commands of messages and hints by the name under which the program was called. */
export function withShownName(text: string, name: ProgramName): string {
  return name === 'pgts' ? text : text.replace(COMMAND_LINE, `${name} `)
}
