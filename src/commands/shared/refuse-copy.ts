import { refuseCopyIn } from '../../core/cluster-copy/refuse-copy.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { loadModule } from '../../util/load-module.ts'
import type { CommandContext } from '../context.ts'

/**
 * Refuses to archive from a restored copy into the stanza of the original.
 *
 * @param pgPaths data directories that the cluster may have
 * @throws PgtsError archive-mismatch
 */
export function refuseCopy(ctx: CommandContext<'archive-push'>, pgPaths: readonly ByteString[]): Promise<void> {
  const { command, stanza, env, log, signal, options } = ctx
  const places = async () => {
    const { repositoryPlaces } = await loadModule(() => import('./repository-place.ts'))
    return repositoryPlaces(options.repo)
  }
  return refuseCopyIn({ command, stanza, env, log, signal, places }, pgPaths)
}
