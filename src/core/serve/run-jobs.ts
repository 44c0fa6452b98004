import type { Connection, Handler } from '../../remote/connection.ts'
import { onCall } from '../../remote/handlers.ts'
import { RemoteStorage } from '../../storage/remote/driver.ts'
import { forwarding } from '../../storage/wrappers.ts'
import { asBytes, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { repoId } from '../../util/repo-id.ts'
import type { Executor } from '../../worker/executor.ts'
import type { CopiedFile, CopyFilesJob } from '../backup/copy-job.ts'
import type { jobHandlers } from '../jobs.ts'
import type { Repository } from '../repository.ts'
import { backupFileVerb, jobSetupVerb, type JobSetup } from './job-verbs.ts'

export interface JobServiceOptions {
  /** Opens an executor on this thread for jobs on this repository, which stays open. */
  openExecutor(repository: Repository, bufferBytes: number): Promise<Executor<typeof jobHandlers>>
  /** @throws access if the caller may not read this path */
  assertPath(path: ByteString): void
}

/** Jobs that another host sends over a connection. Disposal resolves when none is running. */
export interface JobService extends AsyncDisposable {
  readonly handlers: readonly Handler[]
}

/** Runs jobs of another host here, where the cluster is. Their repository is the one that the caller serves over the same connection. */
export function jobService(connection: Connection, options: JobServiceOptions): JobService {
  let opening: Promise<Executor<typeof jobHandlers>> | undefined
  return {
    handlers: [
      onCall(jobSetupVerb, async (setup) => {
        if (opening !== undefined) throw new PgtsError('protocol', 'jobs were set up twice')
        opening = openExecutor(connection, setup, options)
        await opening
        return {}
      }),
      onCall(backupFileVerb, async (job, { signal }) => {
        if (opening === undefined) throw new PgtsError('protocol', 'a job came before the setup')
        for (const { pgName } of job.files) options.assertPath(asBytes(pgName))
        return runJob(await opening, job, signal)
      }),
    ],
    async [Symbol.asyncDispose]() {
      // If it could not be opened, job-setup has reported that.
      await (await opening?.catch(() => undefined))?.[Symbol.asyncDispose]()
    },
  }
}

async function openExecutor(
  connection: Connection,
  { repoKey, display, parallel, bufferBytes }: JobSetup,
  options: JobServiceOptions,
): Promise<Executor<typeof jobHandlers>> {
  const reversed = new RemoteStorage(connection, '', { host: '', display, members: [], parallel })
  // Messages name the repository as the caller does. The connection is closed by its opener.
  const storage = forwarding(reversed, { display, [Symbol.asyncDispose]: async () => undefined })
  return options.openExecutor({ key: repoKey, display: repoId(repoKey), storage }, bufferBytes)
}

async function runJob(
  executor: Executor<typeof jobHandlers>,
  job: CopyFilesJob,
  signal: AbortSignal,
): Promise<readonly CopiedFile[]> {
  for await (const { result } of executor.run('backup-file', [job], { signal })) return result
  throw new PgtsError('assert', 'a job has no result')
}
