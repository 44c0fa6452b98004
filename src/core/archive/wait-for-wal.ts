import type { WalSegment } from '../../format/wal-segment.ts'
import { archiveDirectory, archiveFileName, archiveIdPath } from '../../format/repo-path.ts'
import type { Clock } from '../../util/clock.ts'
import { EXIT_CODES, exitCodeText, PgtsError, toPlainError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { Repository } from '../repository.ts'
import { baseName, listSegments, type StoredSegment } from './find.ts'
import { bytesToText } from '../../util/byte-string.ts'

/** A segment that was found in the archive. */
export interface ArchivedSegment extends StoredSegment {
  readonly segment: WalSegment
}

export interface WaitRequest {
  readonly repository: Repository
  readonly stanza: string
  readonly archiveId: string
  readonly segments: Iterable<WalSegment>
  /** For each segment, milliseconds. */
  readonly timeoutMs: number
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly log: Logger
  /** Hints for the timeout: why the segment did not arrive. Its errors are ignored. */
  readonly explain?: (segment: WalSegment) => Promise<readonly string[]>
}

/**
 * Wait until every segment is in the archive of one repository; the timeout is for each segment.
 *
 * @throws PgtsError archive-timeout with the segment and the known causes; archive-duplicate when a segment is
 *   archived with different contents
 */
export async function waitForSegments(request: WaitRequest): Promise<ArchivedSegment[]> {
  const found: ArchivedSegment[] = []
  // A long backup waits for thousands of segments that exist: a listing is used for all that it contains.
  const seen = new Map<string, Listing>()
  for (const segment of request.segments) found.push(await waitForSegment(request, segment, seen))
  return found
}

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000

type Listing = ReadonlyMap<string, readonly StoredSegment[]>

async function waitForSegment(
  request: WaitRequest,
  segment: WalSegment,
  seen: Map<string, Listing>,
): Promise<ArchivedSegment> {
  const { repository, stanza, archiveId, clock, signal, timeoutMs } = request
  const directory = archiveDirectory(stanza, archiveId, segment)
  const deadlineMs = clock.nowMs() + timeoutMs
  let pauseMs = FIRST_PAUSE_MS
  for (;;) {
    signal.throwIfAborted()
    let stored = seen.get(directory)?.get(segment)
    if (stored === undefined) {
      const listing = await listSegments(repository.storage, directory, signal)
      seen.set(directory, listing)
      stored = listing.get(segment) ?? []
    }
    requireOneContent(request, segment, stored)
    const [first] = stored
    if (first !== undefined) return { segment, ...first }
    const leftMs = deadlineMs - clock.nowMs()
    // The last listing is after the deadline: a segment may have arrived during the last pause.
    if (leftMs <= 0) throw await timeout(request, segment)
    request.log.trace({ segment }, `WAL segment ${segment} is not in the archive yet`)
    await clock.sleep(Math.min(pauseMs, leftMs), signal)
    pauseMs = Math.min(pauseMs * 1.6, LONGEST_PAUSE_MS)
  }
}

function requireOneContent(request: WaitRequest, segment: WalSegment, stored: readonly StoredSegment[]): void {
  if (new Set(stored.map((one) => one.checksum)).size < 2) return
  const names = stored.map((one) => bytesToText(baseName(one.repoName))).join(', ')
  throw new PgtsError(
    'archive-duplicate',
    `WAL segment ${segment} is in the archive of ${request.repository.display} with different contents: ${names}`,
    {
      hints: [
        'two servers archive into this stanza, for example a restored copy of production: stop archiving on the copy',
        'find out which file belongs to this cluster and move the others out of the repository',
      ],
    },
  )
}

async function timeout(request: WaitRequest, segment: WalSegment): Promise<PgtsError> {
  const { repository, stanza, archiveId, timeoutMs } = request
  const seconds = Math.round(timeoutMs / 100) / 10
  const where = `${repository.storage.display}/${archiveIdPath(stanza, archiveId)}`
  const reasons = [...(await explain(request, segment)), ...(await cannotWrite(request, segment))]
  return new PgtsError(
    'archive-timeout',
    `WAL segment ${segment} did not reach the archive of ${repository.display} (${where}) within ${seconds} seconds`,
    { hints: reasons.length > 0 ? reasons : NOTHING_KNOWN },
  )
}

const NOTHING_KNOWN = [
  'check that archive_command names this stanza and this configuration, and run it by hand as the user of the server',
  'check for a stop file, and set a larger archive-timeout if the network or the repository is slow',
]

async function explain(request: WaitRequest, segment: WalSegment): Promise<readonly string[]> {
  try {
    return (await request.explain?.(segment)) ?? []
  } catch {
    // Only hints are lost; the timeout is reported.
    return []
  }
}

/** The repository can be listed, but may be read-only, full, or not writable by this user. */
async function cannotWrite(request: WaitRequest, segment: WalSegment): Promise<string[]> {
  const { repository, stanza, archiveId, signal } = request
  try {
    // Discarded: there is no commit.
    await using pending = await repository.storage.create(archiveFileName(stanza, archiveId, segment), { signal })
    await pending.sink.write(Buffer.from('pgts'))
    return []
  } catch (error) {
    signal.throwIfAborted()
    const { code, message } = toPlainError(error)
    return [
      `this process cannot write there either: ${exitCodeText(EXIT_CODES[code])} ${message}; if it runs as the server's user, that is the cause`,
    ]
  }
}
