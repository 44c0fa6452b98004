import { digest } from '../../../codec/digest.ts'
import { archiveFileName } from '../../../format/repo-path.ts'
import { bytesToText, type ByteString } from '../../../util/byte-string.ts'
import { isHostError, isPgtsError, PgtsError, type ErrorCode } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { loadArchiveInfo } from '../../archive-info-store.ts'
import type { Repository } from '../../repository.ts'
import { createDestination, type DestinationOptions } from './destination.ts'
import { DestinationError, fetchCopy, type ArchivedCopy, type CopySource, type ExpectedHeader } from './fetch-copy.ts'
import { baseName, candidateArchiveIds, findSegment, readArchived } from '../find.ts'
import { describeCluster, isSameCluster, type ClusterIdentity } from '../../cluster-identity.ts'
import { describeFailure, RepositoryFailures } from '../repository-failures.ts'
import { walFileKind, type WalFileKind } from '../wal-file.ts'
import { repoId } from '../../../util/repo-id.ts'

export interface GetRequest {
  readonly stanza: string
  /** Name of the wanted file, as restore_command passes it in `%f`. */
  readonly file: ByteString
  /** Absolute path to write to (byte string). */
  readonly destination: ByteString
  /** What pg_control says. */
  readonly identity: ClusterIdentity
  /** In the order in which they are searched. */
  readonly repositories: readonly Repository[]
  readonly log: Logger
  readonly signal: AbortSignal
  /** Called once the file is known to be in the archive, before it is fetched; must not throw. */
  readonly onFound?: () => Promise<void>
  /** How the destination is written. */
  readonly writing?: DestinationOptions
}

export type GetReport =
  | {
      readonly found: true
      readonly file: string
      readonly repoKey: number
      readonly archiveId: string
      readonly repoName: ByteString
      readonly sizeBytes: number
    }
  | { readonly found: false; readonly file: string }

/** A stored form of the wanted file, and where it is. */
interface Alternative extends ArchivedCopy, CopySource {}

/**
 * Fetch one WAL file. Its content has the checksum with which it was archived; if a copy is corrupt, the next one is
 * fetched. The destination is replaced atomically. "Not found" is returned only if every repository was searched and
 * lacks the file: PostgreSQL takes it for the end of the archive.
 *
 * @throws PgtsError archive-duplicate: copies with different content; checksum: every copy is corrupt;
 *   repo-invalid: a repository cannot be read, and the others lack the file; the code of the failure (access, execute):
 *   a copy could not be read, and no other is usable
 */
export async function getWal(request: GetRequest): Promise<GetReport> {
  const kind = walFileKind(request.file)
  const failures = new RepositoryFailures()
  const alternatives = await findAlternatives(request, kind, failures)
  if (alternatives.length === 0) {
    const { length } = request.repositories
    if (failures.count > 0) {
      const summary =
        failures.count === length
          ? 'no repository can be searched for WAL'
          : `${bytesToText(request.file)} is in none of the repositories that can be searched, but not all of them can`
      throw failures.toError('repo-invalid', summary, length, ONLY_ONE_HINT.slice(0, length > 1 ? 1 : 0))
    }
    return { found: false, file: request.file }
  }
  const hashed = kind === 'segment' || kind === 'partial' ? alternatives : await withChecksums(alternatives, request)
  requireSameContent(request.file, hashed)
  await request.onFound?.()

  const open = () => createDestination(request.destination, request.writing)
  const expected = expectedHeader(kind, request.identity)
  const failed: PgtsError[] = []
  for (const alternative of alternatives) {
    try {
      const fetch = () => fetchCopy(alternative, alternative, open, expected, request.signal)
      const sizeBytes = await fetch().catch((error: unknown) => {
        // It was listed just before: a node that has just joined the object store may not have it yet.
        if (!isPgtsError(error, 'file-missing')) throw error
        return fetch()
      })
      const { repoKey, archiveId, repoName } = alternative
      return { found: true, file: request.file, repoKey, archiveId, repoName, sizeBytes }
    } catch (error) {
      request.signal.throwIfAborted()
      if (error instanceof DestinationError) throw error.reason
      request.log.warn({ repo: alternative.repoKey, file: request.file }, describeFailure(alternative.repoKey, error))
      failed.push(error instanceof PgtsError ? error : new PgtsError('file-read', String(error), { cause: error }))
    }
  }
  throw unusable(request.file, alternatives, failed)
}

const ONLY_ONE_HINT = [
  'if a repository is not meant for WAL of this stanza, search only another one: archive-get --repo=N',
]

/** Errors of the content. Other errors (credentials, network, open files) do not mean that a copy is corrupt. */
const CONTENT_ERRORS: ReadonlySet<ErrorCode> = new Set(['archive-mismatch', 'checksum', 'crypto', 'format'])

function unusable(file: string, copies: readonly ArchivedCopy[], failed: readonly PgtsError[]): PgtsError {
  const reasons = failed.map((error, index) => describeFailure(copies[index]?.repoKey ?? 0, error))
  const unread = failed.find(isHostError) ?? failed.find(({ code }) => !CONTENT_ERRORS.has(code))
  if (unread !== undefined) {
    if (failed.length === 1 && isHostError(unread)) return unread
    // It is not known whether that copy is corrupt, so no hint suggests to do without it.
    return new PgtsError(unread.code, `cannot read ${file} from the archive:\n${reasons.join('\n')}`, {
      hints: unread.hints,
      cause: unread,
    })
  }
  const foreign = failed.every(({ code }) => code === 'archive-mismatch')
  const hints = foreign
    ? failed.flatMap((error) => error.hints)
    : [
        'the archived file is corrupt: check the storage of the repository',
        'recovery cannot replay WAL after this segment: copy the file from another copy of the repository, or recover to a target before it',
      ]
  return new PgtsError(
    foreign ? 'archive-mismatch' : 'checksum',
    `no usable copy of ${file} in the archive:\n${reasons.join('\n')}`,
    { hints: [...new Set(hints)], cause: failed[0] },
  )
}

function expectedHeader(kind: WalFileKind, { systemId }: ClusterIdentity): ExpectedHeader | undefined {
  if (kind !== 'segment' && kind !== 'partial') return undefined
  return { systemId, whole: kind === 'segment' }
}

async function findAlternatives(
  request: GetRequest,
  kind: WalFileKind,
  failures: RepositoryFailures,
): Promise<Alternative[]> {
  const { stanza, file, identity, signal } = request
  const alternatives: Alternative[] = []
  const withoutCluster: { readonly key: number; readonly error: PgtsError }[] = []
  for (const repository of request.repositories) {
    const { key, storage } = repository
    try {
      const info = await loadArchiveInfo(repository, stanza, { signal, log: request.log })
      const archiveIds = await candidateArchiveIds(storage, stanza, info, identity, signal)
      if (!info.history.some((entry) => isSameCluster(entry, identity))) {
        withoutCluster.push({ key, error: noArchive(stanza, identity) })
        continue
      }
      const { cipherPass } = info
      for (const archiveId of archiveIds) {
        if (kind === 'segment' || kind === 'partial') {
          const found = await findSegment(storage, stanza, archiveId, file, signal)
          alternatives.push(...found.map((stored) => ({ repoKey: key, storage, archiveId, cipherPass, ...stored })))
        } else {
          const repoName = archiveFileName(stanza, archiveId, file)
          if ((await storage.stat(repoName, { signal })) === undefined) continue
          alternatives.push({ repoKey: key, storage, archiveId, cipherPass, repoName, compressType: 'none' })
        }
      }
    } catch (error) {
      signal.throwIfAborted()
      failures.add(key, error)
      if (request.repositories.length > 1) request.log.warn({ repo: key }, describeFailure(key, error))
    }
  }
  // A repository without WAL of this cluster certainly lacks the file. If no repository has any, the configuration is wrong.
  const isKnown = withoutCluster.length + failures.count < request.repositories.length
  for (const { key, error } of withoutCluster) {
    if (!isKnown) failures.add(key, error)
    if (request.repositories.length > 1) request.log.warn({ repo: key }, describeFailure(key, error))
  }
  return alternatives
}

function noArchive(stanza: string, identity: ClusterIdentity): PgtsError {
  return new PgtsError(
    'archive-mismatch',
    `stanza ${stanza} has no archive of this cluster (${describeCluster(identity)})`,
    { hints: ['check the stanza in restore_command'] },
  )
}

/** History files have no checksum in their names, and are small. If reading one fails, fetching it reports the error. */
async function withChecksums(
  alternatives: readonly Alternative[],
  { signal }: GetRequest,
): Promise<readonly Alternative[]> {
  if (alternatives.length < 2) return alternatives
  return Promise.all(
    alternatives.map(async (alternative) => {
      try {
        const { storage, repoName, cipherPass } = alternative
        const hash = digest('sha1')
        hash.push(await readArchived(storage, repoName, cipherPass, { signal }))
        return { ...alternative, checksum: hash.hex() }
      } catch {
        signal.throwIfAborted()
        return alternative
      }
    }),
  )
}

/** Copies of one file must have the same content: it is not known which one is right. */
function requireSameContent(file: string, alternatives: readonly Alternative[]): void {
  const checksums = new Set(alternatives.flatMap(({ checksum }) => checksum ?? []))
  if (checksums.size < 2) return
  const places = alternatives.map(
    ({ repoKey, archiveId, repoName }) => `${repoId(repoKey)} ${archiveId}/${bytesToText(baseName(repoName))}`,
  )
  throw new PgtsError('archive-duplicate', `${file} is archived with different contents:\n${places.join('\n')}`, {
    hints: [
      'find the second server that archives into this stanza, for example a restored copy of production',
      'find out which file belongs to the history that you restore, and move the others out of the repository',
    ],
  })
}
