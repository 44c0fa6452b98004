import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, startCluster } from '../../test/support/postgres/postgres.ts'
import { load, loadSmall } from './programs.ts'
import type { Settings } from './settings.ts'

/** `large` has the rows, `small` thousands of small tables, `empty` nothing. */
export type ClusterName = 'large' | 'small' | 'empty'

/** The clusters that are backed up, each started by the first job that uses it. */
export class Clusters implements AsyncDisposable {
  readonly #settings: Settings
  readonly #started = new Map<ClusterName, Promise<Cluster>>()

  constructor(settings: Settings) {
    this.#settings = settings
  }

  get(name: ClusterName): Promise<Cluster> {
    let cluster = this.#started.get(name)
    if (cluster === undefined) this.#started.set(name, (cluster = this.#start(name)))
    return cluster
  }

  async #start(name: ClusterName): Promise<Cluster> {
    const cluster = await startCluster({
      version: 15,
      conf: {
        archive_mode: 'on',
        // Fails on purpose, so that the segments stay in pg_wal for both programs.
        archive_command: 'false',
        max_wal_size: '4GB',
        max_locks_per_transaction: '1000',
      },
    })
    try {
      if (name === 'large') await load(cluster, this.#settings.sizeMiB)
      if (name === 'small') await loadSmall(cluster, this.#settings.tables)
    } catch (error) {
      await cluster[Symbol.asyncDispose]()
      throw error
    }
    return cluster
  }

  /** Finished segments in pg_wal, absolute paths: archive-push refuses the one that the server still writes to. */
  async finishedWal(name: ClusterName): Promise<string[]> {
    const cluster = await this.get(name)
    const current = String((await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as name'))[0]?.['name'])
    return readdirSync(join(cluster.dataDir, 'pg_wal'))
      .filter((file) => /^[0-9A-F]{24}$/.test(file) && file < current)
      .sort()
      .map((file) => join(cluster.dataDir, 'pg_wal', file))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cluster of await Promise.allSettled(this.#started.values()))
      if (cluster.status === 'fulfilled') await cluster.value[Symbol.asyncDispose]()
  }
}
