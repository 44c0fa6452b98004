import { archiveDirectory, archiveFileName } from '../../../format/repo-path.ts'
import type { PendingFile } from '../../../storage/driver.ts'
import { bytesToText } from '../../../util/byte-string.ts'
import type { ByteSink } from '../../../util/bytes.ts'
import { PgtsError } from '../../../util/error.ts'
import { loadModule } from '../../../util/load-module.ts'
import type { Logger } from '../../../util/log.ts'
import type { Repository } from '../../repository.ts'
import type { ClusterIdentity } from '../../cluster-identity.ts'
import { baseName, findSegment, type StoredSegment } from '../find.ts'
import type { RepositoryFailures } from '../repository-failures.ts'
import type { WalFile } from '../wal-file.ts'
import { markHandled } from '../../../util/mark-handled.ts'

/** The archive of this cluster in one repository. */
export interface PushTarget {
  readonly repository: Repository
  /** `15-1`: its current one. */
  readonly archiveId: string
  /** Passphrase of the archive; absent: the repository is not encrypted. */
  readonly cipherPass?: string
  readonly identity: ClusterIdentity
}

/** A file that is to be archived. */
export interface FileToStore {
  readonly stanza: string
  /** Name of the WAL file. */
  readonly name: string
  /** Warn if the segment is in the archive already. */
  readonly warnWhenArchived: boolean
  readonly log: Logger
  readonly signal: AbortSignal
}

/** A file that one repository has. */
export interface StoredIn {
  readonly target: PushTarget
  /** Name in the repository, from its root. */
  readonly repoName: string
  /** The repository had the same content, so nothing was written. */
  readonly already: boolean
}

/** What a repository has under the name: the same content, nothing, or it failed (the failure was recorded). */
export type Existing = { readonly repoName: string } | 'none' | 'failed'

/** The stored files of a segment in each repository. All repositories are listed at once. */
export class ArchivedForms implements Disposable {
  readonly #request: FileToStore
  readonly #stop = new AbortController()
  readonly #found: ReadonlyMap<PushTarget, Promise<readonly StoredSegment[]>>

  /** @param targets the repositories to ask now */
  constructor(request: FileToStore, targets: readonly PushTarget[]) {
    this.#request = request
    const either = AbortSignal.any([request.signal, this.#stop.signal])
    const ask = async ({ repository, archiveId }: PushTarget) =>
      findSegment(repository.storage, request.stanza, archiveId, request.name, either)
    this.#found = new Map(targets.map((target) => [target, ask(target)]))
    // Awaited later; a rejection must not count as unhandled.
    for (const found of this.#found.values()) markHandled(found)
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
   * After storing: another writer may have stored other content since the listing. The names differ, so the store cannot
   * prevent that. At least the later one of two writers finds both.
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
  { name }: FileToStore,
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
            `if the archived one is the wrong one, move ${storage.display}/${bytesToText(repoName)} away, and take a new full backup`,
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

export interface StoreRequest {
  readonly stanza: string
  readonly targets: readonly PushTarget[]
  /** Name in the archive, checksum and ending included. */
  readonly storedName: string
  readonly file: WalFile
  readonly signal: AbortSignal
}

/**
 * Encrypt for each repository, and write to all.
 *
 * @returns the repositories that have the file; failures are recorded
 */
export async function storeEverywhere(request: StoreRequest, failures: RepositoryFailures): Promise<PushTarget[]> {
  const { signal, stanza, targets, storedName, file } = request
  const open = new Map<PushTarget, { readonly pending: PendingFile; readonly sink: ClosingSink }>()
  const opened: PendingFile[] = []
  const giveUp = (target: PushTarget, error: unknown): void => {
    signal.throwIfAborted()
    open.delete(target)
    failures.add(target.repository.key, error)
  }
  try {
    await atOnce(targets, async (target) => {
      try {
        const pending = await target.repository.storage.create(archiveFileName(stanza, target.archiveId, storedName), {
          signal,
        })
        opened.push(pending)
        open.set(target, { pending, sink: await sinkOf(target, pending) })
      } catch (error) {
        giveUp(target, error)
      }
    })
    if (open.size === 0) return []
    const write = (chunk: Uint8Array): void | Promise<void> => {
      const waiting: Promise<void>[] = []
      for (const [target, { sink }] of open) {
        try {
          const answer = sink.write(chunk)
          if (answer !== undefined) waiting.push(answer.catch((error: unknown) => giveUp(target, error)))
        } catch (error) {
          giveUp(target, error)
        }
      }
      if (waiting.length > 0) return Promise.all(waiting).then(() => undefined)
    }
    await file.writeTo({ write }, signal)
    await atOnce([...open], async ([target, { pending, sink }]) => {
      try {
        await sink.finish?.()
        await pending.commit()
      } catch (error) {
        giveUp(target, error)
      }
    })
    return [...open.keys()]
  } finally {
    await atOnce(opened, async (pending) => pending[Symbol.asyncDispose]())
  }
}

/** Work on all at once. Throws the first error after all have ended. */
async function atOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const ends = await Promise.allSettled(items.map(work))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** `finish` writes the bytes that a filter has buffered. */
type ClosingSink = ByteSink & { finish?(): void | Promise<void> }

async function sinkOf({ cipherPass }: PushTarget, pending: PendingFile): Promise<ClosingSink> {
  if (cipherPass === undefined) return pending.sink
  const { encryptingSink } = await loadModule(() => import('../../../codec/cipher.ts'))
  return encryptingSink(pending.sink, cipherPass)
}
