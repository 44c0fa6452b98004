import { createStanza, type CreatedStanza } from '../core/stanza/create.ts'
import type { CommandContext } from './context.ts'
import { stanzaCluster } from './stanza-cluster.ts'

export interface StanzaCreateReport {
  readonly stanza: string
  readonly repositories: readonly CreatedStanza[]
}

/** Prepare every repository for this stanza. Run again it checks, and prepares repositories that were added. */
export async function stanzaCreate(ctx: CommandContext<'stanza-create'>): Promise<StanzaCreateReport> {
  const { options, stanza, log, signal } = ctx
  await using _lock = await ctx.lock()
  if (options.force) log.warn('stanza-create does not need --force: what is there is never overwritten')

  const cluster = await stanzaCluster(ctx)

  const repositories: CreatedStanza[] = []
  for (const repository of await ctx.repositories()) {
    const { key, storage } = repository
    await using _lease = await ctx.lease(repository)
    log.info({ repo: key }, `stanza-create for stanza '${stanza}' on repo${key}`)
    const created = await createStanza(repository, stanza, cluster, { signal, log })
    repositories.push(created)
    if (created.state === 'valid')
      log.info({ repo: key }, `stanza '${stanza}' already exists on repo${key} and is valid`)
    if (created.state === 'created' && ctx.dialect === 'yaml') log.info({ repo: key }, OLDEST_READER)
    for (const name of created.repaired)
      log.warn(
        { repo: key },
        `${storage.display}/${name} was written again: it, or its copy, was missing, damaged or out of date`,
      )
  }
  return { stanza, repositories }
}

/** pgts's own defaults store changed blocks, which a pgbackrest that knows nothing of them cannot read. */
const OLDEST_READER =
  'backups store changed blocks only, unless the repository has `block: false`; of pgbackrest, 2.46 and later read them'
