import type { ArchiveStatus } from '../archive/status/archive-status.ts'
import type { MetricFamily } from './family.ts'

/** pgts's own metrics about archiving on this host, from `archive-status`. Unknown values have no series. */
export function archivingFamilies(status: ArchiveStatus): MetricFamily[] {
  const { stanza, timeMs, queue, lag, lastSuccess, lastFailure, failures } = status
  const since = (event: ArchiveStatus['lastSuccess']) =>
    event === undefined ? undefined : Math.max(0, (timeMs - event.timeMs) / 1000)
  const values: [string, string, number | undefined][] = [
    ['state', 'State of archiving: 0 ok, 1 behind, 2 WAL is not archived, 3 unknown.', STATES[status.state]],
    ['queue_files', 'Files that wait to be archived.', queue?.files],
    ['queue_bytes', 'WAL that waits to be archived.', queue?.bytes],
    ['lag_bytes', 'WAL of the server that is not in the archive yet.', lag?.bytes],
    ['lag_seconds', 'Age of the oldest WAL that is not in the archive yet.', lag?.seconds],
    ['since_last_success_seconds', 'Seconds since a file was archived.', since(lastSuccess)],
    ['since_last_failure_seconds', 'Seconds since archiving failed.', since(lastFailure)],
    ['failures', 'Failures of archive_command since the statistics of the server were reset.', failures],
  ]
  return values.flatMap(([suffix, help, value]) =>
    value === undefined
      ? []
      : [{ name: `pgts_archive_${suffix}`, help, labels: ['stanza'], samples: [{ labels: [stanza], value }] }],
  )
}

const STATES: Readonly<Record<ArchiveStatus['state'], number>> = { ok: 0, behind: 1, trouble: 2, unknown: 3 }
