import { statSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
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
  readonly clock: Clock
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

export interface FlightEvents {
  /** A worker is free: for which file? Its time runs from here. undefined: there is none now, and the flight is over. */
  take(): Assignment | undefined
  /** Called once for what was taken, and not with the end of the worker's job when that hangs. */
  landed(assignment: Assignment, landing: Landing): void
}

/**
 * Have a worker push one file, as soon as one is free, until that is settled. Which file is asked at that moment and not
 * before: none waits for a worker where no deadline runs, and none is late for being bound to a worker that hangs.
 *
 * Never rejects, and may go on for longer than its file: until the worker has given the job back.
 */
export async function fly(request: FlightRequest, { take, landed }: FlightEvents): Promise<void> {
  const { executor, timeoutMs, signal } = request
  const controller = new AbortController()
  let flying: Assignment | undefined
  let timer: NodeJS.Timeout | undefined
  const settle = (landing: Landing) => {
    const assignment = flying
    flying = undefined
    clearTimeout(timer)
    if (assignment !== undefined) landed(assignment, landing)
  }
  function* jobs(): Generator<PushJob> {
    flying = take()
    if (flying === undefined) return
    const { file, repoKeys } = flying
    const job = jobFor(request, flying)
    const bytes = statSync(pathOf(job.path), { throwIfNoEntry: false })?.size ?? 0
    const limitMs = timeoutMs + bytes / SLOWEST_BYTES_PER_MS
    // A thread may be stuck where nothing reaches it, so its file is settled without it.
    timer = setTimeout(() => {
      settle({ kind: 'hung', stuck: new WaitingOn(repoKeys, job.waitingOn).keys(), limitMs })
      controller.abort(new PgtsError('archive-timeout', `pushing ${file.name} took too long`))
    }, limitMs)
    yield job
  }
  try {
    const both = AbortSignal.any([signal, controller.signal])
    for await (const { result } of executor.run('archive-push', jobs(), { signal: both, singly: true }))
      settle({ kind: 'answered', result })
    settle({ kind: 'left' })
  } catch (error) {
    settle(signal.aborted ? { kind: 'left' } : { kind: 'failed', error })
  }
}

function jobFor({ walPath, repositories, job, clock }: FlightRequest, { file, repoKeys }: Assignment): PushJob {
  return {
    ...job,
    path: `${walPath}/${file.name}`,
    repositories: repositories.filter(({ key }) => repoKeys.includes(key)),
    waitingOn: WaitingOn.bufferFor(repoKeys),
    nowMs: clock.nowMs(),
  }
}
