import type { AnyResolved } from '../config/resolve.ts'
import type { ClusterAccess } from '../postgres/cluster-access.ts'
import { loadModule } from '../util/load-module.ts'
import type { ClusterRun } from './cluster.ts'

/** The clusters of one command, by their index in `options.pg`. */
export class Clusters implements AsyncDisposable {
  readonly #resolved: AnyResolved
  readonly #run: ClusterRun
  readonly #opened = new Map<number, Promise<ClusterAccess>>()

  constructor(resolved: AnyResolved, run: ClusterRun) {
    this.#resolved = resolved
    this.#run = run
  }

  get(index: number): Promise<ClusterAccess> {
    const opened = this.#opened.get(index) ?? this.#open(index)
    this.#opened.set(index, opened)
    return opened
  }

  async #open(index: number): Promise<ClusterAccess> {
    const { openCluster } = await loadModule(() => import('./cluster.ts'))
    return openCluster(this.#resolved, this.#run, index)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cluster of this.#opened.values()) await (await cluster.catch(() => undefined))?.[Symbol.asyncDispose]()
  }
}
