import type { WalSegment } from '../../../format/wal-segment.ts'
import { systemCode, toPlainError, type PlainError } from '../../../util/error.ts'
import { loadArchiveInfo } from '../../info-store.ts'
import type { Repository } from '../../repository.ts'
import type { WorkerEnv } from '../../worker-env.ts'
import { createDestination } from './destination.ts'
import { DestinationError, fetchCopy, type ArchivedCopy } from './fetch-copy.ts'
import { FETCHING } from './get-spool.ts'

/** Fetch one segment ahead of its request. */
export interface FetchSegmentJob {
  readonly stanza: string
  readonly segment: WalSegment
  /** Directory to put it into, byte string. */
  readonly directory: string
  /** In the order in which they are tried. */
  readonly copies: readonly ArchivedCopy[]
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
    let repository: Repository | undefined
    try {
      repository = await env.repository(copy.repoKey)
      const source = { storage: repository.storage, cipherPass: await passphraseOf(repository, job.stanza, signal) }
      const sizeBytes = await fetchCopy(copy, source, open, { systemId: job.systemId, whole: true }, signal)
      return { fetched: { repoKey: copy.repoKey, sizeBytes }, failures }
    } catch (error) {
      // The stanza may have been created again, with another passphrase.
      if (repository !== undefined) passphrases.delete(repository)
      signal.throwIfAborted()
      if (error instanceof DestinationError) return { failures, spool: plainWithCode(error.reason) }
      failures.push({ repoKey: copy.repoKey, error: toPlainError(error) })
    }
  }
  return { failures }
}

/** By repository of the worker, whose jobs are all of one stanza. */
const passphrases = new WeakMap<Repository, Promise<string | undefined>>()

/** The passphrase of the archive: read once for all jobs of a worker, and again after a fetch has failed. */
async function passphraseOf(repository: Repository, stanza: string, signal: AbortSignal): Promise<string | undefined> {
  if (repository.cipher === undefined) return undefined
  const load = async () => (await loadArchiveInfo(repository, stanza, { signal })).cipherPass
  const passphrase = passphrases.get(repository) ?? load()
  passphrases.set(repository, passphrase)
  return passphrase
}

function plainWithCode(error: unknown): PlainError {
  const plain = toPlainError(error)
  return systemCode(error) === undefined ? plain : { ...plain, code: 'file-write' }
}
