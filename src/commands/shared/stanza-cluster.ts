import { checkServer, type ArchiveCheckPolicy } from '../../core/stanza/check-config.ts'
import { readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import { requireBackupSupport } from '../../postgres/versions.ts'
import type { CommandContext } from '../context.ts'
import { primaryOf } from './primary.ts'

/**
 * Identity of the stanza's cluster: of the primary, or without `online` of pg1. A running server must have the identity of
 * its files.
 *
 * @throws PgtsError option-required, db-mismatch, db-connect
 */
export async function stanzaCluster(
  ctx: CommandContext<'stanza-create'> | CommandContext<'stanza-upgrade'>,
): Promise<ControlFile> {
  const { options, signal } = ctx
  if (!options.online) {
    const { files, pgPath } = await ctx.cluster()
    const control = await readControlFile(files, pgPath, { signal })
    requireBackupSupport(control.postgres)
    return control
  }
  await using primary = await primaryOf(ctx)
  const { cluster, control, server } = primary
  requireBackupSupport(control.postgres)
  checkServer(server.facts, { pgPath: cluster.pgPath, version: control.version }, NO_ARCHIVING_YET)
  return control
}

/** archive_command cannot work before stanza-create, so only `check` and `backup` require it. */
const NO_ARCHIVING_YET: ArchiveCheckPolicy = { archive: false, archiveMode: false }
