import { archiveFileName } from '../../../format/repo-path.ts'
import type { StorageDriver } from '../../../storage/driver.ts'
import { putFile } from '../../../storage/whole-file.ts'
import { bytesToText, type ByteString } from '../../../util/byte-string.ts'
import { isPgtsError, PgtsError } from '../../../util/error.ts'
import { loadModule } from '../../../util/load-module.ts'
import { readArchived } from '../find.ts'
import type { RepositoryFailures } from '../repository-failures.ts'
import type { Existing, FileToStore, PushTarget, StoredIn } from './store-segment.ts'

/**
 * Store a timeline history or backup history file in every repository, never over other content. Every repository is
 * compared before anything is written.
 *
 * @returns the repositories that have the file
 * @throws PgtsError archive-duplicate
 */
export async function storeHistory(
  request: FileToStore,
  targets: readonly PushTarget[],
  content: Buffer,
  failures: RepositoryFailures,
): Promise<StoredIn[]> {
  const stored: StoredIn[] = []
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
    // Read again: not every store can create a file only if the name is free. Of two writers at least the one whose
    // content was replaced, or that wrote last, finds other content.
    const after = await sameHistory(request, target, content, failures)
    if (typeof after === 'object') stored.push({ target, repoName, already: false })
  }
  return stored
}

/** Does not replace the file of another writer, if the store supports that. */
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

/**
 * Does the repository have a history file with this content? An archived file must never be replaced by other content:
 * two servers that were promoted to one timeline both archive `00000002.history`.
 *
 * @throws PgtsError archive-duplicate
 */
async function sameHistory(
  request: FileToStore,
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
  repoName: ByteString,
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
      `if the archived file is the wrong one, move ${place} away`,
    ],
  })
}
