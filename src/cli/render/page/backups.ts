import type { InfoBackup } from '../../../core/info/report.ts'
import { bytesToText } from '../../../util/byte-string.ts'
import { formatSize } from '../../../util/format-size.ts'
import { zonedDateTime } from '../../../util/local-time.ts'
import { duration } from '../result.ts'
import type { LegendEntry, Table } from './plot.ts'

/** One backup in words, for tooltips. */
export function about(backup: InfoBackup): string {
  const { label, type, prior, timestampStop, repoSizeDeltaBytes } = backup
  const parts = [
    `${type} ${label}`,
    `ended ${zonedDateTime(timestampStop)} after ${durationOf(backup)}`,
    `stored ${formatSize(repoSizeDeltaBytes)}`,
    ...(prior === null ? [] : [`builds on ${prior}`]),
    ...remarks(backup),
  ]
  return parts.join('\n')
}

export const durationOf = ({ timestampStart, timestampStop }: InfoBackup) =>
  duration((timestampStop - timestampStart) * 1000)

function remarks({ error, pin, annotations }: InfoBackup): string[] {
  return [
    ...(error === true ? ['page checksum errors'] : []),
    ...(pin === undefined ? [] : ['pinned']),
    ...[...annotations].map(([key, value]) => `${bytesToText(key)}: ${bytesToText(value)}`),
  ]
}

/** Newest first. */
export function backupTable(backups: readonly InfoBackup[]): Table {
  return {
    columns: ['label', 'type', 'end', 'duration', 'database size', 'copied', 'stored', 'remarks'],
    rows: backups
      .toReversed()
      .map((backup) => [
        backup.label,
        backup.type,
        zonedDateTime(backup.timestampStop),
        durationOf(backup),
        formatSize(backup.sizeBytes),
        formatSize(backup.sizeDeltaBytes),
        formatSize(backup.repoSizeDeltaBytes),
        remarks(backup).join(', '),
      ]),
  }
}

export const TYPE_LEGEND: readonly LegendEntry[] = [
  { kind: 'full', text: 'full' },
  { kind: 'diff', text: 'diff' },
  { kind: 'incr', text: 'incr' },
]

/** Smaller symbols where many are shown. */
export function radiusFor(count: number): number {
  return count > 300 ? 2.5 : count > 100 ? 3.5 : count > 40 ? 4.5 : 6
}
