import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import type { Lsn, WalSegment } from '../../format/wal-segment.ts'
import type { RecoveryStop } from '../../postgres/wal-record.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { PgtsError, toPlainError, type PlainError } from '../../util/error.ts'
import { passphraseOf, plainStages, type ArchivedCopy } from '../archive/get/fetch-copy.ts'
import type { WorkerEnv } from '../worker-env.ts'
import { SegmentScan, type ScannedSegment } from './segment-scan.ts'
import { isAtTarget, type FoundStop, type StopTarget } from './stop-target.ts'

/** An archived segment that is read for its commits and restore points; plain data. */
export interface ScanWalJob {
  readonly stanza: string
  readonly segment: WalSegment
  /** In the order in which they are tried. */
  readonly copies: readonly ArchivedCopy[]
  /** Also search for the records of a recovery target, from this position on. */
  readonly search?: { readonly target: StopTarget; readonly fromLsn: Lsn }
}

export interface ScanWalResult {
  /** Absent: no copy can be read, or it is not a segment of a known version. */
  readonly scanned?: ScannedSegment
  /** Records of the target: all of them up to a limit, of a time the first one. */
  readonly found: readonly FoundStop[]
  /** The last commit or abort before the first of them, or of the segment. */
  readonly lastEnd?: FoundStop
  /** Why no copy can be read. */
  readonly failure?: PlainError
}

/** Limit of the records that are returned of one segment. */
const MOST_FOUND = 100

/** Job `scan-wal`: decrypt, decompress and scan one segment. Errors are returned: others may be readable. */
export async function scanWalJob(job: ScanWalJob, env: WorkerEnv, signal: AbortSignal): Promise<ScanWalResult> {
  let failure: PlainError | undefined
  for (const copy of job.copies) {
    try {
      return await scanCopy(job, copy, env, signal)
    } catch (error) {
      signal.throwIfAborted()
      failure ??= toPlainError(error)
    }
  }
  return { found: [], failure }
}

async function scanCopy(
  { stanza, segment, search }: ScanWalJob,
  copy: ArchivedCopy,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<ScanWalResult> {
  const repository = await env.repository(copy.repoKey)
  const stages = await plainStages(copy.compressType, await passphraseOf(repository, stanza, signal))
  const found: FoundStop[] = []
  let lastEnd: FoundStop | undefined
  const look = (stop: RecoveryStop, lsn: Lsn) => {
    if (lsn < search!.fromLsn) return
    const most = search!.target.kind === 'time' ? 1 : MOST_FOUND
    if (found.length < most && isAtTarget(stop, search!.target)) found.push({ ...stop, lsn, segment })
    else if (found.length === 0 && stop.kind !== 'restore-point') lastEnd = { ...stop, lsn, segment }
  }
  const scan = new SegmentScan(segment, search === undefined ? undefined : look)
  const plain = digest('sha1')
  const source = await repository.storage.read(copy.repoName, { signal })
  await pump(source, [...stages, plain], { write: (chunk) => scan.push(chunk) }, signal)
  if (plain.hex() !== copy.checksum) {
    throw new PgtsError('checksum', `${bytesToText(copy.repoName)} is corrupt: its SHA-1 is ${plain.hex()}`)
  }
  const scanned = scan.result()
  return { found, ...(scanned === undefined ? {} : { scanned }), ...(lastEnd === undefined ? {} : { lastEnd }) }
}
