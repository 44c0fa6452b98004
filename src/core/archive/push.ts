import type { Stage } from '../../codec/stage.ts'
import { archiveIdOf, currentHistory, type ArchiveInfo } from '../../format/archive-info.ts'
import { archivedSegmentName, isSegmentOrPartial } from '../../format/wal-segment.ts'
import { archiveDirectory, archiveFileName } from '../../format/repo-path.ts'
import type { ClusterFiles } from '../../postgres/cluster-access.ts'
import { bytesToText } from '../../util/byte-string.ts'
import type { CompressType } from '../../util/compress-type.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { loadArchiveInfo, type LoadOptions } from '../info-store.ts'
import {
  baseName,
  describeCluster,
  findSegment,
  isSameCluster,
  type ArchiveRepository,
  type ClusterIdentity,
  type StoredSegment,
} from './find.ts'
import { mismatch } from './mismatch.ts'
import { RepositoryFailures } from './repository-failures.ts'
import { readArchived } from './read-archived.ts'
import type { SegmentCheck } from './segment-check.ts'
import { storeEverywhere, type Target } from './store.ts'
import { readWalFile, walFileKind, type WalFile, type WalFileKind } from './wal-file.ts'

export interface PushRequest {
  readonly stanza: string
  /** Absolute path of the WAL file (byte string); its last part is its name in the archive. */
  readonly path: string
  readonly files: ClusterFiles
  /** What pg_control says; absent where the data directory is not configured. */
  readonly identity?: ClusterIdentity
  readonly repositories: readonly ArchiveRepository[]
  readonly compress: { readonly type: CompressType; readonly level: number }
  /** Compare the segment's own header with the stanza. */
  readonly headerCheck: boolean
  /** Say so when the very same segment is there already. */
  readonly warnWhenArchived: boolean
  /** archive.info of a repository, where it is not to be read for every file. */
  readonly archiveInfo?: (repository: ArchiveRepository, options: LoadOptions) => Promise<ArchiveInfo>
  readonly log: Logger
  readonly signal: AbortSignal
}

export interface PushReport {
  /** Name of the WAL file. */
  readonly file: string
  readonly kind: WalFileKind
  readonly sizeBytes: number
  readonly repositories: readonly {
    readonly repoKey: number
    readonly archiveId: string
    /** Name in the repository, from its root. */
    readonly repoName: string
    /** The same content was there already, so nothing was written. */
    readonly already: boolean
  }[]
}

/**
 * Store one WAL file in every repository. When this resolves, each of them has it, durable and whole, and PostgreSQL
 * may remove its own. Every repository is tried; one failure makes the whole push fail, so that PostgreSQL tries again.
 *
 * @throws PgtsError archive-mismatch: another cluster's WAL, or the wrong stanza; archive-duplicate: the segment is
 *   there with other content, and nothing was written anywhere; command: some repositories failed
 */
export async function pushWal(request: PushRequest): Promise<PushReport> {
  const { report, failures, targets } = await pushWhereItGoes(request)
  if (targets === 0) throw failures.toError('repo-invalid', 'no repository can take WAL', request.repositories.length)
  if (failures.count > 0) throw pushFailure(report.file, failures, request.repositories.length)
  return report
}

/** The error that stands for the failures of a file. @param repositories how many are configured */
export function pushFailure(file: string, failures: RepositoryFailures, repositories: number): PgtsError {
  return failures.toError('command', `WAL file ${file} could not be stored in every repository`, repositories, [
    'PostgreSQL keeps the file and tries again; what other repositories have stored already is not harmed by that',
  ])
}

/**
 * As `pushWal`, but a repository that fails is told and not thrown. The report names those that have the file;
 * `targets` is how many of them know this cluster.
 *
 * @throws PgtsError what is wrong with the file itself, whatever the repository
 */
export async function pushWhereItGoes(
  request: PushRequest,
): Promise<{ readonly report: PushReport; readonly failures: RepositoryFailures; readonly targets: number }> {
  const { signal } = request
  const name = baseName(request.path)
  const kind = walFileKind(name)
  const failures = new RepositoryFailures()

  const targets = await openTargets(request, failures)
  if (targets.length === 0)
    return { report: { file: name, kind, sizeBytes: 0, repositories: [] }, failures, targets: 0 }
  const check = request.headerCheck && isSegmentOrPartial(name) ? await segmentCheck(request, targets) : undefined
  // What is there already is asked of all repositories while the file is read.
  using archived = new Archived(request, kind === 'segment' || kind === 'partial' ? targets : [], name)
  const file = await readWalFile(request.files, request.path, check)

  const done: PushReport['repositories'][number][] = []
  const missing: Target[] = []
  let storedName = name
  let stages: () => Stage[] = () => []
  if (kind === 'segment' || kind === 'partial') {
    const { compress } = request
    storedName = archivedSegmentName(name, file.checksum, compress.type)
    try {
      for (const target of targets) {
        const existing = await findExisting(request, target, archived, file.checksum, failures)
        if (existing === 'unknown') continue
        if (existing === undefined) missing.push(target)
        else done.push({ repoKey: target.key, archiveId: target.archiveId, repoName: existing, already: true })
      }
    } catch (error) {
      // Other content is there already; if this one is refused anyway, that is the better word.
      await check?.finish(file)
      throw error
    }
    // What every repository has is safe as it is: refusing it now would only stop archiving.
    if (done.length < targets.length) await check?.finish(file)
    if (missing.length > 0 && compress.type !== 'none') {
      const { compressor, loadCodec } = await import('../../codec/registry.ts')
      await loadCodec(compress.type)
      const wholeBytes = file.sizeBytes
      stages = () => [compressor(compress.type, compress.level, { wholeBytes })]
    }
  } else {
    missing.push(...targets)
    if (kind === 'timeline-history') await warnOfOtherHistory(request, targets, name, file)
  }

  if (missing.length > 0) {
    const stored = await storeEverywhere({ ...request, targets: missing, storedName, file, stages }, failures)
    for (const { key, archiveId } of stored) {
      const repoName = archiveFileName(request.stanza, archiveId, storedName)
      done.push({ repoKey: key, archiveId, repoName, already: false })
    }
  }
  signal.throwIfAborted()
  // A repository that failed may still be reading.
  if (failures.count === 0) file.release()
  done.sort((a, b) => a.repoKey - b.repoKey)
  return {
    report: { file: name, kind, sizeBytes: file.sizeBytes, repositories: done },
    failures,
    targets: targets.length,
  }
}

/** The current archive id of each repository, which must belong to this cluster. WAL never goes to an older id. */
async function openTargets(request: PushRequest, failures: RepositoryFailures): Promise<Target[]> {
  const targets: Target[] = []
  const options = { signal: request.signal, log: request.log }
  const load = (repository: ArchiveRepository) =>
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
        const whose = request.identity === undefined ? `repo${first?.key}` : 'the data directory'
        throw mismatch(`${whose} (${describeCluster(expected)})`, `${request.stanza} of repo${key}`, current)
      }
      targets.push({
        ...repository,
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

/** Loaded when it is wanted: history files, and archive-header-check=n, do without. All targets are of one cluster. */
async function segmentCheck({ stanza, files, path }: PushRequest, [target]: readonly Target[]): Promise<SegmentCheck> {
  const { SegmentCheck } = await import('./segment-check.ts')
  return new SegmentCheck({ stanza, files, path, target: target as Target })
}

/** The stored forms of a segment in each repository, asked of all of them at once. */
class Archived implements Disposable {
  readonly name: string
  readonly #stop = new AbortController()
  readonly #found: ReadonlyMap<Target, Promise<readonly StoredSegment[]>>

  constructor({ stanza, signal }: PushRequest, targets: readonly Target[], name: string) {
    this.name = name
    const either = AbortSignal.any([signal, this.#stop.signal])
    const ask = async ({ storage, archiveId }: Target) => findSegment(storage, stanza, archiveId, name, either)
    this.#found = new Map(targets.map((target) => [target, ask(target)]))
    // Whoever asks for it hears of a failure; until then it is not unhandled.
    for (const found of this.#found.values()) found.catch(() => undefined)
  }

  async in(target: Target): Promise<readonly StoredSegment[]> {
    return (await this.#found.get(target)) ?? []
  }

  /** The file was refused, so nobody wants the rest. */
  [Symbol.dispose](): void {
    this.#stop.abort()
  }
}

/** The stored name of the same content; undefined: not there; 'unknown': the repository failed and that was noted. */
async function findExisting(
  request: PushRequest,
  target: Target,
  archived: Archived,
  checksum: string,
  failures: RepositoryFailures,
): Promise<string | undefined> {
  const { key, storage } = target
  const { name } = archived
  let found
  try {
    found = await archived.in(target)
    // A push that was killed after its rename may have left a name that a power cut would still take back.
    if (found.length === 1) await storage.sync(archiveDirectory(request.stanza, target.archiveId, name), request)
  } catch (error) {
    request.signal.throwIfAborted()
    failures.add(key, error)
    return 'unknown'
  }
  const [first, second] = found
  if (first === undefined) return undefined
  if (second !== undefined) {
    failures.add(
      key,
      new PgtsError(
        'command',
        `WAL segment ${name} is in the archive ${found.length} times: ${found.map((f) => bytesToText(baseName(f.repoName))).join(', ')}`,
        {
          hints: [
            'see which one is right (the others usually come from a restored copy that archived into this stanza) and remove the rest from the repository by hand',
          ],
        },
      ),
    )
    return 'unknown'
  }
  if (first.checksum !== checksum) {
    throw new PgtsError(
      'archive-duplicate',
      `WAL segment ${name} is in the archive of repo${key} already with other content: SHA-1 there ${first.checksum}, here ${checksum}`,
      {
        hints: [
          'this usually means that two servers archive into this stanza: a restored or promoted copy that still has the archive_command of production',
          'find the copy and set its archive_mode to off, or give it a stanza of its own; the archived segment was not touched',
          `when the archived one is the wrong one, move ${storage.display}/${first.repoName} away, and take a new full backup`,
        ],
      },
    )
  }
  if (request.warnWhenArchived) {
    request.log.warn(
      { repo: key, file: name },
      `WAL segment ${name} is in the archive of repo${key} already with the same checksum` +
        '\nHINT: this is normal after a crash or an interrupted archive_command, otherwise it may point to a problem',
    )
  }
  return first.repoName
}

/** A history file is replaced when it is pushed again; other content under its name means that somebody else promoted. */
async function warnOfOtherHistory(
  request: PushRequest,
  targets: readonly Target[],
  name: string,
  file: WalFile,
): Promise<void> {
  const { readAll } = await import('../../util/bytes.ts')
  const ours = await readAll(await file.open())
  for (const { key, storage, archiveId, cipherPass } of targets) {
    const repoName = archiveFileName(request.stanza, archiveId, name)
    try {
      if ((await storage.stat(repoName)) === undefined) continue
      if (ours.equals(await readArchived(storage, repoName, cipherPass))) continue
      request.log.warn(
        { repo: key, file: name },
        `timeline history file ${name} on repo${key} is replaced by one with other content` +
          '\nHINT: were two servers promoted to the same timeline? Then both may be archiving into this stanza',
      )
    } catch {
      // Only a warning depends on this; when the repository is broken, storing the file will say so.
      request.signal.throwIfAborted()
    }
  }
}
