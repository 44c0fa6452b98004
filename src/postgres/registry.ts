import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { yieldToEventLoop } from '../util/yield-to-event-loop.ts'
import type { ClusterDescription, ClusterFiles, ClusterFileSource } from './cluster-access.ts'

/** The files of a cluster on this host, from its description. */
export async function openClusterFiles(description: ClusterDescription): Promise<ClusterFiles> {
  if (description.kind === 'remote')
    throw new PgtsError('assert', 'files of another host are read by jobs on that host')
  const { localFiles } = await loadModule(() => import('./local-files.ts'))
  const files = localFiles(description)
  return description.yields === true ? yielding(files) : files
}

function yielding(files: ClusterFiles): ClusterFiles {
  return {
    display: files.display,
    versionForce: files.versionForce,
    list: (path) => files.list(path),
    stat: (path, options) => files.stat(path, options),
    async open(path, options) {
      const source = await files.open(path, options)
      return source === undefined ? undefined : yieldingSource(source)
    },
    [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
  }
}

function yieldingSource(source: ClusterFileSource): ClusterFileSource {
  return {
    next: () => {
      const waiting = yieldToEventLoop()
      return waiting === undefined ? source.next() : waiting.then(() => source.next())
    },
    reread: (offset, length) => source.reread(offset, length),
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}
