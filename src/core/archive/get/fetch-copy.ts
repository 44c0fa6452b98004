import { decryptor } from '../../../codec/cipher.ts'
import { digest } from '../../../codec/digest.ts'
import { HeadTap } from '../../../codec/head.ts'
import { pump } from '../../../codec/pump.ts'
import type { Stage } from '../../../codec/stage.ts'
import type { WalSegment } from '../../../format/wal-segment.ts'
import type { StorageDriver } from '../../../storage/driver.ts'
import type { CompressType } from '../../../util/compress-type.ts'
import { PgtsError, systemCode, toPlainError, type PlainError } from '../../../util/error.ts'
import { loadModule } from '../../../util/load-module.ts'
import { loadArchiveInfo } from '../../archive-info-store.ts'
import type { Repository } from '../../repository.ts'
import type { WorkerEnv } from '../../worker-env.ts'
import { createDestination, type Destination } from './destination.ts'
import { bytes, bytesToText, type ByteString } from '../../../util/byte-string.ts'

/** One stored form of a file of the archive: plain data without secrets, which can be sent to a worker. */
export interface ArchivedCopy {
  readonly repoKey: number
  readonly archiveId: string
  readonly repoName: ByteString
  readonly compressType: CompressType
  /** SHA-1 of the plain content; absent for files whose names contain none. */
  readonly checksum?: string
}

/** The repository that has the copy. */
export interface CopySource {
  readonly storage: StorageDriver
  /** Passphrase of the archive; undefined: the repository is not encrypted. */
  readonly cipherPass: string | undefined
}

/** Required contents of the first page of a segment. */
export interface ExpectedHeader {
  readonly systemId: bigint
  /** False: a partial segment, which may be shorter than the segment size in its header. */
  readonly whole: boolean
}

/** Writing to the destination has failed (a full disk): another copy would fail, too. */
export class DestinationError extends Error {
  constructor(readonly reason: unknown) {
    super('the destination failed')
  }
}

/**
 * Decrypt, decompress and write one stored copy. The destination gets its name only if the content has the checksum
 * with which it was archived and, for a segment, the expected cluster and size.
 *
 * @param expected undefined: the file is not a segment
 * @returns bytes written
 * @throws DestinationError; PgtsError checksum, archive-mismatch; errors of reading the repository
 */
export async function fetchCopy(
  copy: ArchivedCopy,
  { storage, cipherPass }: CopySource,
  openDestination: () => Promise<Destination>,
  expected: ExpectedHeader | undefined,
  signal: AbortSignal,
): Promise<number> {
  const stages = await plainStages(copy.compressType, cipherPass)
  const source = await storage.read(copy.repoName, { signal })
  const plain = digest('sha1')
  const head = new HeadTap(HEAD_BYTES)
  await using target = await openDestination().catch(async (error: unknown) => {
    await source[Symbol.asyncDispose]()
    throw new DestinationError(error)
  })
  const write = (chunk: Uint8Array): void | Promise<void> => {
    try {
      return target.sink.write(chunk)
    } catch (error) {
      throw new DestinationError(error)
    }
  }
  await pump(source, [...stages, head, plain], { write }, signal)
  if (copy.checksum !== undefined && plain.hex() !== copy.checksum) {
    throw new PgtsError(
      'checksum',
      `${bytesToText(copy.repoName)} has SHA-1 ${plain.hex()}, but its name says ${copy.checksum}`,
    )
  }
  if (expected !== undefined) await requireHeader(copy.repoName, head.bytes, plain.bytes, expected)
  await target.commit().catch((error: unknown) => {
    throw new DestinationError(error)
  })
  return plain.bytes
}

/** The stages that return the plain content of a stored file. */
export async function plainStages(compressType: CompressType, cipherPass: string | undefined): Promise<Stage[]> {
  const stages: Stage[] = cipherPass === undefined ? [] : [decryptor(cipherPass)]
  if (compressType === 'none') return stages
  const { decompressor, loadCodec } = await loadModule(() => import('../../../codec/registry.ts'))
  await loadCodec(compressType)
  return [...stages, decompressor(compressType)]
}

/**
 * A segment that was truncated before it was archived has the right checksum and cannot be replayed. A segment of another
 * cluster can be in the archive if it was archived without archive-header-check, or copied there by hand.
 */
async function requireHeader(
  repoName: string,
  head: Buffer,
  sizeBytes: number,
  expected: ExpectedHeader,
): Promise<void> {
  const { parseWalHeader } = await loadModule(() => import('../../../postgres/wal-header.ts'))
  let header: ReturnType<typeof parseWalHeader>
  try {
    header = parseWalHeader(head)
  } catch {
    // Written by an unknown server version and archived with archive-header-check=n: PostgreSQL checks it.
    return
  }
  if (header.systemId !== expected.systemId) {
    throw new PgtsError(
      'archive-mismatch',
      `${repoName} was written by the cluster with system identifier ${header.systemId}, not by ${expected.systemId}`,
      { hints: ['another cluster has archived into this stanza: move its WAL out of the repository'] },
    )
  }
  if (!expected.whole || sizeBytes === header.segmentSize) return
  throw new PgtsError('checksum', `${repoName} has ${sizeBytes} bytes, but its header says ${header.segmentSize}`)
}

/** Enough for the header of a segment; its parser is loaded only when it is needed. */
const HEAD_BYTES = 512

/** Ending of a segment while it is being fetched into the spool; that of pgBackRest, which removes such files. */
export const FETCHING = '.pgbackrest.tmp'

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
  /** Errors of the copies that could not be used. */
  readonly failures: readonly { readonly repoKey: number; readonly error: PlainError }[]
  /** The spool could not be written: another copy would fail, too. */
  readonly spool?: PlainError
}

/**
 * Job `fetch-segment`: write the first copy that passes the checks of `fetchCopy`. Errors are returned, not thrown: the
 * call of archive-get for this segment fetches it itself and reports its own errors.
 */
export async function fetchSegment(
  job: FetchSegmentJob,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<FetchSegmentResult> {
  const path = bytes`${job.directory}/${job.segment}`
  // Not synced: fetched segments of an earlier boot are removed (claimSpool).
  const open = () => createDestination(path, { temporary: bytes`${path}${FETCHING}`, sync: false })
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
export async function passphraseOf(
  repository: Repository,
  stanza: string,
  signal: AbortSignal,
): Promise<string | undefined> {
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
