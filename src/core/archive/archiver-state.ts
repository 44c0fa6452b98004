import type { ServerConnection } from '../../postgres/client.ts'
import type { ClusterFiles } from '../../postgres/cluster-access.ts'
import { walDirectory } from '../../postgres/versions.ts'
import type { ArchiverState } from './wait-for-wal.ts'

/**
 * What the server and its archive_status directory tell of archiving; asked when expected WAL did not arrive.
 *
 * @param pgPath byte string
 */
export async function readArchiverState(
  server: ServerConnection,
  files: ClusterFiles,
  pgPath: string,
): Promise<ArchiverState> {
  const { facts } = server
  const [row] = await server.query<{ last_failed_wal: string | null; failed_at: string | null; failed_count: string }>(
    `select last_failed_wal, pg_catalog.date_trunc('second', last_failed_time)::text as failed_at,
       failed_count::text as failed_count
     from pg_catalog.pg_stat_archiver
     where last_archived_time is null or last_failed_time > last_archived_time`,
  )
  const entries = await files.list(`${pgPath}/${walDirectory(facts.postgres)}/archive_status`)
  return {
    archiveCommand: facts.archiveCommand,
    archiveMode: facts.archiveMode,
    ...(row?.last_failed_wal == null
      ? {}
      : { lastFailedWal: row.last_failed_wal, failedCount: Number(row.failed_count) }),
    ...(row?.failed_at == null ? {} : { lastFailedTime: row.failed_at }),
    ...(entries === undefined ? {} : { readyCount: entries.filter((entry) => entry.name.endsWith('.ready')).length }),
  }
}
