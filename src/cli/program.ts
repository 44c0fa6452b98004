import { commandNames, commandRow, type CommandName } from '../config/command-table.ts'
import { resolveOptions, type AnyResolved, type Resolved, type ResolveInput } from '../config/resolve.ts'
import { pgtsVersion } from '../util/version.ts'
import type { TextOutput } from './log-output.ts'

/** What runs a command; the number is the exit code. help and version are answered here. */
export type Handlers = {
  readonly [C in Exclude<CommandName, 'help' | 'version'>]?: (resolved: Resolved<C>) => Promise<number>
}

export interface ProgramInput extends ResolveInput {
  readonly stdout: TextOutput
}

/**
 * Understands the command line and runs one command. The grammar of the command line is more than commander's, so argv
 * is resolved first; commander then dispatches the plain command. Rejects with the PgtsError of what is wrong.
 */
export async function runProgram(input: ProgramInput, handlers: Handlers): Promise<number> {
  const resolved = await resolveOptions(input)
  // Monitoring asks for the version often: nothing is loaded for it.
  if (resolved.command === 'version') {
    input.stdout.write(versionText(resolved.options.output))
    return 0
  }
  if (resolved.command === 'help') {
    const { helpFor } = await import('./render/help.ts')
    input.stdout.write(await helpFor(resolved.parameters, input))
    return 0
  }
  return dispatch(resolved, handlers)
}

/** `pgts 1.2.3` with its newline, or for scripts 1002003 and nothing else. */
export function versionText(output: 'text' | 'num', version = pgtsVersion): string {
  if (output === 'text') return `pgts ${version}\n`
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number)
  return String(major * 1_000_000 + minor * 1000 + patch)
}

async function dispatch(resolved: AnyResolved, handlers: Handlers): Promise<number> {
  const { Command } = await import('commander')
  const program = new Command('pgts').exitOverride()
  let exitCode = 0
  for (const name of commandNames) {
    const handler = handlers[name as keyof Handlers] as ((of: AnyResolved) => Promise<number>) | undefined
    if (handler === undefined) continue
    const command = program.command(name).helpOption(false)
    if (commandRow(name).parameters !== undefined) command.argument('[parameters...]')
    command.action(async () => {
      exitCode = await handler(resolved)
    })
  }
  // The parameters are in `resolved`; `--` keeps commander from reading options into them.
  await program.parseAsync([resolved.command, '--', ...resolved.parameters], { from: 'user' })
  return exitCode
}
