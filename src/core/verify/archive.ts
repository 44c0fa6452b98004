import { archiveIdOf, type ArchiveInfo } from '../../format/archive-info.ts'
import { archiveIdPath } from '../../format/repo-path.ts'
import type { WalSegment } from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { inParallel } from '../../util/parallel.ts'
import type { ArchivedFile, WalDirectory } from './archive-pieces.ts'
import { archiveIds, walDirectories, walDirectory } from './archive-pieces.ts'
import type { Problems } from './findings.ts'
import { MissingTimes } from './missing-times.ts'
import { walPart } from './parts.ts'
import { provePieces } from './prove-stored.ts'
import type { PlannedPart } from './run.ts'
import type { VerifyRequest } from './request.ts'
import { WalRanges } from './wal-ranges.ts'
import { asBytes, bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'

/** One archive id: the present segments, and how to verify them. */
export interface VerifiedArchive {
  readonly archiveId: string
  /** Of its segments. */
  readonly storedBytes: number
  /** Absent: commit times are not recorded. */
  readonly times?: MissingTimes
  readonly ranges: WalRanges['ranges']
  readonly gaps: ReturnType<WalRanges['gaps']>
  /** The last segment that recovery can reach from this one; undefined if it is missing. */
  reach(segment: string): string | undefined
  plan(wanted: (archiveId: string, directory: string) => boolean): PlannedPart[]
}

const USUAL_SEGMENT_SIZE = 16 * 1024 * 1024

export async function verifyArchive(
  request: VerifyRequest,
  info: ArchiveInfo,
  problems: Problems,
): Promise<VerifiedArchive[]> {
  const { repository, stanza, recordTimes, signal } = request
  const { storage } = repository
  const archives: VerifiedArchive[] = []
  for (const archiveId of await archiveIds(storage, stanza, signal)) {
    const cluster = info.history.find((entry) => archiveIdOf(entry) === archiveId)
    if (cluster === undefined) {
      problems.note(
        `${bytesToText(bytes`archive/${stanza}/${archiveId}`)} belongs to no cluster of archive.info, so its WAL cannot be used`,
      )
      continue
    }
    const { cipherPass } = info
    const known = { systemId: cluster.systemId, cipherPass }
    const path = archiveIdPath(stanza, archiveId)
    const times = recordTimes ? new MissingTimes({ storage, stanza, archiveId, cipherPass, signal }) : undefined
    const directories = await walDirectories(storage, stanza, archiveId, signal)
    let ranges: WalRanges | undefined
    const bytesIn = new Map<string, number>()
    for await (const { segments, orphans } of listedAhead(storage, path, directories, signal)) {
      ranges ??= new WalRanges(await segmentSizeOf(segments, cipherPass, request))
      for (const orphan of orphans) problems.note(`${bytesToText(orphan)} is not a file of an archive`)
      for (const repoNames of duplicates(segments)) {
        problems.error(
          `one segment is stored ${repoNames.length} times, with different contents: ${repoNames.map(bytesToText).join(', ')}`,
        )
      }
      for (const { segment, partial } of segments) if (!partial) ranges.add(segment)
      const size = segments.reduce((sum, file) => sum + file.storedBytes, 0)
      if (segments[0] !== undefined) bytesIn.set(segments[0].segment.slice(0, 16), size)
    }
    const found = ranges ?? new WalRanges(USUAL_SEGMENT_SIZE)
    archives.push({
      archiveId,
      storedBytes: [...bytesIn.values()].reduce((sum, one) => sum + one, 0),
      times,
      ranges: found.ranges,
      gaps: found.gaps(),
      reach: (segment) => found.reach(segment),
      plan: (wanted) =>
        directories
          .filter((directory) => wanted(archiveId, directory))
          .map((directory) => {
            const key = `archive/${archiveId}/${directory}`
            const load = async () => {
              const { segments } = await walDirectory(storage, `${path}/${directory}`, signal)
              return walPart(key, segments, known, await times?.among(segments))
            }
            return { key, bytes: bytesIn.get(directory) ?? 0, load }
          }),
    })
  }
  return archives
}

/** Lists the files of each directory, in order; on remote storage several directories in parallel. */
async function* listedAhead(
  storage: StorageDriver,
  path: string,
  directories: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<WalDirectory> {
  const atOnce = storage.parallel === undefined ? 1 : 4 * storage.parallel
  for (let at = 0; at < directories.length; at += atOnce) {
    yield* await inParallel(directories.slice(at, at + atOnce), atOnce, (directory) =>
      walDirectory(storage, `${path}/${directory}`, signal),
    )
  }
}

/** Determines the segment size from the first readable segments, because names do not contain it. */
async function segmentSizeOf(
  segments: readonly ArchivedFile[],
  cipherPass: string | undefined,
  { repository, signal }: VerifyRequest,
): Promise<number> {
  for (const { segment, partial, checksum, repoName, compressType } of segments.slice(0, 3)) {
    const piece = { name: asBytes(segment), repoName, expected: { of: 'wal', checksum, segment, partial } } as const
    const work = { decode: [piece], compressType, raw: false, cipherPass }
    const [proven] = await provePieces(work, repository.storage, signal)
    if (proven?.segmentSize !== undefined) return proven.segmentSize
  }
  return USUAL_SEGMENT_SIZE
}

function duplicates(segments: readonly ArchivedFile[]): ByteString[][] {
  const byName = new Map<string, ArchivedFile[]>()
  for (const file of segments) {
    const name = `${file.segment as WalSegment}${file.partial ? '.partial' : ''}`
    byName.set(name, [...(byName.get(name) ?? []), file])
  }
  return [...byName.values()]
    .filter((files) => new Set(files.map(({ checksum }) => checksum)).size > 1)
    .map((files) => files.map(({ repoName }) => repoName))
}
