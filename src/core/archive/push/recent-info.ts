import type { ArchiveInfo } from '../../../format/archive-info.ts'
import { loadArchiveInfo, type LoadOptions } from '../../info-store.ts'
import type { Repository } from '../../repository.ts'

/** Shorter than a stanza can be deleted and created again, long enough that a storm of segments does not ask for each. */
const AGE_MS = 2000

interface Recent {
  readonly readMs: number
  readonly info: ArchiveInfo
}

/** By repository of a worker, then by stanza. */
const recent = new WeakMap<Repository, Map<string, Recent>>()

/**
 * archive.info of the repositories of a worker. In an object store reading it takes a round trip, so it is read again
 * only after a while. It is read for each file if it contains the key of the archive, and in a directory, where it
 * proves that the file system of the repository is mounted.
 */
export function recentArchiveInfo(repositories: ReadonlyMap<number, Repository>, stanza: string, nowMs: number) {
  return {
    /** @param repository as the job uses it: a wrapper of the one of the worker */
    async of(repository: Repository, options: LoadOptions): Promise<ArchiveInfo> {
      const opened = repositories.get(repository.key)!
      const known = recent.get(opened) ?? new Map<string, Recent>()
      recent.set(opened, known)
      const found = known.get(stanza)
      if (found !== undefined && nowMs >= found.readMs && nowMs - found.readMs < AGE_MS) return found.info
      known.delete(stanza)
      const info = await loadArchiveInfo(repository, stanza, options)
      const isDirectory = opened.storage.parallel === undefined
      if (info.cipherPass === undefined && !isDirectory) known.set(stanza, { readMs: nowMs, info })
      return info
    },
    /** After a failure nothing is reused. */
    forget: () => {
      for (const repository of repositories.values()) recent.delete(repository)
    },
  }
}
