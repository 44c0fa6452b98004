import { checkServer } from '../core/stanza/check-config.ts'
import { createStanza, type CreatedStanza } from '../core/stanza/create.ts'
import { readControlFile } from '../postgres/control-file.ts'
import { requireBackupSupport } from '../postgres/versions.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { connectCluster } from './connect.ts'
import type { CommandContext } from './context.ts'

export interface StanzaCreateReport {
  readonly stanza: string
  readonly repositories: readonly CreatedStanza[]
}

/** Prepare every repository for this stanza. Run again it checks, and prepares repositories that were added. */
export async function stanzaCreate(ctx: CommandContext<'stanza-create'>): Promise<StanzaCreateReport> {
  const { options, stanza, log, signal } = ctx
  await using _lock = await ctx.lock(['archive', 'backup', 'restore'])
  if (options.force) log.warn('stanza-create does not need --force: what is there is never overwritten')

  // Which cluster? Its files say so; a running server must agree that they are its own.
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined) throw new PgtsError('option-required', 'stanza-create needs pg1-path')
  const control = await readControlFile(await ctx.cluster(), textToBytes(pgPath), { signal })
  requireBackupSupport(control.postgres)
  if (options.online) {
    await using server = await connectCluster(ctx)
    checkServer(server.facts, { pgPath: textToBytes(pgPath), version: control.version }, NO_ARCHIVING_YET)
    if (server.facts.inRecovery) {
      throw new PgtsError('db-connect', 'the server of pg1 is a standby, and stanza-create needs the primary', {
        hints: ['run stanza-create where the primary runs, or use --no-online'],
      })
    }
  }

  const repositories: CreatedStanza[] = []
  for (const repository of await ctx.repositories()) {
    const { key, storage } = repository
    log.info({ repo: key }, `stanza-create for stanza '${stanza}' on repo${key}`)
    const created = await createStanza(repository, stanza, control, { signal, log })
    repositories.push(created)
    if (created.state === 'valid')
      log.info({ repo: key }, `stanza '${stanza}' already exists on repo${key} and is valid`)
    if (created.state === 'created' && ctx.dialect === 'yaml') log.info({ repo: key }, OLDEST_READER)
    for (const name of created.repaired)
      log.warn({ repo: key }, `${storage.display}/${name} was missing and was written again from its copy`)
  }
  return { stanza, repositories }
}

/** pgts's own defaults store changed blocks, which a pgbackrest that knows nothing of them cannot read. */
const OLDEST_READER =
  'backups store changed blocks only, unless the repository has `block: false`; of pgbackrest, 2.46 and later read them'

/** archive_command cannot work before the stanza exists, so only `check` and `backup` insist on it. */
const NO_ARCHIVING_YET = { archive: false, archiveMode: false }
