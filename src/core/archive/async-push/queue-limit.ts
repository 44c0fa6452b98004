import { statSync } from 'node:fs'
import { bytesToText, pathOf } from '../../../util/byte-string.ts'
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

/** pgBackRest's words, which monitoring looks for. */
export function droppedWarning(name: string, limitBytes: number): string {
  return `dropped WAL file '${bytesToText(name)}' because archive queue exceeded ${sizeText(limitBytes)}`
}

export const GAP_HINT =
  'HINT: point-in-time recovery cannot pass this gap: make archiving work again and take a new backup'

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

export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let unit = 0
  for (; unit < units.length - 1 && bytes >= 1024 && bytes % 1024 === 0; unit++) bytes /= 1024
  return `${bytes}${units[unit]}`
}
