import { isStopFile, removeStopFile, stopFileName } from '../util/stop-file.ts'
import type { CommandContext } from './context.ts'

export interface StartReport {
  readonly stopFile: string
  readonly removed: boolean
}

/** Allow again what `stop` stopped. */
export async function start(ctx: CommandContext<'start'>): Promise<StartReport> {
  const { options, stanza, log } = ctx
  const { lockPath } = options
  const removed = removeStopFile(lockPath, stanza)
  if (!removed) log.warn(`stop file does not exist for ${stanza === '' ? 'all stanzas' : `stanza ${stanza}`}`)
  if (stanza !== '' && isStopFile(stopFileName(lockPath, ''))) {
    log.warn(
      `all stanzas are still stopped by ${stopFileName(lockPath, '')}\nHINT: pgts start, without a stanza, ends that`,
    )
  }
  return { stopFile: stopFileName(lockPath, stanza), removed }
}
