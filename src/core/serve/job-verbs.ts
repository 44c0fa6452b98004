import { field, integer, integerIn, nothing, record, text, type TypeOf } from '../../remote/fields.ts'
import { callVerb } from '../../remote/verb.ts'
import { copiedFiles, copyFilesJob } from './job-fields.ts'

const jobSetup = record({
  /** The repository of the jobs, which the caller serves over this connection. */
  repoKey: field(1, integer),
  display: field(2, text),
  /** Number of concurrent jobs. */
  parallel: field(3, integerIn(1, 1024)),
  /** As the option buffer-size has it. */
  bufferBytes: field(4, integerIn(16_384, 16_777_216)),
})

export type JobSetup = TypeOf<typeof jobSetup>

/** How the serving end runs the jobs that follow. Sent once, before the first one. */
export const jobSetupVerb = callVerb('job-setup', jobSetup, nothing)

export const backupFileVerb = callVerb('backup-file', copyFilesJob, copiedFiles)
