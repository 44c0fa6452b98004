import type { ClusterFiles } from '../../postgres/cluster-access.ts'
import { PgtsError } from '../../util/error.ts'

/** How much WAL waits to be archived, as PostgreSQL's own marks tell it. */
export interface PushQueue {
  /** `.ready` files, sorted: what PostgreSQL archives next comes first. */
  readonly ready: readonly string[]
  /** Number of files times the size of the first one, bytes. */
  readonly sizeBytes: number
}

/**
 * The queue behind the segment that is being pushed.
 *
 * @param walPath directory of the segment, absolute byte string
 * @throws PgtsError path-missing when there is no archive_status beside it
 */
export async function readPushQueue(files: ClusterFiles, walPath: string): Promise<PushQueue> {
  const entries = await files.list(`${walPath}/archive_status`)
  if (entries === undefined) {
    throw new PgtsError(
      'path-missing',
      `${walPath}/archive_status does not exist, so the size of the queue is not known`,
      {
        hints: ['archive-push-queue-max works only for segments in pg_wal of a server'],
      },
    )
  }
  const ready = entries
    .filter((entry) => entry.name.endsWith(READY))
    .map((entry) => entry.name.slice(0, -READY.length))
    .sort()
  const first = ready[0] === undefined ? undefined : await files.stat(`${walPath}/${ready[0]}`, { follow: true })
  return { ready, sizeBytes: (first?.sizeBytes ?? 0) * ready.length }
}

const READY = '.ready'
