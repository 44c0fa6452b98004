import { parseCommandLine, type CommandLine } from '../config/argv.ts'
import { resolveOptions, type AnyResolved, type ResolveInput } from '../config/resolve.ts'
import { loadModule } from '../util/load-module.ts'
import { programName } from '../util/program-name.ts'
import { versionText } from '../util/version.ts'
import type { TextOutput } from './log-output.ts'

/** Runs a command with resolved options; returns the exit code. */
export type CommandRunner = (resolved: AnyResolved) => Promise<number>

export interface ProgramInput extends Omit<ResolveInput, 'parse'> {
  readonly stdout: TextOutput
}

/**
 * Parses the command line, resolves the options and runs the command. Rejects with the PgtsError of an invalid command
 * line.
 */
export async function runProgram(input: ProgramInput, runCommand: CommandRunner): Promise<number> {
  const request = { ...input, ...(await parserOf(input.argv)) }
  const resolved = await resolveOptions(request)
  if (resolved.command === 'version') {
    input.stdout.write(versionText(resolved.options.output, programName(input.program)))
    return 0
  }
  if (resolved.command === 'help') {
    const { helpFor } = await loadModule(() => import('./render/help.ts'))
    input.stdout.write(await helpFor(resolved.parameters, request))
    return 0
  }
  if (resolved.command === 'completion') {
    const { completionScript } = await loadModule(() => import('./completion/script.ts'))
    input.stdout.write(completionScript(resolved.parameters[0]))
    return 0
  }
  return runCommand(resolved)
}

const ARCHIVING = /^archive-(push|get)(:[a-z]+)?$/

/** undefined: help is wanted, or the command line is refused. */
function runnable(argv: readonly string[]): CommandLine | undefined {
  try {
    const line = parseCommandLine(argv)
    return line.command === 'help' ? undefined : line
  } catch {
    return undefined
  }
}

/** commander, which takes time to load, is only needed for help and for a command line that is refused. */
async function parserOf(argv: readonly string[]): Promise<{ parse?: (argv: readonly string[]) => CommandLine }> {
  const line = runnable(argv)
  if (line !== undefined) return { parse: () => line }
  if (argv.some((word) => ARCHIVING.test(word))) return {}
  const { parseWithCommander } = await loadModule(() => import('./parse-arguments.ts'))
  return { parse: parseWithCommander }
}
