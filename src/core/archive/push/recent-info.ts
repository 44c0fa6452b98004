import type { ArchiveInfo } from '../../../format/archive-info.ts'
import { loadArchiveInfo, type LoadOptions } from '../../info-store.ts'
import type { WorkerEnv } from '../../worker-env.ts'
import type { ArchiveRepository } from '../find.ts'

/** Shorter than a stanza can be deleted and created anew, long enough that a storm of segments does not ask for each. */
const AGE_MS = 2000

interface Recent {
  readonly readMs: number
  readonly info: ArchiveInfo
}

const recent = new WeakMap<WorkerEnv, Map<string, Recent>>()

/**
 * archive.info of the repositories of a worker. An object store takes a round trip to tell it, so that it is read again
 * there only when it was read a while ago. It is read for each file where it carries the key of the archive, and in a
 * directory, where it proves that the file system of the repository is mounted.
 */
export function recentArchiveInfo(env: WorkerEnv, stanza: string, nowMs: number) {
  const known = recent.get(env) ?? new Map<string, Recent>()
  recent.set(env, known)
  return {
    async of(repository: ArchiveRepository, isDirectory: boolean, options: LoadOptions): Promise<ArchiveInfo> {
      const name = `${repository.key} ${stanza}`
      const found = known.get(name)
      if (found !== undefined && nowMs >= found.readMs && nowMs - found.readMs < AGE_MS) return found.info
      known.delete(name)
      const info = await loadArchiveInfo(repository, stanza, options)
      if (info.cipherPass === undefined && !isDirectory) known.set(name, { readMs: nowMs, info })
      return info
    },
    /** Something went wrong: nothing of it is believed any more. */
    forget: () => known.clear(),
  }
}
