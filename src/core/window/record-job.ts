import { silentLogger } from '../../util/log.ts'
import type { WorkerEnv } from '../worker-env.ts'
import { recordSegments } from './record.ts'
import type { ScannedSegment } from './segment-scan.ts'

/** Segments whose commit times are recorded in one repository; plain data. */
export interface RecordJob {
  readonly repoKey: number
  readonly stanza: string
  readonly archiveId: string
  readonly scanned: readonly ScannedSegment[]
}

/** Job `record-times`, for the background process: a repository that hangs then holds a worker, not the main thread. */
export async function recordTimesJob(
  { repoKey, ...job }: RecordJob,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<void> {
  await recordSegments({ ...job, repository: await env.repository(repoKey), log: silentLogger, signal })
}
