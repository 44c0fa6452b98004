import { upgradeStanza, type UpgradedStanza } from '../core/stanza/upgrade.ts'
import type { CommandContext } from './context.ts'
import { stanzaCluster } from './shared/stanza-cluster.ts'
import { repoId } from '../util/repo-id.ts'

export interface StanzaUpgradeReport {
  readonly stanza: string
  readonly repositories: readonly UpgradedStanza[]
}

/** After pg_upgrade, or for a new cluster: make every repository accept its WAL and backups. */
export async function stanzaUpgrade(ctx: CommandContext<'stanza-upgrade'>): Promise<StanzaUpgradeReport> {
  const { stanza, log, signal } = ctx
  await using _lock = await ctx.lock()
  const cluster = await stanzaCluster(ctx)

  const repositories: UpgradedStanza[] = []
  for (const repository of await ctx.repositories()) {
    const { key } = repository
    await using _lease = await ctx.lease(repository)
    log.info({ repo: key }, `stanza-upgrade for stanza '${stanza}' on ${repoId(key)}`)
    const upgraded = await upgradeStanza(repository, stanza, cluster, { signal, log })
    repositories.push(upgraded)
    if (upgraded.changed.length === 0) {
      log.info({ repo: key }, `stanza '${stanza}' on ${repoId(key)} is already up to date`)
    } else {
      log.info(
        { repo: key },
        `stanza '${stanza}' on ${repoId(key)} is now for PostgreSQL ${cluster.version}, WAL is archived to ${upgraded.archiveId}; ` +
          'the next backup will be a full backup',
      )
    }
  }
  return { stanza, repositories }
}
