import type { HostDescription } from '../../remote/host.ts'
import { openRemoteStorage } from '../../storage/remote/open.ts'
import type { Logger } from '../../util/log.ts'
import { repositoryOf, type Repository, type RepositoryDescription } from '../repository.ts'
import { repoId } from '../../util/repo-id.ts'
import { cipherVerb } from './cipher-verb.ts'

/** Opens a repository through a process on its host, which also knows its passphrase if this host does not. */
export async function openRemoteRepository(
  description: RepositoryDescription,
  host: HostDescription,
  log: Logger,
): Promise<Repository> {
  const storage = await openRemoteStorage(host, log)
  const { connection } = storage
  try {
    const cipher = description.cipher ?? (await cipherOf(description.key, storage))
    return repositoryOf({ key: description.key, cipher }, storage, { name: host.host, connection })
  } catch (error) {
    await storage[Symbol.asyncDispose]()
    throw error
  }

  async function cipherOf(key: number, { connection }: typeof storage): Promise<RepositoryDescription['cipher']> {
    const { cipher } = await connection.call(cipherVerb, {})
    return cipher === null ? undefined : { ...cipher, origin: `${repoId(key)}-cipher-pass (from host ${host.host})` }
  }
}
