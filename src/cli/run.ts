import type { AnyResolved } from '../config/resolve.ts'
import { asyncHandlers, handlers } from './handlers.ts'
import { tellShortly } from './last-resort.ts'
import { descriptorOutput } from './log-output.ts'
import { runProgram } from './program.ts'
import { runCommand, type Process } from './run-command.ts'

export type { Process } from './run-command.ts'

const stdout = descriptorOutput(1)

/** Run one command from its arguments to its exit code. Everything that goes wrong is told here, once. */
export async function run(argv: readonly string[], process: Process): Promise<number> {
  const input = { argv, env: process.env, program: process.program, uid: globalThis.process.getuid?.(), stdout }
  try {
    return await runProgram(input, (resolved) =>
      resolved.command === 'check' && resolved.options.stanza === undefined
        ? checkAll(resolved, argv, process)
        : runUnderstood(resolved, process),
    )
  } catch (error) {
    // No logger stands yet: how to log is what could not be understood.
    return tellShortly(error, argv, process.program)
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
  return runCommand(resolved, process, resolved.role === 'async' ? asyncHandlers : handlers)
}
