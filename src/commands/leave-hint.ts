import { writeLaunchHint } from '../core/archive/launch-hint.ts'
import { decodeUtf8 } from '../util/byte-string.ts'
import type { CommandContext } from './context.ts'

/** From now on the launcher answers from the spool, without this program. */
export async function leaveHint(
  ctx: CommandContext<'archive-get'> | CommandContext<'archive-push'>,
  pgPath: string,
  door: string,
): Promise<void> {
  const { command, options, stanza, configLooked, callPattern, launchEnvironment, startedMs } = ctx
  await writeLaunchHint({
    command,
    stanza,
    pgPath,
    // Through the door: it leads nowhere once the spool is another cluster's.
    spool: decodeUtf8(door),
    lockPath: options.lockPath,
    configLooked,
    environment: launchEnvironment,
    callPattern,
    startedMs,
  })
}
