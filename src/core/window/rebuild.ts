import { archiveIdOf, type ArchiveInfo } from '../../format/archive-info.ts'
import { archiveIdPath } from '../../format/repo-path.ts'
import type { Executor } from '../../worker/executor.ts'
import type { jobHandlers } from '../jobs.ts'
import type { Repository } from '../repository.ts'
import { archiveIds, walDirectories, walDirectory, type ArchivedFile } from '../verify/archive-pieces.ts'
import { walPart } from '../verify/parts.ts'
import type { ProofJob } from '../verify/prove-stored.ts'
import { RecordedTimes } from './recorded.ts'
import { TimesWriter } from './times-writer.ts'
import type { TimesArchive } from './times-store.ts'

export interface RebuildRequest {
  readonly repository: Repository
  readonly stanza: string
  readonly archiveInfo: ArchiveInfo
  /** Segments archived after this time are left to the process that has archived them. */
  readonly settledMs?: number
  /** Called only if there is something to read; the caller closes it. */
  readonly openExecutor: () => Promise<Executor<typeof jobHandlers>>
  /** At most this many segments are read, the newest ones. */
  readonly mostSegments: number
  /** Nothing more is read after this time. */
  readonly deadlineMs: number
  readonly nowMs: () => number
  readonly signal: AbortSignal
}

/** Directories of the archive that are listed in one run: more only if WAL is missing in that many. */
const MOST_LISTINGS = 256
/** Corrupt segments, and those of unknown versions: they would be read in every run. */
const MOST_FAULTY = 8

/**
 * Reads archived segments without recorded commit times (another program archived them, or their record was lost), and
 * records them; the newest ones first.
 *
 * @returns the number of recorded segments
 * @throws errors of the storage
 */
export async function rebuildTimes(request: RebuildRequest): Promise<number> {
  const { repository, stanza, archiveInfo, signal, mostSegments } = request
  const { storage } = repository
  let read = 0
  let recorded = 0
  for (const archiveId of (await presentIds(request)).reverse()) {
    const cluster = archiveInfo.history.find((entry) => archiveIdOf(entry) === archiveId)
    if (cluster === undefined || read >= mostSegments) continue
    const { cipherPass } = archiveInfo
    const archive: TimesArchive = { storage, stanza, archiveId, cipherPass, signal }
    const [known, present] = await Promise.all([
      RecordedTimes.load(archive),
      walDirectories(storage, stanza, archiveId, signal),
    ])
    const directories = present.filter((name) => !known.hasWhole(name))
    const files = await unrecordedFiles(archive, known, directories, request, mostSegments - read)
    read += files.length
    const writer = new TimesWriter(archive)
    if (files.length > 0) await scanFiles(request, files, { ...archive, systemId: cluster.systemId }, writer)
    await writer.end(known.outdated)
    if (writer.failure !== undefined) throw writer.failure
    recorded += writer.recorded
  }
  return recorded
}

/** Archive ids that may have WAL, by history id. The only one needs no request: it is listed below. */
async function presentIds({ repository, stanza, archiveInfo, signal }: RebuildRequest): Promise<string[]> {
  if (archiveInfo.history.length === 1) return archiveInfo.history.map(archiveIdOf)
  return archiveIds(repository.storage, stanza, signal)
}

/**
 * The newest segments that are not recorded.
 *
 * @param directories of the archive, sorted
 */
async function unrecordedFiles(
  { storage, stanza, archiveId, signal }: TimesArchive,
  known: RecordedTimes,
  directories: readonly string[],
  { settledMs = Infinity }: RebuildRequest,
  most: number,
): Promise<ArchivedFile[]> {
  const path = archiveIdPath(stanza, archiveId)
  const files: ArchivedFile[] = []
  for (const directory of directories.slice(-MOST_LISTINGS).reverse()) {
    if (files.length >= most) break
    known.prefetch(directory)
    const { segments } = await walDirectory(storage, `${path}/${directory}`, signal)
    const whole = segments.filter(({ partial, mtimeMs }) => !partial && mtimeMs <= settledMs)
    const missing = await known.missing(
      whole.map(({ segment }) => segment),
      false,
    )
    files.push(...whole.filter(({ segment }) => missing.has(segment)).reverse())
  }
  return files.slice(0, most)
}

async function scanFiles(
  { repository, openExecutor, nowMs, deadlineMs, signal }: RebuildRequest,
  files: readonly ArchivedFile[],
  known: { readonly cipherPass?: string; readonly systemId: bigint },
  writer: TimesWriter,
): Promise<void> {
  const part = walPart('', files, known, new Set(files.map(({ segment }) => segment)))
  const executor = await openExecutor()
  executor.expect({ bytes: files.reduce((sum, { storedBytes }) => sum + storedBytes, 0), files: part.pieces })
  let faulty = 0
  function* jobs(): Generator<ProofJob> {
    for (const job of part.jobs(0)) {
      if (faulty >= MOST_FAULTY || writer.failure !== undefined || nowMs() >= deadlineMs) return
      yield { ...job, repoKey: repository.key, group: 0 }
    }
  }
  for await (const { job, result } of executor.run('prove-stored', jobs(), { signal })) {
    const { scanned } = result
    faulty += job.pieces - scanned.length
    for (const segment of scanned) writer.add(segment)
    await writer.writeIfDue()
  }
}
