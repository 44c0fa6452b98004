import { writeLaunchHint, type LaunchMode } from '../../core/archive/launcher/launch-hint.ts'
import { decodeUtf8, type ByteString } from '../../util/byte-string.ts'
import type { CommandContext, LauncherContext } from '../context.ts'

/**
 * Write the launch hint: the launcher then answers calls without Node.
 *
 * @param directory the owner directory of the spool, or the directory of the resident process
 */
export async function leaveHint(
  ctx: CommandContext<'archive-get'> | CommandContext<'archive-push'>,
  launcher: LauncherContext,
  pgPath: string,
  directory: ByteString,
  mode: LaunchMode = 'spool',
): Promise<void> {
  const { command, options, stanza } = ctx
  const { configLooked, callPattern, environment, startedMs } = launcher
  await writeLaunchHint({
    command,
    stanza,
    mode,
    pgPath,
    // Fencing: the owner directory is removed when another cluster takes the spool over.
    spool: decodeUtf8(directory),
    lockPath: options.lockPath,
    configLooked,
    environment,
    callPattern,
    startedMs,
  })
}
