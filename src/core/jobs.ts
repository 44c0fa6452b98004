import { fetchSegment } from './archive/get/fetch-copy.ts'
import { pushFile } from './archive/push/push-job.ts'
import { backupFiles } from './backup/copy-file.ts'
import type { CopiedFile, CopyFilesJob } from './backup/copy-job.ts'
import { PgtsError } from '../util/error.ts'
import { recordTimesJob } from './window/record-job.ts'
import { scanWalJob } from './window/scan-job.ts'
import { restoreBatch } from './restore/restore-file.ts'
import { proveStored } from './verify/prove-stored.ts'
import type { WorkerEnv, WorkerSetup } from './worker-env.ts'

/** Every kind of job and its handler: all that a worker needs to import. */
export const jobHandlers = {
  'archive-push': pushFile,
  'backup-file': backupFiles,
  'fetch-segment': fetchSegment,
  'prove-stored': proveStored,
  'record-times': recordTimesJob,
  'restore-file': restoreBatch,
  'scan-wal': scanWalJob,
}

/** As `backupFiles`, at the host of the cluster. */
async function forwardBackupFiles(
  job: CopyFilesJob,
  { forwarded }: WorkerEnv,
  signal: AbortSignal,
): Promise<CopiedFile[]> {
  if (forwarded === undefined) throw new PgtsError('assert', 'the worker was set up without a cluster on another host')
  return [...(await forwarded.backupFiles(job, signal))]
}

/** The handlers of a worker. Jobs that read a cluster on another host are sent to that host. */
export function handlersFor({ cluster }: WorkerSetup): typeof jobHandlers {
  return cluster.kind === 'local' ? jobHandlers : { ...jobHandlers, 'backup-file': forwardBackupFiles }
}
