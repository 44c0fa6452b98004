import { readdirSync, statSync } from 'node:fs'
import {
  isBackupHistoryFile,
  isPartialSegment,
  isTimelineHistoryFile,
  isWalSegment,
} from '../../../format/wal-segment.ts'
import { bytes, bytesToText, compareBytes, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { PgtsError, systemCode } from '../../../util/error.ts'

/** The files that PostgreSQL wants archived. */
export interface ReadyQueue {
  /** Files with a `.ready` file and no `.ok`, in the order in which PostgreSQL archives them. */
  readonly waiting: readonly ByteString[]
  /** Files with both: stored, and PostgreSQL has not called archive-push for them yet. */
  readonly acknowledged: readonly string[]
  /** Files with an `.ok` and no `.ready` file: PostgreSQL has the result, so the `.ok` can be removed. */
  readonly served: readonly string[]
  /** Number of waiting files times `segmentBytes`. */
  readonly waitingBytes: number
  /** Size of the first waiting segment. */
  readonly segmentBytes: number
}

/**
 * Read `archive_status`. Synchronous: the directories are local and small, and the length of the queue must be known even
 * if all threads for file I/O are stuck.
 *
 * @param walPath the directory of the segments, absolute byte string
 * @param out of the spool; undefined: no file has been acknowledged
 * @throws PgtsError path-missing: there is no archive_status; else the error of the system
 */
export function readReadyQueue(walPath: ByteString, out?: ByteString): ReadyQueue {
  // The `.ok` files first: otherwise an `.ok` that is written between the two listings could lack its `.ready` file.
  const oks = out === undefined ? new Set<string>() : (namesEndingIn(out, '.ok') ?? new Set())
  const ready = namesEndingIn(bytes`${walPath}/archive_status`, '.ready')
  if (ready === undefined) {
    throw new PgtsError('path-missing', `cannot read '${bytesToText(walPath)}/archive_status': it does not exist`, {
      hints: ['archive-push-queue-max requires segments in pg_wal of a server'],
    })
  }
  const waiting: ByteString[] = []
  const acknowledged: string[] = []
  for (const name of ready) if (isArchivable(name)) (oks.has(name) ? acknowledged : waiting).push(name)
  waiting.sort(inArchiveOrder)
  const segmentBytes = segmentSizeOf(walPath, waiting)
  return {
    waiting,
    acknowledged,
    served: [...oks].filter((name) => !ready.has(name)),
    waitingBytes: waiting.length * segmentBytes,
    segmentBytes,
  }
}

/** The queue is read at least so often: a file system of another host may report no changes. */
const READ_MS = 1000
/** Reading takes at most a sixth of the time, so that it is not done for every file of a storm. */
const PAUSE_FACTOR = 5
const SHORTEST_PAUSE_MS = 5

/** When the background process reads the queue. Pure, part of `PushQueue`. */
export class ReadSchedule {
  readonly #batchBytes: number
  /** Started since the queue was read. */
  #startedBytes = 0
  #readMs = Number.NEGATIVE_INFINITY
  #nextMs = Number.NEGATIVE_INFINITY
  #isWanted = true

  /** @param batchBytes archive-push-batch-size */
  constructor(batchBytes: number) {
    this.#batchBytes = batchBytes
  }

  /** Something may have changed: is it time to read? If not, `nextMs` is when it is. */
  wants(nowMs: number, segmentBytes: number): boolean {
    this.#isWanted = true
    return nowMs >= this.#nextMs || this.isBatchUsedUp(segmentBytes)
  }

  wasRead(startedMs: number, nowMs: number): void {
    this.#ended(nowMs, Math.max(SHORTEST_PAUSE_MS, PAUSE_FACTOR * (nowMs - startedMs)))
  }

  failed(nowMs: number): void {
    this.#ended(nowMs, READ_MS)
  }

  #ended(nowMs: number, pauseMs: number): void {
    this.#readMs = nowMs
    this.#nextMs = nowMs + pauseMs
    this.#isWanted = false
    this.#startedBytes = 0
  }

  /** The waiting files have changed: no pause. */
  readNow(nowMs: number): void {
    this.#nextMs = nowMs
    this.#isWanted = true
  }

  started(bytes: number): void {
    this.#startedBytes += bytes
  }

  /** The queue has to be read before another file is started. */
  isBatchUsedUp(segmentBytes: number): boolean {
    return this.#startedBytes > 0 && this.#startedBytes + segmentBytes > this.#batchBytes
  }

  nextMs(): number {
    const latestMs = this.#readMs + READ_MS
    return this.#isWanted ? Math.min(latestMs, this.#nextMs) : latestMs
  }
}

/** PostgreSQL archives timeline history files first, because standbys need them; the rest by name. */
export function inArchiveOrder(a: string, b: string): number {
  const [first, second] = [isTimelineHistoryFile(a), isTimelineHistoryFile(b)]
  return first === second ? compareBytes(a, b) : first ? -1 : 1
}

/** Has PostgreSQL marked this file for archiving? */
export function isReady(walPath: string, name: string): boolean {
  return statSync(pathOf(bytes`${walPath}/archive_status/${name}.ready`), { throwIfNoEntry: false }) !== undefined
}

function isArchivable(name: string): boolean {
  return isWalSegment(name) || isPartialSegment(name) || isTimelineHistoryFile(name) || isBackupHistoryFile(name)
}

/** Size of the first waiting segment. The first file may be a history file of 40 bytes (after a promotion). */
function segmentSizeOf(walPath: string, waiting: readonly string[]): number {
  for (const name of [...waiting.filter(isWalSegment), ...waiting]) {
    const sizeBytes = sizeOf(bytes`${walPath}/${name}`)
    if (sizeBytes > 0) return sizeBytes
  }
  return 0
}

function namesEndingIn(directory: ByteString, ending: string): Set<string> | undefined {
  let names: string[]
  try {
    names = readdirSync(pathOf(directory), { encoding: 'latin1' })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
  const found = new Set<string>()
  for (const name of names) if (name.endsWith(ending)) found.add(name.slice(0, -ending.length))
  return found
}

function sizeOf(path: ByteString): number {
  return statSync(pathOf(path), { throwIfNoEntry: false })?.size ?? 0
}
