import { fetchSegment } from './archive/get/fetch-copy.ts'
import { pushFile } from './archive/push/push-job.ts'
import { backupFiles } from './backup/copy-file.ts'
import { recordTimesJob } from './window/record-job.ts'
import { scanWalJob } from './window/scan-job.ts'
import { restoreBatch } from './restore/restore-file.ts'
import { proveStored } from './verify/prove-stored.ts'

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
