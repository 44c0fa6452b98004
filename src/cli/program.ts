import { commandNames, commandRow } from '../config/command-table.ts'
import { resolveOptions, type AnyResolved, type ResolveInput } from '../config/resolve.ts'
import { loadModule } from '../util/load-module.ts'
import { programName } from '../util/program-name.ts'
import { versionText } from '../util/version.ts'
import type { TextOutput } from './log-output.ts'

/** Runs a command that was understood; the number is the exit code. */
export type CommandRunner = (resolved: AnyResolved) => Promise<number>

export interface ProgramInput extends ResolveInput {
  readonly stdout: TextOutput
}

/**
 * Understands the command line and runs one command. The grammar of the command line is more than commander's, so argv
 * is resolved first; commander then dispatches the plain command. Rejects with the PgtsError of what is wrong.
 */
export async function runProgram(input: ProgramInput, runCommand: CommandRunner): Promise<number> {
  const resolved = await resolveOptions(input)
  // Monitoring asks for the version often: nothing is loaded for it.
  if (resolved.command === 'version') {
    input.stdout.write(versionText(resolved.options.output, programName(input.program)))
    return 0
  }
  if (resolved.command === 'help') {
    const { helpFor } = await loadModule(() => import('./render/help.ts'))
    input.stdout.write(await helpFor(resolved.parameters, input))
    return 0
  }
  // PostgreSQL calls these two for every segment, so they do not wait for commander to load.
  if (resolved.command === 'archive-push' || resolved.command === 'archive-get') return runCommand(resolved)
  return dispatch(resolved, runCommand)
}

async function dispatch(resolved: AnyResolved, runCommand: CommandRunner): Promise<number> {
  const { Command } = await loadModule(() => import('commander'))
  const program = new Command('pgts').exitOverride()
  let exitCode = 0
  for (const name of commandNames) {
    const command = program.command(name).helpOption(false)
    if (commandRow(name).parameters !== undefined) command.argument('[parameters...]')
    command.action(async () => {
      exitCode = await runCommand(resolved)
    })
  }
  // The parameters are in `resolved`; `--` keeps commander from reading options into them.
  await program.parseAsync([resolved.command, '--', ...resolved.parameters], { from: 'user' })
  return exitCode
}
