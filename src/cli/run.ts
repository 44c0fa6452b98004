import type { AnyResolved } from '../config/resolve.ts'
import { asyncRows, commandRows } from './command-rows.ts'
import { reportInvalidCall, reportShortly } from './last-resort.ts'
import { descriptorOutput } from './log-output.ts'
import { runProgram } from './program.ts'
import { runCommand, type Process } from './run-command.ts'

export type { Process } from './run-command.ts'

const stdout = descriptorOutput(1)

/**
 * Run one command. Errors before its log is open are reported here.
 *
 * @param known its options, if the caller has resolved them
 * @returns the exit code
 */
export async function run(argv: readonly string[], process: Process, known?: AnyResolved): Promise<number> {
  const input = { argv, env: process.env, program: process.program, uid: globalThis.process.getuid?.(), stdout, known }
  let isResolved = false
  try {
    return await runProgram(input, (resolved) => {
      isResolved = true
      return resolved.command === 'check' && resolved.options.stanza === undefined
        ? checkAll(resolved, argv, process)
        : runResolved(resolved, process)
    })
  } catch (error) {
    return (isResolved ? reportShortly : reportInvalidCall)(error, argv, process.program)
  }
}

/** `check` without a stanza checks each stanza of the configuration. */
async function checkAll(resolved: AnyResolved, argv: readonly string[], process: Process): Promise<number> {
  if (resolved.stanzas.length === 0) return runResolved(resolved, process)
  let worst = 0
  for (const stanza of resolved.stanzas) worst = (await run([...argv, `--stanza=${stanza}`], process)) || worst
  return worst
}

function runResolved(resolved: AnyResolved, process: Process): Promise<number> {
  return runCommand(resolved, process, resolved.role === 'async' ? asyncRows : commandRows)
}
