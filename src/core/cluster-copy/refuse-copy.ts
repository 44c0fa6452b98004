import type { ByteString } from '../../util/byte-string.ts'
import { loadModule } from '../../util/load-module.ts'
import type { CopyCheck } from './copy-mark.ts'
import { hasCopyMark } from './copy-mark-path.ts'

/**
 * Refuses a restored copy in the stanza of the original. Without a mark this costs one system call for each directory.
 *
 * @param pgPaths data directories that the cluster may have
 * @throws PgtsError archive-mismatch
 */
export async function refuseCopyIn(check: CopyCheck, pgPaths: readonly ByteString[]): Promise<void> {
  for (const pgPath of new Set(pgPaths)) {
    if (!hasCopyMark(pgPath)) continue
    const { refuseMarked } = await loadModule(() => import('./marked-copy.ts'))
    await refuseMarked(check, pgPath)
  }
}
