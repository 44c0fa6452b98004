import { bytesToText } from '../../util/byte-string.ts'
import { localDateTime } from '../../util/local-time.ts'
import type { InfoBackup, InfoStanza } from '../info/report.ts'
import type { MetricFamily, Sample } from './family.ts'

/**
 * The metrics about backups of pgbackrest_exporter 0.23, with its names and labels, so that its dashboards and alerts work. It
 * computes them from `info --output=json`; a member that is absent there is 0.
 */
export function backupFamilies(stanzas: readonly InfoStanza[], nowSeconds: number): MetricFamily[] {
  const each = stanzas.flatMap((stanza) => stanza.backups.map((backup) => ({ stanza, backup })))
  const last = stanzas.flatMap(lastBackups)
  return [
    backupInfo(each),
    duration(each),
    ...VALUES.flatMap(({ suffix, help, value }): MetricFamily[] => [
      {
        name: `pgbackrest_backup_${suffix}`,
        help: `${help}.`,
        labels: BACKUP_LABELS,
        samples: each.map(({ stanza, backup }) => ({ labels: backupLabels(stanza, backup), value: value(backup) })),
      },
      lastFamily(last, suffix, `${help}`, value),
    ]),
    lastFamily(last, 'duration_seconds', 'Backup duration', durationOf),
    references(each),
    lastReferences(last),
    {
      name: 'pgbackrest_backup_since_last_completion_seconds',
      help: 'Seconds since the last completed full, differential or incremental backup.',
      labels: LAST_LABELS,
      samples: last.map((one) => ({ labels: lastLabels(one), value: nowSeconds - one.backup.timestampStop })),
    },
    ...databases(each, last),
  ]
}

interface StanzaBackup {
  readonly stanza: InfoStanza
  readonly backup: InfoBackup
}

interface LastBackup extends StanzaBackup {
  readonly type: InfoBackup['type']
}

const VALUES: readonly { readonly suffix: string; readonly help: string; value(backup: InfoBackup): number }[] = [
  { suffix: 'size_bytes', help: 'Full uncompressed size of the database', value: ({ sizeBytes }) => sizeBytes },
  {
    suffix: 'delta_bytes',
    help: 'Size of the data that the backup copied',
    value: ({ sizeDeltaBytes }) => sizeDeltaBytes,
  },
  {
    suffix: 'repo_size_bytes',
    help: 'Stored size of all files that a restore of the backup needs; 0 for block incremental backups',
    value: ({ repoSizeBytes, repoSizeMapBytes }) => (repoSizeMapBytes === undefined ? repoSizeBytes : 0),
  },
  {
    suffix: 'repo_size_map_bytes',
    help: 'Size of the block incremental maps',
    value: ({ repoSizeMapBytes }) => repoSizeMapBytes ?? 0,
  },
  {
    suffix: 'repo_delta_bytes',
    help: 'Stored size of the files of this backup',
    value: ({ repoSizeDeltaBytes }) => repoSizeDeltaBytes,
  },
  {
    suffix: 'repo_delta_map_bytes',
    help: 'Size of the block incremental maps of this backup',
    value: ({ repoSizeMapDeltaBytes }) => repoSizeMapDeltaBytes ?? 0,
  },
  {
    suffix: 'error_status',
    help: 'Does the backup have page checksum errors',
    value: ({ error }) => Number(error ?? false),
  },
  { suffix: 'annotations', help: 'Number of annotations', value: ({ annotations }) => annotations.size },
]

const durationOf = ({ timestampStart, timestampStop }: InfoBackup) => timestampStop - timestampStart
const blockIncremental = ({ repoSizeMapBytes }: InfoBackup) => (repoSizeMapBytes === undefined ? 'n' : 'y')

const BACKUP_LABELS = ['backup_name', 'backup_type', 'block_incr', 'database_id', 'repo_key', 'stanza']
const backupLabels = ({ name }: InfoStanza, backup: InfoBackup): string[] => [
  backup.label,
  backup.type,
  blockIncremental(backup),
  String(backup.historyId),
  String(backup.repoKey),
  bytesToText(name),
]

const LAST_LABELS = ['backup_type', 'block_incr', 'stanza']
const lastLabels = ({ stanza, backup, type }: LastBackup): string[] => [
  type,
  blockIncremental(backup),
  bytesToText(stanza.name),
]

/**
 * For each type the newest backup that a restore of "the last backup of this type" can use: a full is also the last diff
 * and incr, a diff also the last incr. Without a full there is none.
 */
function lastBackups(stanza: InfoStanza): LastBackup[] {
  const newest = (types: readonly string[]) =>
    stanza.backups
      .filter(({ type }) => types.includes(type))
      .reduce<InfoBackup | undefined>(
        (best, one) => (one.timestampStop > (best?.timestampStop ?? 0) ? one : best),
        undefined,
      )
  if (newest(['full']) === undefined) return []
  return (['full', 'diff', 'incr'] as const).flatMap((type, index) => {
    const backup = newest(['full', 'diff', 'incr'].slice(0, index + 1))
    return backup === undefined ? [] : [{ stanza, backup, type }]
  })
}

function lastFamily(
  last: readonly LastBackup[],
  suffix: string,
  help: string,
  value: (backup: InfoBackup) => number,
): MetricFamily {
  return {
    name: `pgbackrest_backup_last_${suffix}`,
    help: `${help}, of the last full, differential or incremental backup.`,
    labels: LAST_LABELS,
    samples: last.map((one) => ({ labels: lastLabels(one), value: value(one.backup) })),
  }
}

function backupInfo(each: readonly StanzaBackup[]): MetricFamily {
  return {
    name: 'pgbackrest_backup_info',
    help: 'The backup exists.',
    labels: [
      ...['backrest_ver', 'backup_name', 'backup_type', 'block_incr', 'database_id', 'lsn_start', 'lsn_stop'],
      ...['pg_version', 'prior', 'repo_key', 'stanza', 'wal_start', 'wal_stop'],
    ],
    samples: each.map(({ stanza, backup }) => ({
      labels: [
        backup.backrestVersion,
        backup.label,
        backup.type,
        blockIncremental(backup),
        String(backup.historyId),
        backup.lsnStart ?? '-',
        backup.lsnStop ?? '-',
        versionOf(stanza, backup),
        backup.prior ?? '',
        String(backup.repoKey),
        bytesToText(stanza.name),
        backup.archiveStart ?? '',
        backup.archiveStop ?? '',
      ],
      value: 1,
    })),
  }
}

/** PostgreSQL's version; '' if backup.info does not have it. */
export function versionOf(
  { clusters }: InfoStanza,
  { historyId, repoKey }: { readonly historyId: number; readonly repoKey: number },
): string {
  return clusters.find((one) => one.historyId === historyId && one.repoKey === repoKey)?.version ?? ''
}

function duration(each: readonly StanzaBackup[]): MetricFamily {
  return {
    name: 'pgbackrest_backup_duration_seconds',
    help: 'Backup duration.',
    labels: [...BACKUP_LABELS, 'start_time', 'stop_time'],
    samples: each.map(({ stanza, backup }) => ({
      labels: [
        ...backupLabels(stanza, backup),
        localDateTime(backup.timestampStart),
        localDateTime(backup.timestampStop),
      ],
      value: durationOf(backup),
    })),
  }
}

const KINDS = { full: 'F', diff: 'D', incr: 'I' }

/** How many backups of each type this backup refers to. */
function referenceSamples({ references }: InfoBackup, labels: readonly string[]): Sample[] {
  return Object.entries(KINDS).map(([kind, letter]) => ({
    labels: [kind, ...labels],
    value: (references ?? []).filter((label) => label.endsWith(letter)).length,
  }))
}

function references(each: readonly StanzaBackup[]): MetricFamily {
  return {
    name: 'pgbackrest_backup_references',
    help: 'Number of references to other backups.',
    labels: ['ref_backup', ...BACKUP_LABELS],
    samples: each.flatMap(({ stanza, backup }) => referenceSamples(backup, backupLabels(stanza, backup))),
  }
}

function lastReferences(last: readonly LastBackup[]): MetricFamily {
  return {
    name: 'pgbackrest_backup_last_references',
    help: 'Number of references to other backups, of the last full, differential or incremental backup.',
    labels: ['ref_backup', ...LAST_LABELS],
    samples: last.flatMap((one) => referenceSamples(one.backup, lastLabels(one))),
  }
}

/** Only for backups whose manifest was read. */
function databases(each: readonly StanzaBackup[], last: readonly LastBackup[]): MetricFamily[] {
  const counted = ({ backup: { details } }: StanzaBackup) => details !== undefined
  const count = ({ details }: InfoBackup) => details?.databases.length ?? 0
  const families = [
    {
      name: 'pgbackrest_backup_databases',
      help: 'Number of databases in the backup.',
      labels: BACKUP_LABELS,
      samples: each
        .filter(counted)
        .map(({ stanza, backup }) => ({ labels: backupLabels(stanza, backup), value: count(backup) })),
    },
    lastFamily(last.filter(counted), 'databases', 'Number of databases', count),
  ]
  return families.filter(({ samples }) => samples.length > 0)
}
