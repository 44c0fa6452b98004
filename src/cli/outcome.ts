import type { CommandContext } from '../commands/context.ts'
import type { CommandName } from '../config/resolve.ts'

/** What a command leaves for the terminal. */
export interface Outcome {
  /** For stdout, as it is: line ends included. */
  readonly text?: string
  /** As `text`, in pieces that come while they are made. */
  readonly pieces?: AsyncIterable<string>
  /** Default 0. */
  readonly exitCode?: number
}

/** Commands and what carries them out. */
export type CommandHandlers = { readonly [C in CommandName]?: (ctx: CommandContext<C>) => Promise<Outcome> }
