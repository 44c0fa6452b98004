import { isStopFile, removeStopFile, stopFileName } from '../util/stop-file.ts'
import type { CommandContext } from './context.ts'

export interface StartReport {
  readonly stopFile: string
  readonly removed: boolean
}

/** Remove the stop file, so that commands can run again. */
export async function start(ctx: CommandContext<'start'>): Promise<StartReport> {
  const { options, stanza, log } = ctx
  const { lockPath } = options
  const removed = removeStopFile(lockPath, stanza)
  if (!removed) log.warn(`stop file does not exist for ${stanza === '' ? 'all stanzas' : `stanza ${stanza}`}`)
  if (stanza !== '' && isStopFile(stopFileName(lockPath, ''))) {
    log.warn(`all stanzas are still stopped by ${stopFileName(lockPath, '')}\nHINT: run 'pgts start' without a stanza`)
  }
  return { stopFile: stopFileName(lockPath, stanza), removed }
}
