import { writeLaunchHint } from '../core/archive/launch-hint.ts'
import { decodeUtf8 } from '../util/byte-string.ts'
import type { CommandContext, LauncherContext } from './context.ts'

/** Write the launch hint: the launcher then answers calls from the spool without Node. */
export async function leaveHint(
  ctx: CommandContext<'archive-get'> | CommandContext<'archive-push'>,
  launcher: LauncherContext,
  pgPath: string,
  door: string,
): Promise<void> {
  const { command, options, stanza } = ctx
  const { configLooked, callPattern, environment, startedMs } = launcher
  await writeLaunchHint({
    command,
    stanza,
    pgPath,
    // Through the door: it leads nowhere once the spool is another cluster's.
    spool: decodeUtf8(door),
    lockPath: options.lockPath,
    configLooked,
    environment,
    callPattern,
    startedMs,
  })
}
