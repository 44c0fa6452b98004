import { readdirSync, statSync } from 'node:fs'
import {
  isBackupHistoryFile,
  isPartialSegment,
  isTimelineHistoryFile,
  isWalSegment,
} from '../../../format/wal-segment.ts'
import { compareBytes, pathOf } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'

/** What PostgreSQL wants archived, and what of it the spool calls done. */
export interface ReadyQueue {
  /** Files with a `.ready` mark and no `.ok`, in the order in which PostgreSQL asks for them. */
  readonly waiting: readonly string[]
  /** Files with both: PostgreSQL has not asked yet. */
  readonly acknowledged: readonly string[]
  /** Files with an `.ok` whose mark is gone: PostgreSQL knows, and the `.ok` has served. */
  readonly served: readonly string[]
  /** Number of waiting files times the size of the first one, bytes. */
  readonly waitingBytes: number
  /** Size of the first waiting file. */
  readonly segmentBytes: number
}

/**
 * The queue as it is now. Synchronous on purpose: these are small local directories, and the threads that wait for
 * files elsewhere may all be stuck when this must be known.
 *
 * @param walPath the directory of the segments, absolute byte string
 * @param out of the spool
 * @throws the system's error when archive_status cannot be read
 */
export function readReadyQueue(walPath: string, out: string): ReadyQueue {
  // In this order a mark that is set meanwhile is seen with the next look, and no `.ok` seems to lack its mark.
  const oks = endings(out, '.ok')
  const ready = endings(`${walPath}/archive_status`, '.ready')
  const waiting: string[] = []
  const acknowledged: string[] = []
  for (const name of ready) if (isArchivable(name)) (oks.has(name) ? acknowledged : waiting).push(name)
  waiting.sort(inArchiveOrder)
  const segmentBytes = waiting.length === 0 ? 0 : sizeOf(`${walPath}/${waiting.find(isWalSegment) ?? waiting[0] ?? ''}`)
  return {
    waiting,
    acknowledged,
    served: [...oks].filter((name) => !ready.has(name)),
    waitingBytes: waiting.length * segmentBytes,
    segmentBytes,
  }
}

/** PostgreSQL archives timeline history files before all others, so that standbys find their way; then by name. */
export function inArchiveOrder(a: string, b: string): number {
  const [first, second] = [isTimelineHistoryFile(a), isTimelineHistoryFile(b)]
  return first === second ? compareBytes(a, b) : first ? -1 : 1
}

/** Would PostgreSQL have this archived? */
export function isReady(walPath: string, name: string): boolean {
  return statSync(pathOf(`${walPath}/archive_status/${name}.ready`), { throwIfNoEntry: false }) !== undefined
}

function isArchivable(name: string): boolean {
  return isWalSegment(name) || isPartialSegment(name) || isTimelineHistoryFile(name) || isBackupHistoryFile(name)
}

function endings(directory: string, ending: string): Set<string> {
  let names: string[]
  try {
    names = readdirSync(pathOf(directory), { encoding: 'latin1' })
  } catch (error) {
    if (systemCode(error) === 'ENOENT' && ending === '.ok') return new Set()
    throw error
  }
  const found = new Set<string>()
  for (const name of names) if (name.endsWith(ending)) found.add(name.slice(0, -ending.length))
  return found
}

function sizeOf(path: string): number {
  return statSync(pathOf(path), { throwIfNoEntry: false })?.size ?? 0
}
