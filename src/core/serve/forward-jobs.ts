import type { Connection } from '../../remote/connection.ts'
import { PgtsError } from '../../util/error.ts'
import { markHandled } from '../../util/mark-handled.ts'
import type { CopiedFile, CopyFilesJob } from '../backup/copy-job.ts'
import type { Repository } from '../repository.ts'
import { JobNames } from './job-names.ts'
import { backupFileVerb, jobSetupVerb } from './job-verbs.ts'
import { storageVerbs } from './storage-verbs.ts'

/** Sends jobs of this thread to the host of a cluster. */
export interface JobForwarder extends AsyncDisposable {
  /** Connects before the first job, because that takes as long as starting a process there. If it fails, the first job connects. */
  prepare(repoKey: number): void
  backupFiles(job: CopyFilesJob, signal: AbortSignal): Promise<readonly CopiedFile[]>
  /** Number of the connection that took a job, from 1, if there are several. */
  numberOf?(job: CopyFilesJob): number
}

export interface ForwardOptions {
  /** The connection of the main thread, which stays open. */
  readonly main?: Connection | undefined
  /** Opens another connection. */
  connect(signal: AbortSignal): Promise<Connection>
  repository(key: number): Promise<Repository>
  /** Number of concurrent jobs. */
  readonly lanes: number
  readonly bufferBytes: number
}

/** A connection that is ready for jobs. */
interface Ready {
  readonly connection: Connection
  readonly names: JobNames
}

/** Time for the other end to cancel a job. */
const CANCEL_MS = 10_000

/**
 * Sends jobs to the host of the cluster over one connection, and serves the repository to that host over the same
 * connection. A lost connection is replaced for the next job, except the one of the main thread.
 */
export class ForwardedJobs implements JobForwarder {
  readonly #options: ForwardOptions
  readonly #closing = new AbortController()
  #ready: Promise<Ready> | undefined

  constructor(options: ForwardOptions) {
    this.#options = options
  }

  prepare(repoKey: number): void {
    markHandled(this.#connected(repoKey, this.#closing.signal))
  }

  async backupFiles(job: CopyFilesJob, signal: AbortSignal): Promise<readonly CopiedFile[]> {
    const { connection, names } = await this.#connected(job.repoKey, signal)
    using _held = names.hold(job)
    using _limit = limitCancellation(connection, signal)
    return await connection.call(backupFileVerb, job, { signal })
  }

  async #connected(repoKey: number, signal: AbortSignal): Promise<Ready> {
    for (;;) {
      signal.throwIfAborted()
      const opening = (this.#ready ??= this.#connect(repoKey))
      const ready = await opening.catch((error: unknown) => {
        this.#forget(opening)
        throw error
      })
      const { connection } = ready
      if (!connection.signal.aborted) return ready
      if (connection === this.#options.main) throw connection.signal.reason
      // Its handlers remove incomplete files, which the job then writes under the same names.
      await connection.ended
      this.#forget(opening)
    }
  }

  #forget(opening: Promise<Ready>): void {
    if (this.#ready === opening) this.#ready = undefined
  }

  async #connect(repoKey: number): Promise<Ready> {
    const { repository, main, lanes: parallel, bufferBytes } = this.#options
    const { storage } = await repository(repoKey)
    const connection = main ?? (await this.#options.connect(this.#closing.signal))
    try {
      const names = new JobNames(storage)
      connection.serve(storageVerbs(names.storage))
      await connection.call(jobSetupVerb, { repoKey, display: storage.display, parallel, bufferBytes })
      return { connection, names }
    } catch (error) {
      if (main === undefined) await connection[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new PgtsError('term', 'the worker ends'))
    // If it could not be opened, a job has reported that.
    const ready = await this.#ready?.catch(() => undefined)
    if (ready !== undefined && ready.connection !== this.#options.main) await ready.connection[Symbol.asyncDispose]()
  }
}

/** An aborted command does not wait for another end that does not answer. */
function limitCancellation(connection: Connection, signal: AbortSignal): Disposable {
  let timer: NodeJS.Timeout | undefined
  const onAbort = () => {
    timer = setTimeout(() => void connection.bye('a cancelled job has not ended'), CANCEL_MS)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return {
    [Symbol.dispose]() {
      signal.removeEventListener('abort', onAbort)
      clearTimeout(timer)
    },
  }
}
