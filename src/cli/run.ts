import { parseCommandLine } from '../config/argv.ts'
import type { AnyResolved, CommandName } from '../config/resolve.ts'
import { loadModule } from '../util/load-module.ts'
import { commandRows, roleRows } from './command-rows.ts'
import { reportShortly } from './last-resort.ts'
import { descriptorOutput } from './log-output.ts'
import { runProgram } from './program.ts'
import { runCommand, type Process } from './run-command.ts'

export type { Process } from './run-command.ts'

const stdout = descriptorOutput(1)

/** Run one command. Errors before its log is open are reported here. @returns the exit code */
export async function run(argv: readonly string[], process: Process): Promise<number> {
  const input = { argv, env: process.env, program: process.program, uid: globalThis.process.getuid?.(), stdout }
  let parsed = false
  try {
    return await runProgram(input, (resolved) => {
      parsed = true
      return EACH_STANZA.includes(resolved.command) && resolved.options.stanza === undefined && !isServing(resolved)
        ? runForEach(resolved, argv, process)
        : runResolved(resolved, process)
    })
  } catch (error) {
    // No logger exists yet: the log options themselves may be invalid.
    return reportShortly(error, argv, process.program, !parsed && isForConsole(argv))
  }
}

/** Their standard output is the result, which a shell or a pipe reads. */
const REPORTING: readonly CommandName[] = ['completion', 'help', 'repo-get']

/**
 * True if pgbackrest reports errors of this command line on the console (standard output). It does for a valid command line;
 * syntax errors go to standard error. With JSON and some commands standard output has only the report.
 */
function isForConsole(argv: readonly string[]): boolean {
  try {
    const { command, role, settings } = parseCommandLine(argv)
    const isJson = settings.some(({ option, typed }) => option === 'output' && typed[0] === 'json')
    return role === undefined && !REPORTING.includes(command) && !isJson
  } catch {
    return false
  }
}

/** Without a stanza they run for each stanza of the configuration. */
const EACH_STANZA: readonly CommandName[] = ['check', 'doctor']

async function runForEach(resolved: AnyResolved, argv: readonly string[], process: Process): Promise<number> {
  if (resolved.stanzas.length === 0) return runResolved(resolved, process)
  const codes: number[] = []
  for (const stanza of resolved.stanzas) codes.push(await run([...argv, `--stanza=${stanza}`], process))
  // The levels of doctor --output=nagios are ordered; of other codes the last one counts.
  const isLevel = codes.every((code) => code <= 2)
  return isLevel ? Math.max(...codes) : (codes.findLast((code) => code !== 0) ?? 0)
}

async function runResolved(resolved: AnyResolved, process: Process): Promise<number> {
  const { role } = resolved
  if (role !== 'remote') return runCommand(resolved, process, role === undefined ? commandRows : roleRows[role])
  const { runRemote } = await loadModule(() => import('./remote/run-remote.ts'))
  await runRemote(resolved, process)
  return 0
}

function isServing({ role }: AnyResolved): boolean {
  return role === 'remote'
}
