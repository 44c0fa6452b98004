import { open, rename, rm, stat } from 'node:fs/promises'
import { parseWalSegment, type WalSegment } from '../../../format/wal-segment.ts'
import { WAL_HEADER_BYTES } from '../../../postgres/wal-header.ts'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { messageOf, systemCode } from '../../../util/error.ts'
import { createDestination } from './destination.ts'
import { getWal, type GetReport, type GetRequest } from './get-wal.ts'
import type { SpoolPaths } from '../spool/spool-files.ts'
import { isFetching } from '../spool/spool-lock.ts'
import { isOwnerDirectory } from '../spool/spool-owner.ts'
import { FETCHING } from './fetch-copy.ts'
import { writeRequest } from './get-requests.ts'

export interface SpooledGetRequest extends GetRequest {
  /** From pg_control, bytes. */
  readonly segmentSize: number
  readonly spool: SpoolPaths
  /** Of this cluster (spool-owner.ts). */
  readonly ownerDirectory: ByteString
  /** Start the background process. Called at most once, if none is running. */
  readonly launch: () => Promise<void>
  readonly clock: Clock
}

export type SpooledGetReport = GetReport | { readonly found: true; readonly file: string; readonly prefetched: true }

/** A call waits for a segment that is being fetched while the file grows, and for this time without growth. */
const STALL_MS = 2000
const STEP_MS = 10

/**
 * Return a segment that was fetched ahead; otherwise fetch it now, and report the position of replay to the background
 * process. A segment is therefore found by the first call after it was archived, "not found" is always the result of
 * searching the repositories, and a background process that hangs, ends or has no space in the spool costs only time.
 *
 * @throws PgtsError as getWal
 */
export async function getThroughSpool(request: SpooledGetRequest): Promise<SpooledGetReport> {
  const segment = parseWalSegment(request.file)
  const lives = isFetching(request.spool)
  // Files are trusted only if a process for this cluster is running: it has removed all older ones.
  if (lives && isOwnerDirectory(request.ownerDirectory) && (await takeWhenReady(request, segment))) {
    reportPosition(request, segment)
    return { found: true, file: segment, prefetched: true }
  }
  return getWal({
    ...request,
    async onFound() {
      // The next segments are fetched while this one is.
      reportPosition(request, segment)
      if (!lives) await launchQuietly(request)
    },
  })
}

/** If the spool cannot be written, no segments are fetched ahead; this call is not affected. */
function reportPosition({ spool, log, clock }: SpooledGetRequest, segment: WalSegment): void {
  try {
    writeRequest(spool, { segment, call: `${process.pid}-${clock.nowMs()}` })
  } catch (error) {
    log.debug(`cannot notify the background process of ${segment}: ${String(error)}`)
  }
}

async function launchQuietly({ launch, log }: SpooledGetRequest): Promise<void> {
  try {
    await launch()
  } catch (error) {
    log.warn(`WAL is not fetched ahead: ${messageOf(error)}`)
  }
}

async function takeWhenReady(request: SpooledGetRequest, segment: WalSegment): Promise<boolean> {
  const { ownerDirectory, clock, signal, spool } = request
  const path = bytes`${ownerDirectory}/in/${segment}`
  let grewMs = clock.nowMs()
  for (let size = -1; ;) {
    if (await take(request, path)) return true
    const growing = await sizeOf(bytes`${path}${FETCHING}`)
    if (growing === undefined) {
      // The fetch was completed or abandoned between the two checks.
      return take(request, path)
    }
    if (growing !== size) grewMs = clock.nowMs()
    size = growing
    if (clock.nowMs() - grewMs > STALL_MS || !isFetching(spool)) return false
    await clock.sleep(STEP_MS, signal)
  }
}

/** Move a complete segment to its destination. false: there is none, or it is invalid. */
async function take(request: SpooledGetRequest, path: ByteString): Promise<boolean> {
  if (!(await isWhole(request, path))) return false
  try {
    await rename(pathOf(path), pathOf(request.destination))
    return true
  } catch (error) {
    // Another call took it.
    if (systemCode(error) === 'ENOENT') return false
    // EXDEV: the spool is on another file system. Other errors of the destination are reported by fetching.
    return systemCode(error) === 'EXDEV' ? copy(request, path) : false
  }
}

/** The checksum was verified when the segment was fetched; checking size and first page again takes little time. */
async function isWhole({ identity, segmentSize, log }: SpooledGetRequest, path: ByteString): Promise<boolean> {
  try {
    await using file = await open(pathOf(path))
    const { size } = await file.stat()
    const head = Buffer.alloc(WAL_HEADER_BYTES)
    await file.read(head, 0, head.length, 0)
    if (size === segmentSize && head.readBigUInt64LE(SYSTEM_ID) === identity.systemId) return true
    log.warn(`${bytesToText(path)} in the spool is not a segment of this cluster, so it is not used`)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') log.warn(`${bytesToText(path)} in the spool is not used: ${String(error)}`)
    return false
  }
  await rm(pathOf(path), { force: true }).catch(() => undefined)
  return false
}

async function copy(request: SpooledGetRequest, path: ByteString): Promise<boolean> {
  const buffer = Buffer.allocUnsafeSlow(COPY_BYTES)
  let source
  try {
    source = await open(pathOf(path))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
  await using file = source
  await using target = await createDestination(request.destination)
  for (;;) {
    request.signal.throwIfAborted()
    const { bytesRead } = await file.read(buffer, 0, buffer.length)
    if (bytesRead === 0) break
    await target.sink.write(buffer.subarray(0, bytesRead))
  }
  await target.commit()
  await rm(pathOf(path), { force: true })
  return true
}

const COPY_BYTES = 1024 * 1024
/** Offset in the first page of a segment, the same in all versions. */
const SYSTEM_ID = 24

async function sizeOf(path: ByteString): Promise<number | undefined> {
  try {
    return (await stat(pathOf(path))).size
  } catch {
    return undefined
  }
}
