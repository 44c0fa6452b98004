import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import type { ClusterDescription, ClusterFiles } from './cluster-access.ts'

/** The files of a cluster on this host, from its description. */
export async function openClusterFiles(description: ClusterDescription): Promise<ClusterFiles> {
  if (description.kind === 'remote')
    throw new PgtsError('assert', 'files of another host are read by jobs on that host')
  const { localFiles } = await loadModule(() => import('./local-files.ts'))
  return localFiles(description)
}
