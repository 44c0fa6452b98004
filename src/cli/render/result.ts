import type { BackupReport } from '../../commands/backup.ts'
import type { DrillReport } from '../../commands/drill.ts'
import type { RestoreReport } from '../../commands/restore.ts'
import { countsOf, type VerifyCounts, type VerifyReport } from '../../core/verify/report.ts'
import { formatSize } from '../../util/format-size.ts'
import { repoId } from '../../util/repo-id.ts'

const WIDTH = 80

/** `full backup 20261122-062513F: 34.6MB, 4.2MB stored, 1m05s, repo1, 970 files` */
export function backupResult(report: BackupReport): string {
  const { type, label, sizeBytes, repoSizeBytes, durationMs, repoKey, fileCount } = report
  const sizes = `${formatSize(sizeBytes)}, ${formatSize(repoSizeBytes)} stored`
  return fitted(`${type} backup ${label}: ${sizes}`, [
    duration(durationMs),
    repoId(repoKey),
    counted(fileCount, 'file'),
  ])
}

/** `restored 970 files, 34.6MB to /var/lib/postgresql/16/main; start PostgreSQL` */
export function restoreResult({ files, restored, unchanged, restoredBytes, pgPath }: RestoreReport): string {
  const which = unchanged === 0 ? counted(files, 'file') : `${restored} of ${counted(files, 'file')}`
  const head = `restored ${which}, ${formatSize(restoredBytes)} to `
  const next = '; start PostgreSQL'
  const room = WIDTH - head.length - next.length
  const path = pgPath.length <= room ? pgPath : `...${pgPath.slice(3 - room)}`
  return `${head}${path}${next}`
}

/** `drill of 20261122-062513F: passed, restore 4.1s, recovery 1.2s, 3 checks` */
export function drillResult({ label, result, durations, checks }: DrillReport): string {
  const ran = checks.filter((check) => check.result !== 'skipped').length
  return fitted(`drill of ${label}: ${result}`, [
    ...(durations.restoreMs === undefined ? [] : [`restore ${duration(durations.restoreMs)}`]),
    ...(durations.recoveryMs === undefined ? [] : [`recovery ${duration(durations.recoveryMs)}`]),
    counted(ran, 'check'),
  ])
}

/** `verify: no errors, 970 files, 12 WAL segments, 34.6MB read, 3 backups, 1m05s` */
export function verifyResult(reports: readonly VerifyReport[], durationMs: number): string {
  const all = reports.map(countsOf)
  const sum = (of: (counts: VerifyCounts) => number) => all.reduce((total, one) => total + of(one), 0)
  const errors = sum((counts) => counts.errors)
  return fitted(`verify: ${errors === 0 ? 'no errors' : counted(errors, 'error')}`, [
    counted(
      sum(({ backupFiles }) => backupFiles),
      'file',
    ),
    counted(
      sum(({ walSegments }) => walSegments),
      'WAL segment',
    ),
    `${formatSize(sum(({ readBytes }) => readBytes))} read`,
    counted(
      sum(({ backups }) => backups),
      'backup',
    ),
    duration(durationMs),
  ])
}

/** Appends as many of the details as fit into 80 columns. */
function fitted(line: string, details: readonly string[]): string {
  return details.reduce((text, more) => (text.length + 2 + more.length <= WIDTH ? `${text}, ${more}` : text), line)
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** `1.3s`, `42s`, `1m05s`, `23h59m`, `3d04h` */
export function duration(ms: number): string {
  if (ms < 9950) return `${(Math.max(0, ms) / 1000).toFixed(1)}s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${twoDigits(seconds % 60)}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h${twoDigits(minutes % 60)}m`
  const hours = Math.floor(minutes / 60)
  return `${Math.floor(hours / 24)}d${twoDigits(hours % 24)}h`
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}
