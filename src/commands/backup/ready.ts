import { checkServer } from '../../core/stanza/check-config.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import type { ClusterAccess } from '../../postgres/cluster-access.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { bytes, bytesToText } from '../../util/byte-string.ts'
import type { BackupSource } from './identify.ts'

/**
 * Check that the server is the primary of this cluster and archives to this stanza.
 *
 * @throws PgtsError db-connect (a standby), db-mismatch, archive-disabled, archive-command-invalid, feature-not-supported
 */
export function assertReady(
  ctx: CommandContext<'backup'>,
  server: ServerConnection,
  { cluster, control }: Pick<BackupSource, 'cluster' | 'control'>,
): void {
  const { options, log } = ctx
  const { facts } = server
  if (facts.inRecovery) {
    throw new PgtsError(
      'db-connect',
      `the server of ${bytesToText(cluster.pgPath)} is a standby, but a backup requires the primary`,
      {
        hints: [
          'run the backup on the primary',
          'or use pgbackrest with backup-standby: pgts does not support backup from a standby yet',
        ],
      },
    )
  }
  checkServer(
    facts,
    { version: control.version, pgPath: cluster.pgPath },
    { archive: options.archiveCheck ? ctx : false, archiveMode: options.archiveModeCheck },
  )
  if (!options.startFast && options.dbTimeout <= facts.checkpointTimeoutMs) {
    log.warn(
      `start-fast is disabled and db-timeout (${options.dbTimeout / 1000}s) is smaller than the server's checkpoint_timeout ` +
        `(${facts.checkpointTimeoutMs / 1000}s): the backup may time out before it starts`,
    )
  }
}

/** A copy of a running cluster without backup mode is not consistent: refuse it without --force. */
export async function refuseRunningServer(
  ctx: CommandContext<'backup'>,
  { files, pgPath }: ClusterAccess,
): Promise<void> {
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
