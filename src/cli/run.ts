import { parseCommandLine } from '../config/argv.ts'
import type { AnyResolved } from '../config/resolve.ts'
import { asyncRows, commandRows } from './command-rows.ts'
import { tellShortly } from './last-resort.ts'
import { descriptorOutput } from './log-output.ts'
import { runProgram } from './program.ts'
import { runCommand, type Process } from './run-command.ts'

export type { Process } from './run-command.ts'

const stdout = descriptorOutput(1)

/** Run one command from its arguments to its exit code. Everything that goes wrong is told here, once. */
export async function run(argv: readonly string[], process: Process): Promise<number> {
  const input = { argv, env: process.env, program: process.program, uid: globalThis.process.getuid?.(), stdout }
  let understood = false
  try {
    return await runProgram(input, (resolved) => {
      understood = true
      return resolved.command === 'check' && resolved.options.stanza === undefined
        ? checkAll(resolved, argv, process)
        : runUnderstood(resolved, process)
    })
  } catch (error) {
    // No logger exists yet: the options that say how to log may be what is wrong.
    return tellShortly(error, argv, process.program, !understood && isForConsole(argv))
  }
}

/**
 * Does pgbackrest report errors of this command line on the console, standard output? Once the command is known it does;
 * what is wrong with the words themselves goes to standard error. With JSON and repo-get, standard output has the answer only.
 */
function isForConsole(argv: readonly string[]): boolean {
  try {
    const { command, role, settings } = parseCommandLine(argv)
    const isJson = settings.some(({ option, typed }) => option === 'output' && typed[0] === 'json')
    return role === undefined && command !== 'help' && command !== 'repo-get' && !isJson
  } catch {
    return false
  }
}

/** `check` without a stanza checks each that the configuration names. */
async function checkAll(resolved: AnyResolved, argv: readonly string[], process: Process): Promise<number> {
  if (resolved.stanzas.length === 0) return runUnderstood(resolved, process)
  let worst = 0
  for (const stanza of resolved.stanzas) worst = (await run([...argv, `--stanza=${stanza}`], process)) || worst
  return worst
}

function runUnderstood(resolved: AnyResolved, process: Process): Promise<number> {
  return runCommand(resolved, process, resolved.role === 'async' ? asyncRows : commandRows)
}
