import { setTimeout as sleep } from 'node:timers/promises'
import { type ErrorCode, isPgtsError, isSystemError, messageOf } from '../util/error.ts'
import type { Logger } from '../util/log.ts'

/** Retries of a failed job: the first at once, each further one after the interval, as pgBackRest does. */
export interface JobRetry {
  readonly retries: number
  readonly intervalMs: number
}

export const NO_RETRY: JobRetry = { retries: 0, intervalMs: 0 }

/** Errors of stores, file systems and networks: the same job may succeed later. */
const MAY_PASS: ReadonlySet<ErrorCode> = new Set([
  'access',
  'file-close',
  'file-info',
  'file-missing',
  'file-move',
  'file-open',
  'file-read',
  'file-remove',
  'file-sync',
  'file-write',
  'host-connect',
  'kernel',
  'path-create',
  'path-missing',
  'path-open',
  'path-sync',
  'protocol',
  'service',
])

/** Wrong content: a second read may be correct; if it is not, the file is damaged. */
const CONTENT: ReadonlySet<ErrorCode> = new Set(['checksum', 'crypto', 'format'])

export interface RetryPlace {
  readonly retry: JobRetry
  /** For messages: `backup-file`. */
  readonly kind: string
  readonly log: Logger
  readonly signal: AbortSignal
  /** Checked while waiting for a retry: is the result of the job no longer needed? */
  readonly isDropped: () => boolean
}

/** Interval of that check. */
const LOOK_MS = 100

/**
 * Run a job; after a retryable error run it again from its beginning.
 *
 * @throws the error of the last attempt
 */
export async function withRetries<R>(attempt: () => Promise<R>, place: RetryPlace): Promise<R> {
  const { retry, kind, log, signal } = place
  for (let failed = 0; ; failed++) {
    try {
      return await attempt()
    } catch (error) {
      signal.throwIfAborted()
      if (failed >= retriesFor(error, retry) || place.isDropped()) throw error
      const waitMs = failed === 0 ? 0 : retry.intervalMs
      const message = `${kind} job failed, retry ${failed + 1} of ${retry.retries} after ${waitMs} ms: ${messageOf(error)}`
      if (failed === 0) log.warn(message)
      else log.debug(message)
      if (!(await waited(waitMs, place))) throw error
    }
  }
}

function retriesFor(error: unknown, { retries }: JobRetry): number {
  if (!isPgtsError(error)) return isSystemError(error) ? retries : 0
  if (MAY_PASS.has(error.code)) return retries
  return CONTENT.has(error.code) ? Math.min(1, retries) : 0
}

/** False if the run ended while waiting. */
async function waited(ms: number, { signal, isDropped }: RetryPlace): Promise<boolean> {
  const end = performance.now() + ms
  for (let left = ms; left > 0; left = end - performance.now()) {
    await sleep(Math.min(LOOK_MS, left), undefined, { signal })
    if (isDropped()) return false
  }
  return true
}
