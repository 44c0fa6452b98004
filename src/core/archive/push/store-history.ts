import { archiveFileName } from '../../../format/repo-path.ts'
import { putFile } from '../../../storage/whole-file.ts'
import { isPgtsError } from '../../../util/error.ts'
import { loadModule } from '../../../util/load-module.ts'
import { sameHistory, type ExistingRequest } from './existing.ts'
import type { RepositoryFailures } from '../repository-failures.ts'
import type { PushTarget } from './store.ts'

/** A history file in one repository. */
export interface StoredHistory {
  readonly target: PushTarget
  readonly repoName: string
  /** The repository had the same content. */
  readonly already: boolean
}

/**
 * Store a timeline history or backup history file in every repository, never over other content. Every repository is
 * compared before anything is written.
 *
 * @returns the repositories that have the file
 * @throws PgtsError archive-duplicate
 */
export async function storeHistory(
  request: ExistingRequest,
  targets: readonly PushTarget[],
  content: Buffer,
  failures: RepositoryFailures,
): Promise<StoredHistory[]> {
  const stored: StoredHistory[] = []
  const missing: PushTarget[] = []
  for (const target of targets) {
    const existing = await sameHistory(request, target, content, failures)
    if (existing === 'none') missing.push(target)
    else if (existing !== 'failed') stored.push({ target, repoName: existing.repoName, already: true })
  }
  for (const target of missing) {
    const repoName = archiveFileName(request.stanza, target.archiveId, request.name)
    try {
      await create(target, repoName, content, request.signal)
    } catch (error) {
      request.signal.throwIfAborted()
      failures.add(target.repository.key, error)
      continue
    }
    // Read again: not every store can create a file only if none has the name. Of two writers at least the one whose
    // content was replaced, or that came second, sees the other content.
    const after = await sameHistory(request, target, content, failures)
    if (typeof after === 'object') stored.push({ target, repoName, already: false })
  }
  return stored
}

/** Does not replace the file of another writer, where the store supports that. */
async function create(target: PushTarget, repoName: string, content: Buffer, signal: AbortSignal): Promise<void> {
  const { cipherPass } = target
  const { storage } = target.repository
  let bytes = content
  if (cipherPass !== undefined) {
    const { encrypt } = await loadModule(() => import('../../../codec/cipher.ts'))
    bytes = encrypt(content, cipherPass)
  }
  if (storage.createIfAbsent !== undefined) {
    try {
      await storage.createIfAbsent(repoName, bytes, { signal })
      return
    } catch (error) {
      if (!isPgtsError(error, 'feature-not-supported')) throw error
    }
  }
  await putFile(storage, repoName, bytes, { signal })
}
