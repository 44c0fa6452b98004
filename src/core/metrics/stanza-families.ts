import { bytesToText } from '../../util/byte-string.ts'
import type { InfoLock, InfoReport, InfoStanza } from '../info/report.ts'
import { versionOf } from './backup-families.ts'
import type { MetricFamily } from './family.ts'

/** The metrics about stanzas, repositories and WAL of pgbackrest_exporter 0.23, with its names and labels. */
export function stanzaFamilies(stanzas: InfoReport['stanzas'], walLabels: boolean): MetricFamily[] {
  return [
    {
      name: 'pgbackrest_stanza_status',
      help: 'Status code of the stanza, as in info.',
      labels: ['stanza'],
      samples: stanzas.map(({ name, status }) => ({ labels: [bytesToText(name)], value: status.code })),
    },
    ...(['backup', 'restore'] as const).flatMap((lock) => lockFamilies(stanzas, lock)),
    {
      name: 'pgbackrest_repo_status',
      help: 'Status code of the repository, as in info.',
      labels: ['cipher', 'repo_key', 'stanza'],
      samples: stanzas.flatMap(({ name, repos }) =>
        repos.map(({ cipher, key, status }) => ({
          labels: [cipher, String(key), bytesToText(name)],
          value: status.code,
        })),
      ),
    },
    walFamily(stanzas, walLabels),
  ]
}

function lockFamilies(stanzas: readonly InfoStanza[], lock: 'backup' | 'restore'): MetricFamily[] {
  const family = (suffix: string, help: string, value: (held: InfoLock) => number): MetricFamily => ({
    name: `pgbackrest_stanza_${lock}_${suffix}`,
    help,
    labels: ['stanza'],
    samples: stanzas.map(({ name, status }) => ({ labels: [bytesToText(name)], value: value(status.lock[lock]) })),
  })
  return [
    family('lock_status', `Does a process hold the ${lock} lock.`, ({ held }) => Number(held)),
    family('total_bytes', `Size of the running ${lock}.`, ({ progress }) => progress?.sizeBytes ?? 0),
    family(
      'complete_bytes',
      `Bytes that the running ${lock} has finished.`,
      ({ progress }) => progress?.doneBytes ?? 0,
    ),
  ]
}

/** @param labelled first and last segment as labels: a new series for each segment that is archived */
function walFamily(stanzas: readonly InfoStanza[], labelled: boolean): MetricFamily {
  return {
    name: 'pgbackrest_wal_archive_status',
    help: 'Does the archive contain WAL.',
    labels: ['database_id', 'pg_version', 'repo_key', 'stanza', 'wal_max', 'wal_min'],
    samples: stanzas.flatMap((stanza) =>
      stanza.archives.map((archive) => {
        const { historyId, max, min, repoKey } = archive
        const ends = labelled && max !== null && min !== null ? [max, min] : ['', '']
        return {
          labels: [String(historyId), versionOf(stanza, archive), String(repoKey), bytesToText(stanza.name), ...ends],
          value: Number(max !== null && min !== null),
        }
      }),
    ),
  }
}
