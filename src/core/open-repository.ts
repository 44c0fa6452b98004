import { openStorage } from '../storage/registry.ts'
import { loadModule } from '../util/load-module.ts'
import type { Logger } from '../util/log.ts'
import { repositoryOf, type Repository, type RepositoryDescription } from './repository.ts'

/** @param connections as for `openStorage` */
export async function openRepository(
  description: RepositoryDescription,
  log: Logger,
  connections?: number,
): Promise<Repository> {
  const { storage } = description
  if (storage.kind === 'remote') {
    const { openRemoteRepository } = await loadModule(() => import('./serve/remote-repository.ts'))
    return openRemoteRepository(description, storage.host, log)
  }
  return repositoryOf(description, await openStorage(storage, log, connections))
}
