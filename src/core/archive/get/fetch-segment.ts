import type { WalSegment } from '../../../format/wal-segment.ts'
import { systemCode, toPlainError, type PlainError } from '../../../util/error.ts'
import type { WorkerEnv } from '../../worker-env.ts'
import { createDestination } from './destination.ts'
import { DestinationError, fetchCopy } from './fetch-copy.ts'
import { workerStorage } from '../worker-storages.ts'
import type { LocatedCopy } from './segment-index.ts'
import { FETCHING } from './get-spool.ts'

/** Fetch one segment ahead of its request. */
export interface FetchSegmentJob {
  readonly segment: WalSegment
  /** Directory to put it into, byte string. */
  readonly directory: string
  /** In the order in which they are tried. */
  readonly copies: readonly LocatedCopy[]
  readonly systemId: bigint
}

export interface FetchSegmentResult {
  /** Absent: nothing was fetched. */
  readonly fetched?: { readonly repoKey: number; readonly sizeBytes: number }
  /** What was wrong with each copy that could not be used. */
  readonly failures: readonly { readonly repoKey: number; readonly error: PlainError }[]
  /** The spool could not take it: another copy would not help. */
  readonly spool?: PlainError
}

/**
 * A segment appears under its name when its bytes are proven (fetchCopy), in the first copy for which that works. What
 * goes wrong is told, not thrown: the call that wants the segment will find out for itself and say so.
 */
export async function fetchSegment(
  job: FetchSegmentJob,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<FetchSegmentResult> {
  const path = `${job.directory}/${job.segment}`
  // Not synced: a power cut is noticed by the boot, and then nothing in the spool is believed.
  const open = () => createDestination(path, { temporary: `${path}${FETCHING}`, sync: false })
  const failures: { repoKey: number; error: PlainError }[] = []
  for (const copy of job.copies) {
    try {
      const storage = await workerStorage(env, copy.storage)
      const sizeBytes = await fetchCopy(copy, storage, open, { systemId: job.systemId, whole: true }, signal)
      return { fetched: { repoKey: copy.repoKey, sizeBytes }, failures }
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof DestinationError) return { failures, spool: plainWithCode(error.reason) }
      failures.push({ repoKey: copy.repoKey, error: toPlainError(error) })
    }
  }
  return { failures }
}

function plainWithCode(error: unknown): PlainError {
  const plain = toPlainError(error)
  return systemCode(error) === undefined ? plain : { ...plain, code: 'file-write' }
}
