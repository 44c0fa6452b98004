import { loadModule } from '../util/load-module.ts'
import type { ClusterDescription, ClusterFiles } from './cluster-access.ts'

/** The files of a cluster from their description; the only list of the kinds of access. */
export async function openClusterFiles(description: ClusterDescription): Promise<ClusterFiles> {
  switch (description.kind) {
    case 'local': {
      const { localFiles } = await loadModule(() => import('./local-files.ts'))
      return localFiles()
    }
  }
}
