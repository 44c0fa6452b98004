import {
  isPartialSegment,
  isTimelineHistoryFile,
  lsnOfSegment,
  MAX_SEGMENT_SIZE,
  MIN_SEGMENT_SIZE,
  parseTimelineHistory,
  timelineOf,
  type WalSegment,
} from '../../../format/wal-segment.ts'
import type { ClusterFiles } from '../../../postgres/cluster-access.ts'
import { parseWalHeader, type WalHeader } from '../../../postgres/wal-header.ts'
import { WalPageWalk, type WalFault } from '../../../postgres/wal-pages.ts'
import { bytes, bytesToText, type ByteString } from '../../../util/byte-string.ts'
import { readAll } from '../../../util/bytes.ts'
import { isPgtsError, PgtsError } from '../../../util/error.ts'
import { formatLsn } from '../../../util/lsn.ts'
import { describeCluster, isSameCluster } from '../../cluster-identity.ts'
import { baseName, mismatch } from '../find.ts'
import type { PushTarget } from './store-segment.ts'
import type { WalFile } from '../wal-file.ts'

export interface SegmentCheckRequest {
  readonly stanza: string
  readonly files: ClusterFiles
  /** Path of the WAL file (byte string); its last part is the name of a segment or partial segment. */
  readonly path: ByteString
  /** One of the repositories that will store it; all of them belong to one cluster. */
  readonly target: PushTarget
}

/**
 * Checks that a file is a complete segment of the stanza's cluster, and the segment that its name says. `push` receives
 * the bytes as they are read for the checksum, `finish` throws. A wrong refusal stops all archiving, so everything that
 * PostgreSQL is known to write into a segment passes.
 */
export class SegmentCheck {
  readonly #request: SegmentCheckRequest
  readonly #name: WalSegment
  readonly #partial: boolean
  readonly #walk: WalPageWalk

  constructor(request: SegmentCheckRequest) {
    this.#request = request
    const name = baseName(request.path)
    this.#partial = isPartialSegment(name)
    this.#name = name.slice(0, 24) as string as WalSegment
    this.#walk = new WalPageWalk({
      startLsn: (segmentSize) => this.#startLsn(segmentSize),
      timeline: timelineOf(name),
      firstHeaderOnly: this.#partial,
    })
  }

  push(chunk: Uint8Array): void {
    this.#walk.push(chunk)
  }

  /**
   * @throws PgtsError archive-mismatch: of another cluster; version-not-supported: of an unknown server version; format:
   *   truncated, torn, or not the segment that its name says
   */
  async finish(file: WalFile): Promise<void> {
    const { stanza, target } = this.#request
    const path = bytesToText(file.path)
    if (!this.#partial) requireSegmentFileSize(path, file.sizeBytes)
    const header = headerOf(path, file.head, this.#request.files)
    if (!isSameCluster(header, target.identity)) {
      throw mismatch(
        `WAL file ${path} (${describeCluster(header)})`,
        `${stanza} of ${target.repository.display}`,
        target.identity,
      )
    }
    if (this.#partial ? file.sizeBytes > header.segmentSize : file.sizeBytes !== header.segmentSize) {
      throw new PgtsError(
        'format',
        `${path} has ${file.sizeBytes} bytes, but its header says that a segment has ${header.segmentSize}`,
        { hints: ['check for a full disk, which may have truncated the file', ...WHAT_NOW] },
      )
    }
    // Throws if no segment of this size has the name.
    lsnOfSegment(this.#name, header.segmentSize)
    const { fault } = this.#walk
    if (fault === undefined || (await this.#timelineEndedBefore(fault))) return
    throw incomplete(path, fault)
  }

  #startLsn(segmentSize: number): bigint | undefined {
    try {
      return lsnOfSegment(this.#name, segmentSize)
    } catch {
      return undefined // finish() throws
    }
  }

  /**
   * With archive_mode = always, a standby that follows its primary to a new timeline also archives the segment in which
   * the old one ended, under its full name and with any bytes after the end. A history file in pg_wal shows that.
   */
  async #timelineEndedBefore(fault: WalFault): Promise<boolean> {
    const { files, path } = this.#request
    const directory = path.slice(0, path.lastIndexOf('/'))
    const timeline = timelineOf(this.#name)
    for (const { name } of (await files.list(directory)) ?? []) {
      if (!isTimelineHistoryFile(name) || timelineOf(name) <= timeline) continue
      const source = await files.open(bytes`${directory}/${name}`, { buffer: Buffer.allocUnsafe(HISTORY_BYTES) })
      if (source === undefined) continue
      try {
        const switches = parseTimelineHistory((await readAll(source)).toString('latin1'))
        const end = switches.find((entry) => entry.timeline === timeline)?.switchLsn
        if (end !== undefined && end <= fault.lsn + LONGEST_PAGE_HEADER) return true
      } catch (error) {
        if (!isPgtsError(error)) throw error // an invalid history file is ignored
      }
    }
    return false
  }
}

const HISTORY_BYTES = 8192
/** The history file gives the end as the start of a page, or as the start of its first record. */
const LONGEST_PAGE_HEADER = 40n

const WHAT_NOW = [
  'PostgreSQL keeps the file and retries, and pg_wal grows; recovery from the archive would end at this segment',
  'if the file cannot be repaired, archive it as it is with archive-header-check=n, set that back, and take a new full backup',
]

/** @throws PgtsError format when no server writes segments of this size */
function requireSegmentFileSize(path: string, size: number): void {
  if (size >= MIN_SEGMENT_SIZE && size <= MAX_SEGMENT_SIZE && Number.isInteger(Math.log2(size))) return
  throw new PgtsError('format', `${path} has ${size} bytes, which is not the size of a WAL segment`, {
    hints: [
      'the size is a power of two from 1 MiB to 1 GiB: check for a full disk, and that the file is from pg_wal',
      ...WHAT_NOW,
    ],
  })
}

function headerOf(path: string, head: Buffer, files: ClusterFiles): WalHeader {
  try {
    return parseWalHeader(head, files)
  } catch (error) {
    if (!isPgtsError(error)) throw error
    throw new PgtsError(error.code, `${path} cannot be archived: ${error.message}`, {
      hints: error.hints,
      cause: error,
    })
  }
}

function incomplete(path: string, { offset, lsn, what, zeros }: WalFault): PgtsError {
  const why =
    offset === 0
      ? 'check that the file was not renamed or copied: it is not the segment that its name says'
      : zeros
        ? 'the server still writes to it, or a crash or a full disk lost the rest: a finished segment has zeros only after a switch record'
        : 'this part is of another segment, or corrupt: the file was copied while it was written, or the disk loses writes'
  return new PgtsError(
    'format',
    `${path} is not a complete WAL segment: at byte ${offset} (LSN ${formatLsn(lsn)}) ${what}`,
    { hints: [why, ...WHAT_NOW] },
  )
}
