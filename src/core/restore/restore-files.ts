import { bytesToText } from '../../util/byte-string.ts'
import { formatSize } from '../../util/format-size.ts'
import type { LockProgress } from '../../util/lock.ts'
import type { Logger } from '../../util/log.ts'
import type { Executor } from '../../worker/executor.ts'
import type { jobHandlers } from '../jobs.ts'
import { type JobsRequest, restoreJobs } from './jobs.ts'
import type { RestorePlan } from './plan.ts'
import type { RestoredFile, RestoreFile, RestoreFileJob } from './restore-job.ts'

export interface RestoreFilesRequest extends JobsRequest {
  readonly plan: RestorePlan
  readonly executor: Executor<typeof jobHandlers>
  readonly log: Logger
  readonly signal: AbortSignal
  /** Called every tenth of the bytes. */
  progress(progress: LockProgress): void
  /** Called for each job. */
  copied(doneBytes: number): void
}

/** Number of files and bytes by outcome. */
export interface RestoreFilesSummary {
  readonly files: number
  readonly restored: number
  readonly restoredBytes: number
  /** Existing files that are correct, by checksum or (delta with force) by size and time. */
  readonly unchanged: number
  /** Files of excluded databases: their length without content. */
  readonly zeroed: number
}

/** Restores every planned file, verified and durable, and reports progress. */
export async function restoreFiles(request: RestoreFilesRequest): Promise<RestoreFilesSummary> {
  const { plan, log, signal } = request
  const totalBytes = plan.sizeBytes
  const summary = { files: 0, restored: 0, restoredBytes: 0, unchanged: 0, zeroed: 0 }
  let doneBytes = 0
  let shownTenth = -1

  const jobs = restoreJobs(plan.files, request)
  for await (const { job, result, worker } of request.executor.run('restore-file', jobs, { signal, weightOf })) {
    for (const [place, file] of job.files.entries()) {
      const restored = result[place]!
      doneBytes += file.sizeBytes
      summary.files++
      if (restored.outcome === 'restored') {
        summary.restored++
        summary.restoredBytes += file.sizeBytes
      } else if (restored.outcome === 'zeroed') summary.zeroed++
      else if (restored.outcome !== 'empty') summary.unchanged++
      if (log.enabled('detail'))
        log.detail({ process: worker }, describe(file, restored, percent(doneBytes, totalBytes)))
    }
    request.copied(doneBytes)
    const tenth = Math.floor(percent(doneBytes, totalBytes) / 1000)
    if (tenth > shownTenth) {
      shownTenth = tenth
      request.progress({ pctCplt: percent(doneBytes, totalBytes), sz: totalBytes, szCplt: doneBytes })
    }
  }
  return summary
}

/**
 * Cost of opening, syncing and closing a small file, as the number of bytes of a large file decoded in the same time.
 */
const FILE_BYTES = 64 * 1024

function weightOf({ files }: RestoreFileJob): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, files.length * FILE_BYTES)
}

function describe(file: RestoreFile, { outcome, revisedBytes }: RestoredFile, pctCplt: number): string {
  const note = {
    restored: '',
    empty: '',
    zeroed: '',
    matches: ' - exists and matches backup',
    kept: ' - exists and matches size and time',
  }
  const revised = revisedBytes === undefined ? '' : `${formatSize(revisedBytes)} of `
  const checksum = file.sizeBytes === 0 || outcome === 'zeroed' ? '' : ` checksum ${file.checksum}`
  return (
    `restore ${outcome === 'zeroed' ? 'zeroed ' : ''}file ${bytesToText(file.path)}${note[outcome]}` +
    ` (${revised}${formatSize(file.sizeBytes)}, ${(pctCplt / 100).toFixed(2)}%)${checksum}`
  )
}

/** In hundredths of a percent, the unit of the lock file. */
function percent(doneBytes: number, totalBytes: number): number {
  return totalBytes === 0 ? 10_000 : Math.floor((doneBytes / totalBytes) * 10_000)
}
