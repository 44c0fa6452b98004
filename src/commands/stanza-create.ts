import { createStanza, type CreatedStanza } from '../core/stanza/create.ts'
import type { CommandContext } from './context.ts'
import { stanzaCluster } from './shared/stanza-cluster.ts'
import { repoId } from '../util/repo-id.ts'

export interface StanzaCreateReport {
  readonly stanza: string
  readonly repositories: readonly CreatedStanza[]
}

/** Prepare every repository for this stanza. A second run checks them and prepares added repositories. */
export async function stanzaCreate(ctx: CommandContext<'stanza-create'>): Promise<StanzaCreateReport> {
  const { options, stanza, log, signal } = ctx
  await using _lock = await ctx.lock()
  if (options.force) log.warn('option --force has no effect for stanza-create: existing files are never overwritten')

  const cluster = await stanzaCluster(ctx)

  const repositories: CreatedStanza[] = []
  for (const repository of await ctx.repositories()) {
    const { key, storage } = repository
    await using _lease = await ctx.lease(repository)
    log.info({ repo: key }, `stanza-create for stanza '${stanza}' on ${repoId(key)}`)
    const created = await createStanza(repository, stanza, cluster, { signal, log })
    repositories.push(created)
    if (created.state === 'valid')
      log.info({ repo: key }, `stanza '${stanza}' already exists on ${repoId(key)} and is valid`)
    if (created.state === 'created' && ctx.dialect === 'yaml') log.info({ repo: key }, OLDEST_READER)
    for (const name of created.repaired)
      log.warn(
        { repo: key },
        `${storage.display}/${name} was rewritten: the file or its copy was missing, damaged or out of date`,
      )
  }
  return { stanza, repositories }
}

/** By default pgts stores changed blocks, which older versions of pgbackrest cannot read. */
const OLDEST_READER =
  'backups store changed blocks only, unless the repository has `block: false`; of pgbackrest, 2.46 and later read them'
