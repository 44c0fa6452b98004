import { checkServer, type ArchiveCheckPolicy } from '../../core/stanza/check-config.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import type { ClusterAccess } from '../../postgres/cluster-access.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { bytes, bytesToText } from '../../util/byte-string.ts'
import type { BackupSource } from './identify.ts'

/**
 * Check that the server that starts the backup is that of the cluster and, unless it is a standby, that it archives to this
 * stanza; and the same for the standby whose files are copied.
 *
 * @throws PgtsError db-mismatch, archive-disabled, archive-command-invalid, feature-not-supported
 */
export function assertReady(
  ctx: CommandContext<'backup'>,
  server: ServerConnection,
  { cluster, control, standby }: Pick<BackupSource, 'cluster' | 'control' | 'standby'>,
): void {
  const { options, log } = ctx
  const { facts } = server
  checkServer(
    facts,
    { version: control.version, pgPath: cluster.pgPath },
    facts.inRecovery
      ? NO_ARCHIVING
      : { archive: options.archiveCheck ? ctx : false, archiveMode: options.archiveModeCheck },
  )
  if (standby !== undefined) {
    const { version } = standby.control
    checkServer(standby.server.facts, { version, pgPath: standby.cluster.pgPath }, NO_ARCHIVING)
  }
  if (!options.startFast && options.dbTimeout <= facts.checkpointTimeoutMs) {
    log.warn(
      `start-fast is disabled and db-timeout (${options.dbTimeout / 1000}s) is smaller than the server's checkpoint_timeout ` +
        `(${facts.checkpointTimeoutMs / 1000}s): the backup may time out before it starts`,
    )
  }
}

/** A standby archives nothing. */
const NO_ARCHIVING: ArchiveCheckPolicy = { archive: false, archiveMode: false }

/** A copy of a running cluster without backup mode is not consistent: refuse it without --force. */
export async function refuseRunningServer(
  ctx: CommandContext<'backup'>,
  { files, pgPath }: ClusterAccess,
): Promise<void> {
  if (ctx.options.backupStandby !== 'n')
    ctx.log.warn('option backup-standby is not used by an offline backup: the files are copied from pg1')
  if ((await files.stat(bytes`${pgPath}/postmaster.pid`)) === undefined) return
  const path = bytesToText(pgPath)
  if (ctx.options.force) {
    ctx.log.warn(
      `postmaster.pid exists in ${path}, but --force was given: this backup is consistent only if no server runs there`,
    )
    return
  }
  throw new PgtsError(
    'pg-running',
    `--no-online was given, but ${path}/postmaster.pid exists: PostgreSQL seems to be running`,
    {
      hints: ['stop the server, or omit --no-online', 'use --force if no server runs'],
    },
  )
}
