import { writeLaunchHint } from '../../core/archive/launcher/launch-hint.ts'
import { decodeUtf8, type ByteString } from '../../util/byte-string.ts'
import type { CommandContext, LauncherContext } from '../context.ts'

/** Write the launch hint: the launcher then answers calls from the spool without Node. */
export async function leaveHint(
  ctx: CommandContext<'archive-get'> | CommandContext<'archive-push'>,
  launcher: LauncherContext,
  pgPath: string,
  ownerDirectory: ByteString,
): Promise<void> {
  const { command, options, stanza } = ctx
  const { configLooked, callPattern, environment, startedMs } = launcher
  await writeLaunchHint({
    command,
    stanza,
    pgPath,
    // Fencing: this path is removed when another cluster takes the spool over.
    spool: decodeUtf8(ownerDirectory),
    lockPath: options.lockPath,
    configLooked,
    environment,
    callPattern,
    startedMs,
  })
}
