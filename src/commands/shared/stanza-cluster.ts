import { checkServer, type ArchiveCheckPolicy } from '../../core/stanza/check-config.ts'
import { readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import { requireBackupSupport } from '../../postgres/versions.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'

/**
 * Identity of the stanza's cluster from the files of pg1; a running server must have the same identity.
 *
 * @throws PgtsError option-required, db-mismatch, db-connect
 */
export async function stanzaCluster(
  ctx: CommandContext<'stanza-create'> | CommandContext<'stanza-upgrade'>,
): Promise<ControlFile> {
  const { command, options, signal } = ctx
  const cluster = await ctx.cluster()
  const { files, pgPath } = cluster
  const control = await readControlFile(files, pgPath, { signal })
  requireBackupSupport(control.postgres)
  if (options.online) {
    await using server = await cluster.connect()
    checkServer(server.facts, { pgPath, version: control.version }, NO_ARCHIVING_YET)
    if (server.facts.inRecovery) {
      throw new PgtsError('db-connect', `the server of pg1 is a standby, but ${command} requires the primary`, {
        hints: [`run ${command} on the host of the primary, or use --no-online`],
      })
    }
  }
  return control
}

/** archive_command cannot work before stanza-create, so only `check` and `backup` require it. */
const NO_ARCHIVING_YET: ArchiveCheckPolicy = { archive: false, archiveMode: false }
