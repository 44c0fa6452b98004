import { archiveDirectory, archiveFileName } from '../../../format/repo-path.ts'
import type { StorageDriver } from '../../../storage/driver.ts'
import { bytesToText } from '../../../util/byte-string.ts'
import { isPgtsError, PgtsError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { baseName, findSegment, readArchived, type StoredSegment } from '../find.ts'
import type { RepositoryFailures } from '../repository-failures.ts'
import type { PushTarget } from './store.ts'

/** A file that is to be archived. */
export interface ExistingRequest {
  readonly stanza: string
  /** Name of the WAL file. */
  readonly name: string
  /** Warn if the segment is in the archive already. */
  readonly warnWhenArchived: boolean
  readonly log: Logger
  readonly signal: AbortSignal
}

/** What a repository has under the name: the same content, nothing, or it failed (the failure was recorded). */
export type Existing = { readonly repoName: string } | 'none' | 'failed'

/** The stored files of a segment in each repository; all repositories are listed at once. */
export class ArchivedForms implements Disposable {
  readonly #request: ExistingRequest
  readonly #stop = new AbortController()
  readonly #found: ReadonlyMap<PushTarget, Promise<readonly StoredSegment[]>>

  /** @param targets the repositories to ask now */
  constructor(request: ExistingRequest, targets: readonly PushTarget[]) {
    this.#request = request
    const either = AbortSignal.any([request.signal, this.#stop.signal])
    const ask = async ({ repository, archiveId }: PushTarget) =>
      findSegment(repository.storage, request.stanza, archiveId, request.name, either)
    this.#found = new Map(targets.map((target) => [target, ask(target)]))
    // Awaited later: avoids an unhandled rejection.
    for (const found of this.#found.values()) found.catch(() => undefined)
  }

  async #in(target: PushTarget): Promise<readonly StoredSegment[]> {
    return (await this.#found.get(target)) ?? []
  }

  /**
   * Before storing: does the repository have the same content?
   *
   * @throws PgtsError archive-duplicate: other content has the name
   */
  async same(target: PushTarget, checksum: string, failures: RepositoryFailures): Promise<Existing> {
    const { archiveId } = target
    const { key, display, storage } = target.repository
    const { name, stanza, signal, log } = this.#request
    let found
    try {
      found = await this.#in(target)
      // A push that was killed after its rename may not have synced the directory.
      if (found.length === 1) await storage.sync(archiveDirectory(stanza, archiveId, name), { signal })
    } catch (error) {
      signal.throwIfAborted()
      failures.add(key, error)
      return 'failed'
    }
    const [first] = found
    if (first === undefined) return 'none'
    if (found.some((form) => form.checksum !== checksum)) throw otherSegment(this.#request, target, found, checksum)
    if (found.length > 1) {
      failures.add(key, severalTimes(name, found))
      return 'failed'
    }
    if (this.#request.warnWhenArchived) {
      log.warn(
        { repo: key, file: name },
        `WAL segment ${name} is in the archive of ${display} already with the same checksum` +
          '\nHINT: this is normal after a crash or an interrupted archive_command, otherwise it may point to a problem',
      )
    }
    return { repoName: first.repoName }
  }

  /**
   * After storing: another writer may have stored other content since the listing. The names differ, so no condition of
   * the store prevents that. At least the later one of two writers sees both.
   *
   * @returns false: the repository failed, and the failure was recorded
   * @throws PgtsError archive-duplicate; nothing is removed, because the right content is unknown
   */
  async isOnly(target: PushTarget, checksum: string, failures: RepositoryFailures): Promise<boolean> {
    let found
    try {
      found = await this.#in(target)
    } catch (error) {
      this.#request.signal.throwIfAborted()
      failures.add(target.repository.key, error)
      return false
    }
    if (found.some((form) => form.checksum !== checksum)) throw otherSegment(this.#request, target, found, checksum)
    return true
  }

  /** Cancels the listings: the file was refused. */
  [Symbol.dispose](): void {
    this.#stop.abort()
  }
}

const TWO_SERVERS = [
  'this usually means that two servers archive into this stanza: a restored or promoted copy that still has the archive_command of production',
  'find the copy and set its archive_mode to off, or give it a stanza of its own; nothing in the archive was removed or replaced',
]

function otherSegment(
  { name }: ExistingRequest,
  { repository: { display, storage } }: PushTarget,
  found: readonly StoredSegment[],
  checksum: string,
): PgtsError {
  const others = found.filter((form) => form.checksum !== checksum)
  const there = others.map((form) => form.checksum).join(', ')
  const both = others.length < found.length ? '; both are stored' : ''
  return new PgtsError(
    'archive-duplicate',
    `WAL segment ${name} is in the archive of ${display} already with other content: SHA-1 there ${there}, here ${checksum}${both}`,
    {
      hints: [
        ...TWO_SERVERS,
        ...others.map(
          ({ repoName }) =>
            `when the archived one is the wrong one, move ${storage.display}/${bytesToText(repoName)} away, and take a new full backup`,
        ),
      ],
    },
  )
}

function severalTimes(name: string, found: readonly StoredSegment[]): PgtsError {
  const names = found.map(({ repoName }) => bytesToText(baseName(repoName))).join(', ')
  return new PgtsError('command', `WAL segment ${name} is in the archive ${found.length} times: ${names}`, {
    hints: ['keep one of the files and remove the others from the repository by hand: their content is the same'],
  })
}

/**
 * Does the repository have a history file with this content? An archived file must never be replaced by other content:
 * two servers that were promoted to one timeline both archive `00000002.history`.
 *
 * @throws PgtsError archive-duplicate
 */
export async function sameHistory(
  request: ExistingRequest,
  target: PushTarget,
  content: Buffer,
  failures: RepositoryFailures,
): Promise<Existing> {
  const { stanza, name, signal } = request
  const { archiveId } = target
  const { key, display, storage } = target.repository
  const repoName = archiveFileName(stanza, archiveId, name)
  let stored: Buffer | undefined
  try {
    stored = await contentOf(storage, repoName, target.cipherPass, signal)
    if (stored !== undefined) await storage.sync(repoName.slice(0, repoName.lastIndexOf('/')), { signal })
  } catch (error) {
    signal.throwIfAborted()
    failures.add(key, error)
    return 'failed'
  }
  if (stored === undefined) return 'none'
  if (!stored.equals(content)) throw otherHistory(name, `${storage.display}/${bytesToText(repoName)}`, display)
  return { repoName }
}

async function contentOf(
  storage: StorageDriver,
  repoName: string,
  cipherPass: string | undefined,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  if ((await storage.stat(repoName, { signal })) === undefined) return undefined
  try {
    return await readArchived(storage, repoName, cipherPass, { signal })
  } catch (error) {
    if (isPgtsError(error, 'file-missing')) return undefined
    throw error
  }
}

function otherHistory(name: string, place: string, display: string): PgtsError {
  return new PgtsError('archive-duplicate', `${name} is in the archive of ${display} already with other content`, {
    hints: [
      'two servers were promoted to the same timeline, or a copy archives into this stanza: find the other server',
      'give one of them a stanza of its own; nothing in the archive was removed or replaced',
      `when the archived one is the wrong one, move ${place} away`,
    ],
  })
}
