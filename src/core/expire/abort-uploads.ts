import { archivePath, backupPath } from '../../format/repo-path.ts'
import { messageOf } from '../../util/error.ts'
import { inParallel } from '../../util/parallel.ts'
import type { ExpireRun } from './expire-run.ts'

/** No upload of a file takes this long, so the process that began it has ended. */
const ABANDONED_MS = 3 * 24 * 3_600_000

/**
 * Aborts incomplete multipart uploads that a crash left in the store, which takes space for them without listing them.
 * If the credentials may not list uploads (a separate permission), expire continues without this step.
 *
 * @returns the number of aborted uploads
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
    if (aborted > 0) run.say('info', `aborted ${aborted} incomplete uploads of earlier runs`)
  } catch (error) {
    signal.throwIfAborted()
    run.say('detail', `cannot list incomplete uploads of earlier runs: ${messageOf(error)}`)
  }
  return aborted
}
