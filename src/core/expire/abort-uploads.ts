import { archivePath, backupPath } from '../../format/repo-path.ts'
import { toPlainError } from '../../util/error.ts'
import { inParallel } from '../../util/parallel.ts'
import type { ExpireRun } from './expire-run.ts'

/** No upload of one file takes this long, so the process that began it has ended. */
const ABANDONED_MS = 3 * 24 * 3_600_000

/**
 * Give back what a crash left in the store: parts of uploads that nobody sees and everybody pays for. Whoever may not
 * look for them (the permission is one of its own) expires all the same.
 *
 * @returns how many
 */
export async function abortUploads(run: ExpireRun, nowMs: number): Promise<number> {
  const { storage, stanza, signal } = run
  if (run.dryRun || storage.abortUploads === undefined) return 0
  let aborted = 0
  try {
    const counts = await inParallel([backupPath(stanza), archivePath(stanza)], 2, (path) =>
      storage.abortUploads!(path, nowMs - ABANDONED_MS, { signal }),
    )
    aborted = counts.reduce((sum, count) => sum + count, 0)
    if (aborted > 0) run.say('info', `aborted ${aborted} uploads that were begun days ago and never finished`)
  } catch (error) {
    signal.throwIfAborted()
    run.say('detail', `unfinished uploads of earlier crashes were not looked for: ${toPlainError(error).message}`)
  }
  return aborted
}
