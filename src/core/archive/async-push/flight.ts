import { statSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import { PgtsError } from '../../../util/error.ts'
import type { Executor } from '../../../worker/executor.ts'
import type { jobHandlers } from '../../jobs.ts'
import type { PushJob, PushJobResult, RepositorySetup } from './push-job.ts'
import type { Assignment } from './schedule.ts'
import { WaitingOn } from './waiting-on.ts'

export interface FlightRequest {
  /** Directory of the segments, absolute byte string. */
  readonly walPath: string
  readonly repositories: readonly RepositorySetup[]
  /** What is the same for every file. */
  readonly job: Pick<PushJob, 'stanza' | 'identity' | 'compress' | 'headerCheck' | 'warnWhenArchived'>
  readonly executor: Executor<typeof jobHandlers>
  /** How long a push may take whatever its size; for each 256 KiB a second is added. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** How it ended. */
export type Landing =
  | { readonly kind: 'answered'; readonly result: PushJobResult }
  /** These repositories had not answered when the time was over; none: the file was not even read. */
  | { readonly kind: 'hung'; readonly stuck: readonly number[]; readonly limitMs: number }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** All is coming to its end, or nobody answered. */
  | { readonly kind: 'left' }

const SLOWEST_BYTES_PER_MS = (256 * 1024) / 1000

/**
 * Have a worker push one file, until it is settled.
 *
 * @param landed called once, and not with the end of the worker's job when that hangs
 */
export async function fly(
  { walPath, repositories, job, executor, timeoutMs, signal }: FlightRequest,
  { file, repoKeys }: Assignment,
  landed: (landing: Landing) => void,
): Promise<void> {
  const path = `${walPath}/${file.name}`
  const waitingOn = WaitingOn.bufferFor(repoKeys)
  const bytes = statSync(pathOf(path), { throwIfNoEntry: false })?.size ?? 0
  const limitMs = timeoutMs + bytes / SLOWEST_BYTES_PER_MS
  const controller = new AbortController()
  let settled = false
  const settle = (landing: Landing) => {
    if (settled) return
    settled = true
    clearTimeout(timer)
    landed(landing)
  }
  // A thread may be stuck where nothing reaches it, so its file is settled without it.
  const timer = setTimeout(() => {
    settle({ kind: 'hung', stuck: new WaitingOn(repoKeys, waitingOn).keys(), limitMs })
    controller.abort(new PgtsError('archive-timeout', `pushing ${file.name} took too long`))
  }, limitMs)
  try {
    const jobs = [
      { ...job, path, repositories: repositories.filter(({ key }) => repoKeys.includes(key)), waitingOn },
    ] satisfies PushJob[]
    const both = AbortSignal.any([signal, controller.signal])
    for await (const { result } of executor.run('archive-push', jobs, { signal: both }))
      settle({ kind: 'answered', result })
    settle({ kind: 'left' })
  } catch (error) {
    settle(signal.aborted ? { kind: 'left' } : { kind: 'failed', error })
  }
}
