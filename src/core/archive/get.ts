import { decryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import type { Stage } from '../../codec/stage.ts'
import { archiveFileName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import type { CompressType } from '../../util/compress-type.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { loadArchiveInfo } from '../info-store.ts'
import { createDestination } from './destination.ts'
import {
  baseName,
  candidateArchiveIds,
  describeCluster,
  findSegment,
  isSameCluster,
  type ArchiveRepository,
  type ClusterIdentity,
} from './find.ts'
import { describeFailure, RepositoryFailures } from './repository-failures.ts'
import { walFileKind, type WalFileKind } from './wal-file.ts'

export interface GetRequest {
  readonly stanza: string
  /** Name of the wanted file, as restore_command passes it in `%f`. */
  readonly file: string
  /** Absolute path to write to (byte string). */
  readonly destination: string
  /** What pg_control says. */
  readonly identity: ClusterIdentity
  /** In the order in which they are asked. */
  readonly repositories: readonly ArchiveRepository[]
  readonly log: Logger
  readonly signal: AbortSignal
}

export type GetReport =
  | {
      readonly found: true
      readonly file: string
      readonly repoKey: number
      readonly archiveId: string
      readonly repoName: string
      readonly sizeBytes: number
    }
  | { readonly found: false; readonly file: string }

/** A stored form of the wanted file. */
interface Alternative {
  readonly repoKey: number
  readonly storage: StorageDriver
  readonly archiveId: string
  readonly repoName: string
  readonly compressType: CompressType
  /** Passphrase of the archive; absent: the repository is not encrypted. */
  readonly cipherPass?: string | undefined
  /** Of the plain content; absent for files that are stored without one. */
  readonly checksum?: string
}

/**
 * Bring one WAL file back. What is handed over has the checksum that it was archived with; a damaged copy is passed
 * over for the next one, and the destination is replaced whole or not at all.
 *
 * @throws PgtsError archive-duplicate: copies with different content; checksum: every copy is damaged;
 *   repo-invalid: no repository can be read
 */
export async function getWal(request: GetRequest): Promise<GetReport> {
  const kind = walFileKind(request.file)
  const failures = new RepositoryFailures()
  const alternatives = await findAlternatives(request, kind, failures)
  if (alternatives.length === 0) {
    if (failures.count === request.repositories.length) {
      throw failures.toError('repo-invalid', 'no repository can be searched for WAL', request.repositories.length)
    }
    return { found: false, file: request.file }
  }
  requireSameContent(request.file, alternatives)

  const damages: PgtsError[] = []
  for (const alternative of alternatives) {
    try {
      const sizeBytes = await handOver(request, kind, alternative)
      const { repoKey, archiveId, repoName } = alternative
      return { found: true, file: request.file, repoKey, archiveId, repoName, sizeBytes }
    } catch (error) {
      request.signal.throwIfAborted()
      if (error instanceof DestinationError) throw error.reason
      request.log.warn({ repo: alternative.repoKey, file: request.file }, describeFailure(alternative.repoKey, error))
      damages.push(error instanceof PgtsError ? error : new PgtsError('file-read', String(error), { cause: error }))
    }
  }
  const reasons = damages.map((error, index) => describeFailure(alternatives[index]?.repoKey ?? 0, error))
  throw new PgtsError('checksum', `no usable copy of ${request.file} in the archive:\n${reasons.join('\n')}`, {
    hints: [
      'the archived file is damaged: check the storage below the repository',
      'recovery cannot go on past this segment: bring the file back from another copy of the repository, or recover to a target before it',
    ],
    cause: damages[0],
  })
}

async function findAlternatives(
  request: GetRequest,
  kind: WalFileKind,
  failures: RepositoryFailures,
): Promise<Alternative[]> {
  const { stanza, file, identity, signal } = request
  const alternatives: Alternative[] = []
  for (const repository of request.repositories) {
    const { key, storage } = repository
    try {
      const info = await loadArchiveInfo(repository, stanza, { signal, log: request.log })
      const archiveIds = await candidateArchiveIds(storage, stanza, info, identity, signal)
      if (!info.history.some((entry) => isSameCluster(entry, identity))) {
        throw new PgtsError(
          'archive-mismatch',
          `stanza ${stanza} has no archive of this cluster (${describeCluster(identity)})`,
          { hints: ['is restore_command pointing to the right stanza?'] },
        )
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
  return alternatives
}

/** Copies of one segment must agree: nobody can say which history is the right one. */
function requireSameContent(file: string, alternatives: readonly Alternative[]): void {
  const checksums = new Set(alternatives.map((alternative) => alternative.checksum))
  if (checksums.size < 2) return
  const places = alternatives.map(
    ({ repoKey, archiveId, repoName }) => `repo${repoKey} ${archiveId}/${baseName(repoName)}`,
  )
  throw new PgtsError('archive-duplicate', `${file} is archived with different contents:\n${places.join('\n')}`, {
    hints: [
      'did two servers archive into this stanza, for example a restored copy beside production?',
      'find out which of them belongs to the history that you restore and move the others out of the repository',
    ],
  })
}

/** The destination's own trouble (a full disk) is not the copy's: it ends the search instead of moving on. */
class DestinationError extends Error {
  constructor(readonly reason: unknown) {
    super('the destination failed')
  }
}

async function handOver(request: GetRequest, kind: WalFileKind, copy: Alternative): Promise<number> {
  const { decompressor, loadCodec } = await import('../../codec/registry.ts')
  await loadCodec(copy.compressType)
  const source = await copy.storage.read(copy.repoName, { signal: request.signal })
  const plain = digest('sha1')
  const head = new HeadTap()
  const stages: Stage[] = copy.cipherPass === undefined ? [] : [decryptor(copy.cipherPass)]
  if (copy.compressType !== 'none') stages.push(decompressor(copy.compressType))
  await using target = await createDestination(request.destination).catch(async (error: unknown) => {
    await source[Symbol.asyncDispose]()
    throw new DestinationError(error)
  })
  const write = (chunk: Uint8Array): void | Promise<void> =>
    target.sink.write(chunk)?.catch((error: unknown) => {
      throw new DestinationError(error)
    })
  await pump(source, [...stages, head, plain], { write }, request.signal)
  if (copy.checksum !== undefined && plain.hex() !== copy.checksum) {
    throw new PgtsError('checksum', `${copy.repoName} has SHA-1 ${plain.hex()} where its name says ${copy.checksum}`)
  }
  if (kind === 'segment') await requireHeaderSize(copy.repoName, head.bytes, plain.bytes)
  await target.commit().catch((error: unknown) => {
    throw new DestinationError(error)
  })
  return plain.bytes
}

/** A segment that was cut before it was archived has the right checksum and is useless all the same. */
async function requireHeaderSize(repoName: string, head: Buffer, sizeBytes: number): Promise<void> {
  const { parseWalHeader } = await import('../../postgres/wal-header.ts')
  let segmentSize: number
  try {
    segmentSize = parseWalHeader(head).segmentSize
  } catch {
    // A server this program does not know (archived with archive-header-check off): PostgreSQL judges it.
    return
  }
  if (sizeBytes === segmentSize) return
  throw new PgtsError('checksum', `${repoName} holds ${sizeBytes} bytes where its header says ${segmentSize}`)
}

/** Lets bytes through and keeps the first ones. */
class HeadTap implements Stage {
  bytes = Buffer.alloc(0)

  push(chunk: Uint8Array): Uint8Array[] {
    const missing = HEAD_BYTES - this.bytes.length
    if (missing > 0) this.bytes = Buffer.concat([this.bytes, chunk.subarray(0, missing)])
    return [chunk]
  }

  finish(): Uint8Array[] {
    return []
  }
}

const HEAD_BYTES = 512
