import type { CommandContext, LauncherContext } from '../commands/context.ts'
import type { CommandName } from '../config/resolve.ts'

/** The result of a command for the terminal layer. */
export interface Outcome {
  /** Written to stdout unchanged, line ends included. */
  readonly text?: string
  /** As `text`, in pieces that are created while they are written. */
  readonly pieces?: AsyncIterable<string>
  /** The result of the command in one line, for a person at a terminal: printed after the last log line. */
  readonly result?: string
  /** Hints about an empty report, for stderr, so that the output for programs does not change. */
  readonly hints?: readonly string[]
  /** Default 0. */
  readonly exitCode?: number
}

/** How the terminal runs one command. */
interface CommandRow<C extends CommandName, Report> {
  /** Import the command. The modules of other commands are not loaded. */
  load(): Promise<(ctx: CommandContext<C>, launcher: LauncherContext) => Promise<Report>>
  /** Absent: the command reports in log lines only, and its exit code is 0. */
  render?(report: Report, ctx: CommandContext<C>): Outcome | Promise<Outcome>
}

export type RunRow<C extends CommandName> = (ctx: CommandContext<C>, launcher: LauncherContext) => Promise<Outcome>

export type CommandRows = { readonly [C in CommandName]?: RunRow<C> }

export function row<C extends CommandName, Report>({ load, render }: CommandRow<C, Report>): RunRow<C> {
  return async (ctx, launcher) => {
    const command = await load()
    const report = await command(ctx, launcher)
    return render === undefined ? {} : render(report, ctx)
  }
}
