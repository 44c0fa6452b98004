import { backupFiles } from './backup/copy-file.ts'
import { restoreFile } from './restore/write-file.ts'

/** Every kind of job and its handler: all that a worker needs to import. */
export const jobHandlers = {
  'backup-file': backupFiles,
  'restore-file': restoreFile,
}
