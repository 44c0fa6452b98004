import { resolve } from 'node:path'
import type { CommandContext } from '../../commands/context.ts'
import type { InitPorts } from '../../commands/init/ports.ts'
import { openConfigFile } from '../../config/change/config-file.ts'
import { openDialogue } from './dialogue.ts'

/** @param configFiles the files that were read */
export function openInitPorts(ctx: CommandContext<'init'>, configFiles: readonly string[]): InitPorts & Disposable {
  const { options, cwd, signal } = ctx
  const dialogue = openDialogue(options.output === 'json', signal)
  const named = ctx.isSet('config') ? undefined : configFiles[0]
  return {
    dialogue,
    openConfig: () => openConfigFile(named ?? resolve(cwd, options.config ?? '')),
    [Symbol.dispose]: () => dialogue[Symbol.dispose](),
  }
}
