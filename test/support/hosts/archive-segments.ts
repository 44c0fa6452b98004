import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../postgres/postgres.ts'
import { until } from '../until.ts'

/** Fills and ends a segment. @returns its name */
export async function switchSegment(cluster: Cluster): Promise<string> {
  await cluster.query('create table if not exists filled (n int); insert into filled values (1)')
  const [row] = await cluster.query('select pg_walfile_name(pg_switch_wal()) as name')
  return String(row!['name'])
}

/** @param repository its directory; the stanza is `main`, the server PostgreSQL 15 */
export function untilArchived(cluster: Cluster, repository: string, segment: string): Promise<void> {
  const directory = join(repository, 'archive/main/15-1', segment.slice(0, 16))
  const isThere = () => existsSync(directory) && readdirSync(directory).some((name) => name.startsWith(segment))
  // PostgreSQL waits for a minute after three errors.
  return until(`segment ${segment}`, isThere, { deadlineMs: 120_000, details: () => cluster.log().slice(-5000) })
}

/** Fills so many segments, and waits until they are in the repository. @returns the last */
export async function archiveSegments(cluster: Cluster, repository: string, count: number): Promise<string> {
  let last = ''
  for (let i = 0; i < count; i++) last = await switchSegment(cluster)
  await untilArchived(cluster, repository, last)
  return last
}
