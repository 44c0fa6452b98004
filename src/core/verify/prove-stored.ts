import { decryptor } from '../../codec/cipher.ts'
import { counter, digest, type DigestTap } from '../../codec/digest.ts'
import { HeadTap } from '../../codec/head.ts'
import { decompressor, loadCodec } from '../../codec/registry.ts'
import { pump } from '../../codec/pump.ts'
import type { Stage } from '../../codec/stage.ts'
import { parseWalHeader, WAL_HEADER_BYTES } from '../../postgres/wal-header.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { plannedReads } from '../../storage/planned-reads.ts'
import type { CompressType } from '../../util/compress-type.ts'
import { isHostError, isPgtsError, isStoreError, messageOf, toPlainError } from '../../util/error.ts'
import { scanOf, type ScannedSegment, type SegmentScan } from '../window/segment-scan.ts'
import type { WorkerEnv } from '../worker-env.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { hashRun, runLength } from './hash-runs.ts'
import type { StoredRun } from './piece-table.ts'

/** The expected content of a stored piece. */
export type Expected =
  /** SHA-1 of the bytes as they are stored. */
  | { readonly of: 'stored'; readonly checksum: string }
  /** SHA-1 and size of the decoded content. */
  | { readonly of: 'content'; readonly checksum: string; readonly sizeBytes: number }
  /** A WAL segment: SHA-1 of its content; its header contains its size, position and cluster. */
  | {
      readonly of: 'wal'
      readonly checksum: string
      readonly segment: string
      readonly partial: boolean
      readonly systemId?: bigint
      /** Return its commit times. */
      readonly scan?: boolean
    }

/** For messages; byte strings. */
export interface PieceName {
  /** Manifest name, or name of the segment. */
  readonly name: ByteString
  readonly repoName: ByteString
}

/** One file of a backup or one WAL segment: a whole repository file, or a part of one. */
export interface StoredPiece extends PieceName {
  /** Position in the repository file; absent: the whole file. */
  readonly slice?: { readonly offset: number; readonly length: number }
  readonly expected: Expected
}

/** Pieces that are decoded; those of a bundle in the order of their offsets. */
export interface DecodeWork {
  readonly decode: readonly StoredPiece[]
  readonly compressType: CompressType
  /** Pieces are compressed and encrypted in the raw form. */
  readonly raw: boolean
  readonly cipherPass?: string
}

/** A few pieces: those that are hashed as they are stored, or those that are decoded. */
export type ProofWork = { readonly runs: readonly StoredRun[] } | DecodeWork

export interface ProofJob {
  readonly repoKey: number
  /** Index of the part that this job belongs to. */
  readonly group: number
  /** Index of its first piece in that part, and number of pieces. */
  readonly first: number
  readonly pieces: number
  readonly work: ProofWork
}

export type Fault = 'missing' | 'checksum' | 'size' | 'other'

export interface ProvenPiece {
  /** Stored bytes that were read. */
  readonly storedBytes: number
  /** Absent: the piece is intact. */
  readonly fault?: Fault
  /** Message about the fault. */
  readonly reason?: string
  /** Segment size from the header, bytes. */
  readonly segmentSize?: number
  /** Commit times, if they were requested and the segment is intact. */
  readonly scanned?: ScannedSegment
}

/** The result of a job. */
export interface ProvenJob {
  /** Stored bytes that were read. */
  readonly storedBytes: number
  readonly faults: readonly PieceFault[]
  /** Commit times, if they were requested and the segments are intact. */
  readonly scanned: readonly ScannedSegment[]
}

export interface PieceFault {
  /** Index in the job. */
  readonly piece: number
  readonly fault: Fault
  readonly reason: string
}

/** Job handler: reads stored pieces and verifies them. Fails only if the storage cannot be reached. */
export async function proveStored(job: ProofJob, env: WorkerEnv, signal: AbortSignal): Promise<ProvenJob> {
  const { storage } = await env.repository(job.repoKey)
  const { work } = job
  const proven = 'runs' in work ? await proveRuns(work.runs, storage, signal) : await provePieces(work, storage, signal)
  const faults: PieceFault[] = []
  const scanned: ScannedSegment[] = []
  let storedBytes = 0
  for (const [piece, one] of proven.entries()) {
    storedBytes += one.storedBytes
    if (one.fault !== undefined) faults.push({ piece, fault: one.fault, reason: one.reason ?? '' })
    if (one.scanned !== undefined) scanned.push(one.scanned)
  }
  return { storedBytes, faults, scanned }
}

async function proveRuns(
  runs: readonly StoredRun[],
  storage: StorageDriver,
  signal: AbortSignal,
): Promise<readonly ProvenPiece[]> {
  // Whole files are read by several jobs at the same time instead of ahead.
  const wanted = runs.flatMap(({ repoName, offset, lengths }) =>
    lengths.length === 1 ? [] : [{ name: repoName, offset, length: runLength(lengths) }],
  )
  await using reads = plannedReads(storage, wanted, signal)
  const proven: ProvenPiece[] = []
  for (const run of runs) proven.push(...(await proveRun(run, reads.storage, storage, signal)))
  return proven
}

/** @param again the storage for reading each piece alone */
async function proveRun(
  run: StoredRun,
  storage: StorageDriver,
  again: StorageDriver,
  signal: AbortSignal,
): Promise<readonly ProvenPiece[]> {
  const checksumAt = (index: number) => run.checksums.slice(index * 40, (index + 1) * 40)
  let digests: string[]
  try {
    digests = await hashRun(run, storage, signal)
  } catch {
    signal.throwIfAborted()
    // The run cannot be read completely: each piece is read alone, so that only those with a fault are reported.
    let offset = run.offset
    const decode = run.lengths.map((length, index): StoredPiece => {
      const slice = { offset, length }
      offset += length
      const { repoName } = run
      return { name: repoName, repoName, slice, expected: { of: 'stored', checksum: checksumAt(index) } }
    })
    return provePieces({ decode, compressType: 'none', raw: false }, again, signal)
  }
  return run.lengths.map((storedBytes, index): ProvenPiece => {
    const [actual, expected] = [digests[index]!, checksumAt(index)]
    return actual === expected ? { storedBytes } : { storedBytes, ...mismatch(actual, expected) }
  })
}

/** Decodes and verifies pieces, in this thread. */
export async function provePieces(
  work: DecodeWork,
  storage: StorageDriver,
  signal: AbortSignal,
): Promise<readonly ProvenPiece[]> {
  await loadCodec(work.compressType)
  const wanted = work.decode.flatMap(({ repoName, slice }) =>
    slice === undefined || slice.length === 0 ? [] : [{ name: repoName, ...slice }],
  )
  await using reads = plannedReads(storage, wanted, signal)
  const proven: ProvenPiece[] = []
  for (const piece of work.decode) {
    const first = await provePiece(piece, work, reads.storage, signal)
    // A store node that has just joined may report an existing file as missing, so look once more.
    proven.push(first.fault === 'missing' ? await provePiece(piece, work, storage, signal) : first)
  }
  return proven
}

type Encoding = Omit<DecodeWork, 'decode'>

async function provePiece(
  piece: StoredPiece,
  job: Encoding,
  storage: StorageDriver,
  signal: AbortSignal,
): Promise<ProvenPiece> {
  const { repoName, slice, expected } = piece
  const stored = counter()
  const content = digest('sha1')
  const head = new HeadTap(WAL_HEADER_BYTES)
  const scan = expected.of === 'wal' && expected.scan === true ? scanOf(expected.segment) : undefined
  const stages = [
    ...[stored, ...decoders(job, expected), ...(expected.of === 'wal' ? [head] : []), content],
    ...(scan === undefined ? [] : [tap(scan)]),
  ]
  const faulty = (fault: Fault, reason: string): ProvenPiece => ({ storedBytes: stored.bytes, fault, reason })
  try {
    const source = await storage.read(repoName, { ...slice, signal })
    await pump(source, stages, { write: () => undefined }, signal)
  } catch (error) {
    signal.throwIfAborted()
    const { message } = toPlainError(error)
    if (isPgtsError(error, 'file-missing')) return faulty('missing', 'the file does not exist')
    // An error of the store (credentials, network, bucket) or of this process says nothing about the file.
    if (isStoreError(error) || isHostError(error)) throw error
    return faulty(slice !== undefined && isPgtsError(error, 'file-read') ? 'size' : 'other', message)
  }
  const found = assess(expected, content, head.bytes)
  if (found.fault !== undefined) return faulty(found.fault, found.reason)
  return { storedBytes: stored.bytes, segmentSize: found.segmentSize, scanned: scan?.result() }
}

function tap(scan: SegmentScan): Stage {
  return {
    push: (chunk) => {
      scan.push(chunk)
      return [chunk]
    },
    finish: () => [],
  }
}

/** If there is a checksum of the stored bytes, decoding is not needed, which is cheaper. */
function decoders(job: Encoding, expected: Expected): Stage[] {
  if (expected.of === 'stored') return []
  const stages: Stage[] = job.cipherPass === undefined ? [] : [decryptor(job.cipherPass, { raw: job.raw })]
  if (job.compressType !== 'none') stages.push(decompressor(job.compressType, { raw: job.raw }))
  return stages
}

function mismatch(actual: string, expected: string): { readonly fault: Fault; readonly reason: string } {
  return { fault: 'checksum', reason: `its SHA-1 is ${actual}, expected ${expected}` }
}

type Assessment =
  { readonly fault: Fault; readonly reason: string } | { readonly fault?: undefined; readonly segmentSize?: number }

function assess(expected: Expected, content: DigestTap, head: Buffer): Assessment {
  if (expected.of === 'content' && content.bytes !== expected.sizeBytes) {
    return {
      fault: 'size',
      reason: `it contains ${content.bytes} bytes, expected by the manifest ${expected.sizeBytes}`,
    }
  }
  if (content.hex() !== expected.checksum) {
    return mismatch(content.hex(), expected.checksum)
  }
  return expected.of === 'wal' ? assessSegment(expected, content.bytes, head) : {}
}

/**
 * A segment with the correct checksum can still be unusable: truncated, or of another cluster, before it was archived.
 */
function assessSegment(expected: Expected & { of: 'wal' }, sizeBytes: number, head: Buffer): Assessment {
  let header: ReturnType<typeof parseWalHeader>
  try {
    header = parseWalHeader(head)
  } catch (error) {
    // An unknown PostgreSQL version, archived with archive-header-check off, cannot be checked here.
    if (isPgtsError(error, 'version-not-supported')) return {}
    return { fault: 'other', reason: messageOf(error) }
  }
  const { segmentSize, systemId, pageLsn } = header
  if (sizeBytes !== segmentSize && (!expected.partial || sizeBytes > segmentSize)) {
    return { fault: 'size', reason: `it contains ${sizeBytes} bytes, expected by its header ${segmentSize}` }
  }
  if (expected.systemId !== undefined && systemId !== expected.systemId) {
    return { fault: 'other', reason: `it was written by another cluster, with system identifier ${systemId}` }
  }
  const place = BigInt(`0x${expected.segment.slice(8, 16)}`) * 0x1_0000_0000n
  const lsn = place + BigInt(`0x${expected.segment.slice(16)}`) * BigInt(segmentSize)
  if (pageLsn !== lsn) return { fault: 'other', reason: 'its header belongs to another segment' }
  return { segmentSize }
}
