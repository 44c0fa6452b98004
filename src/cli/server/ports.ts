import type { CommandContext, LauncherContext } from '../../commands/context.ts'
import type { ServerPorts } from '../../commands/server/ports.ts'
import { resolveOptions } from '../../config/resolve.ts'
import { onHangUp } from '../signals.ts'
import { connectionStarter } from './start-connection.ts'

/** Options that say where the configuration is. */
const CONFIG_OPTIONS = /^--(?:no-)?config(?:-path|-include-path)?(?:=|$)/

export function openServerPorts(ctx: CommandContext<'server'>, { callPattern }: LauncherContext): ServerPorts {
  const { env, program } = ctx
  return {
    configArguments: ctx.commandLineFor('server').filter((word) => CONFIG_OPTIONS.test(word)),
    startConnection: connectionStarter(program),
    readOptions: async () => {
      // The command takes no parameters.
      const argv = callPattern.filter((word) => word !== undefined)
      const resolved = await resolveOptions({ argv, env, program, uid: process.getuid?.() })
      for (const warning of resolved.warnings) ctx.log.warn(warning)
      return resolved.options as CommandContext<'server'>['options']
    },
    onHangUp,
  }
}
