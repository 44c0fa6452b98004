import type { PgtsError } from '../../../util/error.ts'
import type { RepositoryHealth } from './repository-health.ts'

/** A file that waits to be pushed. */
export interface WaitingFile {
  readonly name: string
  readonly sinceMs: number
  /** Repositories that have it. */
  readonly stored: Set<number>
  attempts: number
  inHand: boolean
  /** Trouble with the file itself, which no repository would take. */
  refused?: { readonly error: PgtsError; readonly lastTryMs: number; nextTryMs: number }
}

export interface Assignment {
  readonly file: WaitingFile
  readonly repoKeys: readonly number[]
}

/**
 * The first file, in the order of the queue, that some repository lacks and would take now.
 *
 * @returns undefined when there is nothing to do for the moment
 */
export function nextAssignment(
  files: Iterable<WaitingFile>,
  repoKeys: readonly number[],
  health: RepositoryHealth,
  nowMs: number,
): Assignment | undefined {
  if (!repoKeys.some((key) => health.takes(key, nowMs))) return undefined
  for (const file of files) {
    if (file.inHand || (file.refused !== undefined && nowMs < file.refused.nextTryMs)) continue
    const keys = repoKeys.filter((key) => !file.stored.has(key) && health.takes(key, nowMs))
    if (keys.length > 0) return { file, repoKeys: keys }
  }
  return undefined
}
