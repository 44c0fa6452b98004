import { archiveIdOf, currentHistory, type ArchiveInfo } from '../../../format/archive-info.ts'
import { archivedSegmentName } from '../../../format/wal-segment.ts'
import { archiveFileName } from '../../../format/repo-path.ts'
import type { ClusterFiles } from '../../../postgres/cluster-access.ts'
import type { Compression } from '../../../util/compress-type.ts'
import type { PgtsError } from '../../../util/error.ts'
import { loadModule } from '../../../util/load-module.ts'
import type { Logger } from '../../../util/log.ts'
import { loadArchiveInfo } from '../../archive-info-store.ts'
import type { LoadOptions } from '../../info-pair.ts'
import type { Repository } from '../../repository.ts'
import { type ClusterIdentity, describeCluster, isSameCluster } from '../../cluster-identity.ts'
import { baseName, mismatch } from '../find.ts'
import { RepositoryFailures } from '../repository-failures.ts'
import type { ScannedSegment, SegmentScan } from '../../window/segment-scan.ts'
import type { SegmentCheck } from './segment-check.ts'
import { storeHistory } from './store-history.ts'
import { ArchivedForms, type FileToStore, storeEverywhere, type PushTarget, type StoredIn } from './store-segment.ts'
import {
  readHistory,
  readWalFile,
  statWalFile,
  walFileKind,
  type Compressing,
  type WalFile,
  type WalFileKind,
} from '../wal-file.ts'
import type { ByteString } from '../../../util/byte-string.ts'
import { repoId } from '../../../util/repo-id.ts'

export interface PushRequest {
  readonly stanza: string
  /** Absolute path of the WAL file (byte string); its last part is its name in the archive. */
  readonly path: ByteString
  readonly files: ClusterFiles
  /** From pg_control; absent: the data directory is not configured. */
  readonly identity?: ClusterIdentity
  readonly repositories: readonly Repository[]
  readonly compression: Compression
  /** Compare the segment's own header with the stanza. */
  readonly headerCheck: boolean
  /** Warn if a repository has the same segment already. */
  readonly warnWhenArchived: boolean
  /** Find commit times and restore points while a segment is read. */
  readonly scan?: boolean
  /** Loads archive.info; absent: it is read for every file. */
  readonly archiveInfo?: (repository: Repository, options: LoadOptions) => Promise<ArchiveInfo>
  readonly log: Logger
  readonly signal: AbortSignal
}

export interface PushReport {
  /** Name of the WAL file. */
  readonly file: string
  readonly sizeBytes: number
  readonly repositories: readonly {
    readonly repoKey: number
    readonly archiveId: string
    /** Name in the repository, from its root. */
    readonly repoName: string
    /** The repository had the same content, so nothing was written. */
    readonly already: boolean
  }[]
  /** The result of `scan`. */
  readonly scanned?: ScannedSegment
}

/**
 * Store one WAL file in every repository. When this resolves, each of them has the file, complete and durable, and
 * PostgreSQL may remove its own. Every repository is tried; if one fails, the push fails, and PostgreSQL retries it.
 *
 * @throws PgtsError archive-mismatch: WAL of another cluster, or the wrong stanza; archive-duplicate: a repository has the
 *   segment with other content, and nothing was written anywhere; command: some repositories failed
 */
export async function pushWal(request: PushRequest): Promise<PushReport> {
  const { report, failures, targets } = await pushToEach(request)
  if (targets === 0) throw failures.toError('repo-invalid', 'no repository accepts WAL', request.repositories.length)
  if (failures.count > 0) throw pushFailure(report.file, failures, request.repositories.length)
  return report
}

/** One error for the failures of a file. @param repositories how many are configured */
export function pushFailure(file: string, failures: RepositoryFailures, repositories: number): PgtsError {
  return failures.toError('command', `WAL file ${file} could not be stored in every repository`, repositories, [
    'PostgreSQL keeps the file and retries; repositories that have stored it are not affected',
  ])
}

export interface PushOutcome {
  readonly report: PushReport
  readonly failures: RepositoryFailures
  /** How many repositories belong to this cluster. */
  readonly targets: number
}

/**
 * As `pushWal`, but failures of repositories are returned, and the report names the repositories that have the file.
 *
 * @throws PgtsError errors of the file itself
 */
export async function pushToEach(request: PushRequest): Promise<PushOutcome> {
  const name = baseName(request.path)
  const kind = await kindOf(request, name)
  const failures = new RepositoryFailures()
  const targets = await openTargets(request, failures)
  const outcome = (sizeBytes: number, stored: readonly StoredIn[], scanned?: ScannedSegment): PushOutcome => ({
    report: {
      file: name,
      ...(scanned === undefined ? {} : { scanned }),
      sizeBytes,
      repositories: stored
        .map(({ target: { repository, archiveId }, ...rest }) => ({ repoKey: repository.key, archiveId, ...rest }))
        .sort((a, b) => a.repoKey - b.repoKey),
    },
    failures,
    targets: targets.length,
  })
  if (targets.length === 0) return outcome(0, [])
  const isHistory = kind === 'timeline-history' || kind === 'backup-history'
  const push = isHistory ? pushHistory : pushSegment
  const { file, sizeBytes, stored, scanned } = await push({ ...request, name }, targets, failures)
  request.signal.throwIfAborted()
  // A repository that failed may still be reading.
  if (failures.count === 0) file?.release()
  return outcome(sizeBytes, stored, scanned)
}

interface Pushed {
  readonly sizeBytes: number
  /** Of a segment. */
  readonly file?: WalFile
  readonly stored: readonly StoredIn[]
  readonly scanned?: ScannedSegment
}

type NamedRequest = PushRequest & FileToStore

async function pushHistory(
  request: NamedRequest,
  targets: readonly PushTarget[],
  failures: RepositoryFailures,
): Promise<Pushed> {
  const content = await readHistory(request.files, request.path)
  // Snapshots of a volume contain such files. An error would stop archiving: PostgreSQL never goes on to the next file.
  if (content.length === 0)
    request.log.warn({ file: request.name }, `${request.name} is empty, and is archived as it is`)
  return { sizeBytes: content.length, stored: await storeHistory(request, targets, content, failures) }
}

async function pushSegment(
  request: NamedRequest,
  targets: readonly PushTarget[],
  failures: RepositoryFailures,
): Promise<Pushed> {
  const { compression, name, stanza } = request
  const check = request.headerCheck ? await segmentCheck(request, targets) : undefined
  const scan = request.scan === true ? await segmentScan(name) : undefined
  // All repositories are listed while the file is read.
  using archived = new ArchivedForms(request, targets)
  const { files, path, signal } = request
  const file = await readWalFile(files, path, {
    watches: [check, scan],
    compression: await compressing(compression),
    signal,
  })
  const scanned = scan?.result()
  const stored: StoredIn[] = []
  const missing: PushTarget[] = []
  try {
    for (const target of targets) {
      const same = await archived.same(target, file.checksum, failures)
      if (same === 'none') missing.push(target)
      else if (same !== 'failed') stored.push({ target, repoName: same.repoName, already: true })
    }
  } catch (error) {
    // A repository has other content. If this file is invalid, that error explains more.
    await check?.finish(file)
    throw error
  }
  // If every repository has it, a refusal would only stop archiving.
  if (stored.length < targets.length) await check?.finish(file)
  const { sizeBytes } = file
  if (missing.length === 0) return { file, sizeBytes, stored, scanned }

  const storedName = archivedSegmentName(name, file.checksum, compression.type)
  const written = await storeEverywhere({ ...request, targets: missing, storedName, file }, failures)
  using after = new ArchivedForms(request, written)
  for (const target of written) {
    if (!(await after.isOnly(target, file.checksum, failures))) continue
    stored.push({ target, repoName: archiveFileName(stanza, target.archiveId, storedName), already: false })
  }
  return { file, sizeBytes, stored, scanned }
}

async function compressing({ type, level }: PushRequest['compression']): Promise<Compressing> {
  if (type === 'none') return { stages: () => [], oneCallBytes: 0 }
  const { CODECS, compressor, loadCodec } = await loadModule(() => import('../../../codec/registry.ts'))
  await loadCodec(type)
  const { oneCallBytes = 0 } = CODECS[type]
  return { stages: (contentBytes) => [compressor(type, level, { contentBytes })], oneCallBytes }
}

/** If the file does not exist, that is reported, also when its name is invalid. */
async function kindOf({ files, path }: PushRequest, name: ByteString): Promise<WalFileKind> {
  try {
    return walFileKind(name)
  } catch (error) {
    await statWalFile(files, path)
    throw error
  }
}

/** The repositories with their current archive id, which must belong to this cluster. WAL is never stored under an older id. */
async function openTargets(request: PushRequest, failures: RepositoryFailures): Promise<PushTarget[]> {
  const targets: PushTarget[] = []
  const options = { signal: request.signal, log: request.log }
  const load = (repository: Repository) =>
    request.archiveInfo?.(repository, options) ?? loadArchiveInfo(repository, request.stanza, options)
  const loads = request.repositories.map(load)
  await Promise.allSettled(loads)
  for (const [index, repository] of request.repositories.entries()) {
    const { key } = repository
    try {
      const info = await loads[index]!
      const current = currentHistory(info)
      const first = targets[0]
      const expected = request.identity ?? first?.identity
      if (expected !== undefined && !isSameCluster(current, expected)) {
        const other = request.identity === undefined ? String(first?.repository.display) : 'the data directory'
        throw mismatch(`${other} (${describeCluster(expected)})`, `${request.stanza} of ${repoId(key)}`, current)
      }
      targets.push({
        repository,
        archiveId: archiveIdOf(current),
        cipherPass: info.cipherPass,
        identity: current,
      })
    } catch (error) {
      request.signal.throwIfAborted()
      failures.add(key, error)
    }
  }
  return targets
}

async function segmentScan(name: string): Promise<SegmentScan | undefined> {
  const { scanOf } = await loadModule(() => import('../../window/segment-scan.ts'))
  return scanOf(name)
}

/** Loaded only when needed: history files and archive-header-check=n do not need it. All targets belong to one cluster. */
async function segmentCheck(
  { stanza, files, path }: PushRequest,
  [target]: readonly PushTarget[],
): Promise<SegmentCheck> {
  const { SegmentCheck } = await loadModule(() => import('./segment-check.ts'))
  return new SegmentCheck({ stanza, files, path, target: target as PushTarget })
}
