import { closeSync, openSync, statSync, utimesSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import type { SpoolPaths } from '../spool-files.ts'

/** In the directory `pgts` of the spool. A call of archive-push that waits touches it. */
export const WAKE_FILE = 'wake-push'

/** Notify the background process that a call waits. */
export function wakeBackground(spool: SpoolPaths): void {
  const path = pathOf(`${spool.own}/${WAKE_FILE}`)
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    closeSync(openSync(path, 'a', 0o640))
  }
}

/** When a call did so last, ms since 1970; 0: never. */
export function lastWakeMs(spool: SpoolPaths): number {
  return statSync(pathOf(`${spool.own}/${WAKE_FILE}`), { throwIfNoEntry: false })?.mtimeMs ?? 0
}
