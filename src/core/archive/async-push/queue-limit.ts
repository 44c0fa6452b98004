import { statSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import { droppedWarning } from '../dropped.ts'
import { writeOk, type SpoolPaths } from '../spool-files.ts'

/** Part of archive-push-queue-max from which the operator is warned, and below which a later warning is one again. */
const WARN_AT = 0.75
const CALM_AT = 0.5

export type QueueLevel = 'calm' | 'warning' | 'over'

/** What a queue of this length means. Strictly more than the limit is too much. */
export function queueLevel(bytes: number, limitBytes: number | undefined, before: QueueLevel): QueueLevel {
  if (limitBytes === undefined) return 'calm'
  if (bytes > limitBytes) return 'over'
  if (bytes >= limitBytes * WARN_AT) return 'warning'
  return before !== 'calm' && bytes >= limitBytes * CALM_AT ? 'warning' : 'calm'
}

/**
 * Give up all that waits: the operator prefers a gap in the archive to a full disk of the server. PostgreSQL is told by
 * an `.ok` with a warning for each.
 */
export function dropQueue(spool: SpoolPaths, walPath: string, waiting: readonly string[], limitBytes: number): void {
  for (const name of waiting) {
    const mtimeNs = statSync(pathOf(`${walPath}/${name}`), { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? 0n
    writeOk(spool, spool.out, name, { mtimeNs, warning: droppedWarning(name, limitBytes) })
  }
}
